"""What Linux and macOS share."""

from __future__ import annotations

import os
import signal
import sys
import time

from provisioner.remote.failure import Failure
from provisioner.remote.marker import write_atomically
from provisioner.remote.platforms.base import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Dict, List, Optional, Set, Tuple


class Posix(Platform):
    def privileged(self) -> bool:
        return os.geteuid() == 0 and "PROVISION_SANDBOX" not in os.environ

    def login_account(self) -> str:
        import pwd

        if self.privileged() and os.environ.get("SUDO_USER"):
            return os.environ["SUDO_USER"]
        return pwd.getpwuid(os.geteuid()).pw_name

    def default_root(self, cluster: str) -> str:
        if self.privileged():
            return "/opt/provision/" + cluster
        return os.path.expanduser("~/.provision/clusters/" + cluster)

    def run(
        self, argv: List[str], timeout: float = 60.0, env: Optional[Dict[str, str]] = None, cwd: Optional[str] = None
    ) -> Tuple[int, str]:
        import subprocess

        try:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=dict(os.environ, **env) if env else None,
                cwd=cwd,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise Failure("there is no program %s" % argv[0]) from None
        except PermissionError:
            raise Failure("%s may not be run" % argv[0]) from None
        CHILDREN.add(child.pid)
        try:
            output, _ = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            raise Failure("%s did not end within %d s" % (os.path.basename(argv[0]), timeout)) from None
        finally:
            CHILDREN.discard(child.pid)
        return child.returncode, output.decode("utf-8", "replace")

    def end_children(self) -> None:
        for pid in list(CHILDREN):
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def lock(self, path: str, wait: float) -> object:
        import fcntl

        file = open(path, "a+", encoding="ascii")  # noqa: SIM115 - held until the program ends
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise _held(file) from None
                time.sleep(0.2)
        file.truncate(0)
        file.write("%d %d" % (os.getpid(), time.time()))
        file.flush()
        return file

    def clean(self, root: str, purge: bool) -> None:
        import shutil

        programs = _programs()
        lock = os.path.join(root, "lock")
        if os.path.exists(lock):
            os.unlink(lock)
        if purge:
            shutil.rmtree(root, ignore_errors=True)
            shutil.rmtree(programs, ignore_errors=True)
        home = os.path.dirname(programs)
        for folder in (root, os.path.dirname(root), os.path.join(home, "clusters"), home):
            _remove_if_empty(folder)

    def get_variable(self, name: str) -> Optional[str]:
        for line in _lines(self._variables_file()):
            if _names(line, name):
                return _unquote(line.split("=", 1)[1].strip())
        return None

    def set_variable(self, name: str, value: Optional[str]) -> None:
        path = self._variables_file()
        before = _lines(path)
        lines = [line for line in before if not _names(line, name)]
        if value is not None:
            lines.append(self._variable_line(name, value))
        if lines == before:
            return
        mode = os.stat(path).st_mode & 0o777 if os.path.exists(path) else 0o644
        write_atomically(path, "".join(line + "\n" for line in lines).encode("utf-8"), mode)

    def has_variable_store(self) -> bool:
        return os.path.exists(self._variables_file())

    def drop_variable_store(self) -> None:
        path = self._variables_file()
        if os.path.exists(path) and os.path.getsize(path) == 0:
            os.unlink(path)

    def variable_scope(self) -> str:
        return self._variables_file()

    def _variables_file(self) -> str:
        return "/etc/environment" if self.privileged() else os.path.expanduser("~/.profile")

    def _variable_line(self, name: str, value: str) -> str:
        if self.privileged():
            return '%s="%s"' % (name, value)
        import shlex

        return "export %s=%s" % (name, shlex.quote(value))

    def give(self, path: str, account: str) -> None:
        import pwd

        if not self.privileged():
            return
        try:
            entry = pwd.getpwnam(account)
        except KeyError:
            raise Failure("there is no account %r on this host" % account, "create it, or change `account:`") from None
        os.chown(path, entry.pw_uid, entry.pw_gid)

    def kill(self, pids: List[int]) -> None:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        _wait_until_gone(pids, 10.0)

    def interpreter_of(self, environment: str) -> str:
        return os.path.join(environment, "bin", "python")

    def find_interpreters(self, version: str) -> List[str]:
        if version == "%d.%d.%d" % sys.version_info[:3]:
            return [_real_interpreter()]
        import glob

        minor = version.rsplit(".", 1)[0]
        named = [
            "~/.pyenv/versions/%s/bin/python" % version,
            "~/.local/share/uv/python/cpython-%s-*/bin/python" % version,
        ]
        found = [path for pattern in named for path in glob.glob(os.path.expanduser(pattern))]
        folders = ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", *os.environ.get("PATH", "").split(os.pathsep)]
        for folder in dict.fromkeys(folders):
            path = os.path.join(folder, "python" + minor)
            if os.access(path, os.X_OK):
                found.append(path)
        return found


CHILDREN: Set[int] = set()
"""Programs that run for us now; they must not outlive this one."""


def _programs() -> str:
    """Return the folder in which this program is cached: in the home of the user who logged in, whoever runs it."""
    unpacked = os.path.abspath(__file__)
    for _ in range(5):
        unpacked = os.path.dirname(unpacked)
    return unpacked if unpacked.endswith(os.path.join(".provision", "program")) else "/nonexistent/.provision/program"


def _held(file: IO[str]) -> Failure:
    file.seek(0)
    try:
        pid, since = file.read().split()
        age = "pid %s, for %d s" % (pid, time.time() - float(since))
    except ValueError:
        age = "another run of provision"
    return Failure("another run works on this host (%s)" % age, "wait for it to end, then run the same command again")


def _remove_if_empty(folder: str) -> None:
    """Remove a folder of ours that holds nothing any more."""
    if "provision" not in folder:
        return
    try:
        os.rmdir(folder)
    except OSError:
        return


def _real_interpreter() -> str:
    """Return the interpreter that runs this, outside any virtual environment."""
    name = "python%d.%d" % sys.version_info[:2]
    outside = os.path.join(sys.base_prefix, "bin", name)
    return outside if os.path.exists(outside) else sys.executable


def _lines(path: str) -> List[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []


def _names(line: str, name: str) -> bool:
    text = line.strip()
    if text.startswith("export "):
        text = text[len("export ") :].lstrip()
    return text.startswith(name + "=")


def _unquote(text: str) -> str:
    import shlex

    try:
        return "".join(shlex.split(text)) if text else ""
    except ValueError:
        return text


def _wait_until_gone(pids: List[int], limit: float) -> None:
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if not any(os.path.exists("/proc/%d" % pid) for pid in pids):
            return
        time.sleep(0.05)
