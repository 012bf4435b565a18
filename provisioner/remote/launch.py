"""Starts what a service specification says. Copied to the host; stands alone, standard library only.

    launch.py run SPEC               become the program (under a service manager)
    launch.py supervise SPEC STATE   run it, and again whenever it ends, until SIGTERM (where there is no manager)
"""

import json
import os
import signal
import subprocess
import sys
import time

LOG_LIMIT = 20 * 1024 * 1024
"""Bytes after which the log is put aside at the next start; one old one is kept."""
PAUSE = 5.0
"""Seconds between an end and the next start."""
DRAIN = 35.0
"""Seconds that a node gets to end by itself."""


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def open_log(path):
    try:
        if os.path.getsize(path) > LOG_LIMIT:
            os.replace(path, path + ".1")
    except OSError:
        pass
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)


def environment(spec):
    variables = dict(os.environ)
    variables.update(spec["env"])
    variables["PATH"] = spec["path"] + os.pathsep + variables.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    return variables


def run(spec):
    log = open_log(spec["log"])
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(spec["temp_dir"])
    os.execve(spec["argv"][0], spec["argv"], environment(spec))


class Supervisor:
    def __init__(self, spec_path, state_path):
        self.spec_path = spec_path
        self.state_path = state_path
        self.definition = " ".join([sys.executable, "-I", "-S", *sys.argv[:3]])
        self.child = None
        self.ending = False
        self.restarts = 0

    def record(self, waiting):
        state = {
            "pid": os.getpid(),
            "definition": self.definition,
            "waiting": waiting,
            "restarts": self.restarts,
        }
        aside = self.state_path + ".part"
        with open(aside, "w", encoding="utf-8") as file:
            json.dump(state, file)
        os.replace(aside, self.state_path)

    def end(self, *_):
        self.ending = True
        if self.child is not None and self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGTERM)

    def forever(self):
        signal.signal(signal.SIGTERM, self.end)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        while not self.ending:
            self.once()
            if self.ending:
                break
            self.restarts += 1
            self.record(True)
            deadline = time.monotonic() + PAUSE
            while not self.ending and time.monotonic() < deadline:
                time.sleep(0.1)

    def once(self):
        spec = load(self.spec_path)
        os.makedirs(spec["temp_dir"], exist_ok=True)
        log = open_log(spec["log"])
        self.child = subprocess.Popen(
            spec["argv"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment(spec),
            cwd=spec["temp_dir"],
            start_new_session=True,
        )
        os.close(log)
        self.record(False)
        while self.child.poll() is None and not self.ending:
            time.sleep(0.1)
        self.drain()

    def drain(self):
        deadline = time.monotonic() + DRAIN
        while self.child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()


if __name__ == "__main__":
    if sys.argv[1] == "supervise":
        Supervisor(sys.argv[2], sys.argv[3]).forever()
    else:
        run(load(sys.argv[2]))
