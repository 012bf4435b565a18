"""Starts what a service specification says. Copied to the host; stands alone, standard library only.

launch.py run SPEC                          become the program (under a service manager)
launch.py supervise SPEC STATE [after PID]  run it, and again whenever it ends, until SIGTERM (where there is no
                                            manager); after the supervisor PID, if that is being ended
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional

    Spec = Dict[str, Any]

LOG_LIMIT = 20 * 1024 * 1024
"""Bytes after which the log is put aside at the next start; one old one is kept."""
PAUSE = 5.0
"""Seconds between an end and the next start."""
REACH_LIMIT = 3.0
"""Seconds for the head to accept a connection; what is not allowed is refused at once."""
DRAIN = 35.0
"""Seconds that a node gets to end by itself."""
TAKEOVER = 60.0
"""Seconds that another supervisor gets to end; one that goes on was not told to."""
PS = "/bin/ps"
PS_LIMIT = 10.0
"""Seconds for it to answer."""
SETTLE = 1.0
"""Seconds after which one that was started at the same moment has noted its pid."""


def load(path: str) -> Spec:
    with open(path, encoding="utf-8") as file:
        spec: Spec = json.load(file)
        return spec


def open_log(path: str) -> int:
    try:
        if os.path.getsize(path) > LOG_LIMIT:
            os.replace(path, path + ".1")
    except OSError:
        pass
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)


def forget_last_cluster(spec: Spec) -> None:
    """Remove what makes a restarted head believe that it is running already.

    ``ray start --head`` refuses if this file names its own address and any process on the machine was started with that
    address (ray/scripts/scripts.py), such as a worker that is about to rejoin.
    """
    try:
        os.unlink(os.path.join(spec["temp_dir"], "ray_current_cluster"))
    except OSError:
        pass


def note_reach(spec: Spec, system: str = sys.platform) -> None:
    """Note whether this service can connect to the head: macOS may keep it from the local network, and let the login by
    which the program was started through (Local Network privacy, Apple's TN3179)."""
    if system != "darwin" or "gcs" not in spec or "--head" in spec["argv"]:
        return
    import socket

    address, _, port = spec["gcs"].rpartition(":")
    note = {"gcs": spec["gcs"], "errno": 0, "error": ""}
    try:
        socket.create_connection((address.strip("[]"), int(port)), REACH_LIMIT).close()
    except OSError as error:
        note.update(errno=error.errno or 0, error=error.strerror or str(error))
    try:
        with open(spec["log"] + ".reach", "w", encoding="utf-8") as file:
            json.dump(note, file)
    except OSError:
        pass


def have_sessions(spec: Spec) -> None:
    """Have Ray's folder for sessions: below /tmp a reboot takes it away, and then anybody may make it. Ray opens it to
    everybody at each start, so one of ours around it (``enclosure``) is shut.

    Raises:
        OSError: somebody did, and could exchange what Ray runs from there.
    """
    enclosure = spec.get("enclosure")
    path, us = enclosure or spec["temp_dir"], os.geteuid()
    os.makedirs(path, mode=0o700, exist_ok=True)
    found, above = os.lstat(path), os.stat(os.path.dirname(path))
    trusted = (us,) if enclosure else (us, 0)
    if above.st_mode & 0o002 and (found.st_uid not in trusted or not stat.S_ISDIR(found.st_mode)):
        raise OSError("%s is somebody else's (uid %d), who made it before us" % (path, found.st_uid))
    if not enclosure:
        return
    if stat.S_ISDIR(found.st_mode) and found.st_uid == us and found.st_mode & 0o077:
        os.chmod(path, 0o700)
    os.makedirs(spec["temp_dir"], mode=0o700, exist_ok=True)


def environment(spec: Spec) -> Dict[str, str]:
    variables = dict(os.environ)
    variables.pop("RAY_AUTH_TOKEN", None)  # of somebody else's cluster; Ray would take it in place of the file
    variables.update(spec["env"])
    variables["PATH"] = spec["path"] + os.pathsep + variables.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    return variables


def run(spec: Spec) -> None:
    """Become the program."""
    forget_last_cluster(spec)
    log = open_log(spec["log"])
    os.dup2(log, 1)
    os.dup2(log, 2)
    note_reach(spec)
    have_sessions(spec)
    os.chdir(spec["temp_dir"])
    os.execve(spec["argv"][0], spec["argv"], environment(spec))


class Supervisor:
    """Keeps the program running and tells in a small file what it does.

    Args:
        spec_path: the specification; read again at each start.
        state_path: where its own pid and state are kept.
    """

    def __init__(self, spec_path: str, state_path: str) -> None:
        self.spec_path = spec_path
        self.state_path = state_path
        self.definition = " ".join([sys.executable, "-I", "-S", *sys.argv[:3]])
        self.child: Optional[subprocess.Popen[bytes]] = None
        self.ending = False
        self.restarts = 0

    def takes_over(self, former: int) -> bool:
        """Wait until a supervisor has ended; tell whether nobody else has taken its place by then."""
        deadline = time.monotonic() + TAKEOVER
        while self._runs(former):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        time.sleep(SETTLE)
        try:
            return not self._runs(int(load(self.state_path).get("pid", 0)))
        except (OSError, ValueError):
            return True

    def _runs(self, pid: int) -> bool:
        """Tell whether that pid is a supervisor of the same service: pids are used again."""
        return self.state_path.encode() in command_line(pid)

    def forever(self) -> None:
        signal.signal(signal.SIGTERM, self.end)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        while not self.ending:
            self.once()
            if self.ending:
                break
            self.restarts += 1
            self.record(waiting=True)
            self.pause()

    def end(self, *_: object) -> None:
        """Have the program end by itself; it takes its children along."""
        self.ending = True
        if self.child is not None and self.child.poll() is None:
            self.child.terminate()

    def once(self) -> None:
        """Run the program until it ends or is to end."""
        spec = load(self.spec_path)
        log = open_log(spec["log"])
        try:
            have_sessions(spec)
        except OSError as error:
            os.write(log, ("Error: %s\n" % error).encode("utf-8", "replace"))
            os.close(log)
            return
        forget_last_cluster(spec)
        note_reach(spec)
        child = subprocess.Popen(
            spec["argv"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment(spec),
            cwd=spec["temp_dir"],
            start_new_session=True,
        )
        os.close(log)
        self.child = child
        self.record(waiting=False)
        if self.ending:
            child.terminate()
        while child.poll() is None and not self.ending:
            time.sleep(0.1)
        drain(child)

    def record(self, waiting: bool) -> None:
        state = {"pid": os.getpid(), "definition": self.definition, "waiting": waiting, "restarts": self.restarts}
        aside = self.state_path + ".part"
        with open(aside, "w", encoding="utf-8") as file:
            json.dump(state, file)
        os.replace(aside, self.state_path)

    def pause(self) -> None:
        deadline = time.monotonic() + PAUSE
        while not self.ending and time.monotonic() < deadline:
            time.sleep(0.1)


def command_line(pid: int, proc: str = "/proc") -> bytes:
    """Return what a process was started with, nothing if there is none. macOS has no /proc."""
    if os.path.exists(os.path.join(proc, "self")):
        try:
            with open(os.path.join(proc, str(pid), "cmdline"), "rb") as file:
                return file.read()
        except OSError:
            return b""
    try:
        ps = [PS, "-ww", "-o", "command=", "-p", str(pid)]
        return subprocess.check_output(ps, stderr=subprocess.DEVNULL, timeout=PS_LIMIT)
    except (OSError, subprocess.SubprocessError):  # its code is 1 if there is no such process
        return b""


def drain(child: subprocess.Popen[bytes]) -> None:
    """Wait for the program to end, then end what is left of its group."""
    deadline = time.monotonic() + DRAIN
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


if __name__ == "__main__":
    if sys.argv[1] == "supervise":
        supervisor = Supervisor(sys.argv[2], sys.argv[3])
        if sys.argv[4:5] != ["after"] or supervisor.takes_over(int(sys.argv[5])):
            supervisor.forever()
    else:
        try:
            run(load(sys.argv[2]))
        except OSError as problem:
            sys.exit("Error: the launcher ended: %s" % problem)
