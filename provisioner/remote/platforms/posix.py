"""What Linux and macOS share."""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
import time

from provisioner.remote.failure import Failure, NoProgram
from provisioner.remote.folders import interpreters, is_brought, programs, remove_if_empty
from provisioner.remote.platforms.base import OURS, PASSING, Platform
from provisioner.remote.platforms.variables import ProfileFile, VariablesFile
from provisioner.remote.turn import Busy

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pwd
    import subprocess
    from typing import IO, Any, Callable, Dict, List, Optional, Set, Tuple


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
        if cwd is not None and not os.path.isdir(cwd):
            raise Failure("there is no folder %s to run %s in" % (cwd, os.path.basename(argv[0])))
        return _to_its_end(argv, timeout, dict(os.environ, **env) if env else None, cwd)

    def run_into(self, output: IO[bytes], argv: List[str], timeout: float, cwd: str) -> int:
        return _wait(_begin(argv, output, None, cwd, None, None), argv[0], timeout)

    def run_script(
        self, account: str, python: str, script: str, arguments: List[str], timeout: float, env: Dict[str, str]
    ) -> Tuple[int, str]:
        import pwd

        entry = _entry(account) if account and self.privileged() else pwd.getpwuid(os.geteuid())
        name = entry.pw_name
        theirs = {"HOME": entry.pw_dir, "LOGNAME": name, "USER": name, "PATH": PATH, **env}
        become = None if entry.pw_uid == os.geteuid() else _becoming(entry)
        with open(script, "rb") as source:  # what we can read, it may not: it gets the open file
            return _to_its_end([python, "-I", "-", *arguments], timeout, theirs, "/", source, become)

    def end_children(self) -> None:
        STARTING.acquire(timeout=START_LIMIT)  # for good: whoever wants to begin one more waits for our end
        for pid in list(CHILDREN):
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def lock(self, path: str, wait: float) -> object:
        import fcntl

        deadline = time.monotonic() + wait
        while True:
            file = open(path, "ab")  # noqa: SIM115 - held until the program ends
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(file, path):
                    _have_children_end_with_us()
                    return file
            except OSError:
                if time.monotonic() > deadline:
                    raise Busy() from None
                time.sleep(0.2)
            file.close()

    def temp_dir(self, root: str) -> str:
        """Short, for unix socket paths end at 107 bytes (103 on macOS), and Ray adds 64, or more after restarts."""
        return os.path.join(self.enclosure(root), SESSIONS)

    def enclosure(self, root: str) -> str:
        inside = os.path.join(root, "ray")
        if len(os.path.join(inside, SESSIONS)) <= 40:
            return inside
        import hashlib

        return "%s/rp-%s" % (self.scratch, hashlib.sha256(root.encode()).hexdigest()[:8])

    def check_sessions(self, path: str, account: str, enclosure: str = "") -> None:
        folder = enclosure or path
        if not os.path.lexists(folder) or not _is_shared(os.path.dirname(folder)):
            return
        found, wanted = os.lstat(folder), self._uid(account)
        trusted = (wanted, os.geteuid()) if enclosure else (wanted, os.geteuid(), 0)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in trusted:
            what = "a folder" if stat.S_ISDIR(found.st_mode) else "no folder"
            raise Failure(
                "%s, where Ray's sessions should be, is %s of %s" % (folder, what, _account_name(found.st_uid)),
                "everybody may write there: find out who made it and remove it, or choose a shorter `root:`",
            )

    def make_sessions(self, path: str, account: str, enclosure: str = "", ours: bool = False) -> None:
        """What is made is nobody else's business; nothing is taken from whoever was there first."""
        folder, uid = enclosure or path, self._uid(account)
        above = os.path.dirname(folder)
        os.makedirs(above, mode=0o755, exist_ok=True)
        try:
            os.mkdir(folder, mode=0o700 if enclosure or _is_shared(above) else 0o755)
        except FileExistsError:
            self.check_sessions(path, account, enclosure)
            if not (enclosure or ours):
                return
        self._take(folder, account, bool(enclosure))
        if enclosure:
            self._make_inner(path, account, uid)

    def _make_inner(self, path: str, account: str, uid: int) -> None:
        """Have Ray's own folder in one that is shut by now; what others made there until then is not used."""
        if os.path.lexists(path):
            found = os.lstat(path)
            if stat.S_ISDIR(found.st_mode) and found.st_uid == uid:
                return
            from provisioner.remote import files

            files.discard(path)
        os.mkdir(path, mode=0o700)
        self._take(path, account, shut=False)

    def _take(self, folder: str, account: str, shut: bool) -> None:
        """Have a folder belong to the account, and be for nobody else; one that a link leads to is left as it is."""
        if os.path.islink(folder):
            return
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if self.privileged():
                entry = _entry(account) if account else None
                os.fchown(file, *((entry.pw_uid, entry.pw_gid) if entry else (0, 0)))
            if shut:
                os.fchmod(file, 0o700)
        finally:
            os.close(file)

    def _uid(self, account: str) -> int:
        """Return the number of the account to which belongs what is made for one ("": us); only root gives away."""
        return _entry(account).pw_uid if account and self.privileged() else os.geteuid()

    def clean(self, root: str, purge: bool) -> List[str]:
        import shutil

        for name in PASSING:
            if os.path.exists(os.path.join(root, name)):
                os.unlink(os.path.join(root, name))
        for folder in OURS if purge else ("store",):  # an environment that is kept needs no wheels any more
            shutil.rmtree(os.path.join(root, folder), ignore_errors=True)
        cached = [folder for folder in (programs(), interpreters()) if folder]
        for folder in cached if purge else ():
            shutil.rmtree(folder, ignore_errors=True)
        homes = {os.path.dirname(folder) for folder in cached}
        remove_if_empty(root)
        for folder in (os.path.dirname(root), *(os.path.join(home, "clusters") for home in homes), *homes):
            if os.path.basename(folder) in ("provision", "clusters", ".provision"):
                remove_if_empty(folder)
        return []

    def variables(self, place: str = "") -> VariablesFile:
        """Return the file in which variables are kept: of the system for root, else of the user."""
        if self.privileged():
            return VariablesFile("/etc/environment")
        return ProfileFile(os.path.expanduser("~/.profile"))

    def owner(self, path: str) -> str:
        return _account_name(os.stat(path).st_uid)

    def mode(self, path: str) -> Optional[str]:
        return "%04o" % (os.stat(path).st_mode & 0o7777)

    def access(self, path: str) -> Dict[str, Any]:
        found = os.stat(path)
        return {"mode": found.st_mode & 0o7777, "uid": found.st_uid, "gid": found.st_gid}

    def set_access(self, path: str, access: Dict[str, Any]) -> None:
        if self.privileged():
            os.chown(path, access["uid"], access["gid"])
        os.chmod(path, access["mode"])

    def give(self, path: str, account: str) -> None:
        if self.privileged():
            os.chown(path, _entry(account).pw_uid, _entry(account).pw_gid)

    def exposure(self, path: str, account: str) -> Optional[Tuple[str, str]]:
        found = os.lstat(path)
        mode, owner = "%04o" % (found.st_mode & 0o7777), found.st_uid
        wanted = self._uid(account)
        private = "0700" if stat.S_ISDIR(found.st_mode) else "0600"
        real = stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)
        if mode == private and owner == wanted and real:
            return None
        return "%s, of %s" % (mode, _account_name(owner)), "%s, of %s" % (private, _account_name(wanted))

    def kill(self, pids: List[int]) -> None:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + 10.0
        while any(self.runs(pid) for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.02)

    def interpreter_of(self, environment: str) -> str:
        return os.path.join(environment, "bin", "python")

    def command_of(self, environment: str, name: str) -> List[str]:
        # not by its first line: an interpreter's path there may have 127 bytes at most
        return [self.interpreter_of(environment), os.path.join(environment, "bin", name)]

    def temporary(self, folder: str) -> Dict[str, str]:
        return {"TMPDIR": folder}

    def interpreter_in(self, folder: str, version: str) -> str:
        return os.path.join(folder, "bin", "python" + version.rpartition(".")[0])

    def find_interpreters(self, version: str, minor: bool = False) -> List[str]:
        running, series = _real_interpreter(), version.rpartition(".")[0]
        usable = not is_brought(running)
        if usable and version == "%d.%d.%d" % sys.version_info[:3]:
            return [running]
        import glob

        found = [path for pattern in NAMED for path in glob.glob(os.path.expanduser(pattern % version))]
        if minor:
            wider = [path for pattern in NAMED for path in glob.glob(os.path.expanduser(pattern % (series + ".*")))]
            found += [running] * (usable and series == "%d.%d" % sys.version_info[:2]) + sorted(wider, reverse=True)
        folders = ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", *os.environ.get("PATH", "").split(os.pathsep)]
        for folder in dict.fromkeys(folders):
            path = os.path.join(folder, "python" + series)
            if os.access(path, os.X_OK) and os.path.basename(folder) != "shims":  # pyenv's, which may lead nowhere
                found.append(path)
        return [path for path in dict.fromkeys(found) if not is_brought(path)]


SESSIONS = "s"
"""Ray's folder in its enclosure: every character counts."""
NAMED = ("~/.pyenv/versions/%s/bin/python", "~/.local/share/uv/python/cpython-%s-*/bin/python")
"""Where interpreters lie under their exact version."""
STARTING = threading.Lock()
"""Held from before a program begins until it is among the children: one that nobody knows of would outlive us."""
PATH = "/usr/local/bin:/usr/bin:/bin"
"""For programs that run as another account."""
MOST_OUTPUT = 16 << 20
"""Bytes of what a program says that runs as another account: its end counts."""
TIES: List[Callable[[], None]] = []
"""What a program that we start does first in its process, so that it ends with us even if we are killed."""
PR_SET_PDEATHSIG = 1
"""Of prctl(2): the signal that a process gets when the thread that made it ends. Linux only; forgotten by its own
children, and when it becomes another account."""
START_LIMIT = 5.0
"""Seconds that a program gets to begin; longer only takes one on a disk that does not answer."""
CHILDREN: Set[int] = set()
"""Programs that run for us now; they must not outlive this one."""


def _have_children_end_with_us() -> None:
    """Tie every program to us that is started from now on: whoever gets our lock after us must not meet it."""
    if sys.platform != "linux" or TIES:
        return
    import ctypes

    own = os.getpid()
    try:
        prctl = ctypes.CDLL(None).prctl  # loaded now: nothing may be, between fork and exec
    except (OSError, AttributeError):
        return

    def tie() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != own:  # we ended before
            os._exit(1)

    TIES.append(tie)


def _first(become: Optional[Callable[[], None]]) -> Optional[Callable[[], None]]:
    """Return what a process does before it becomes a program, if anything."""
    steps = ([become] if become else []) + TIES

    def all_of_them() -> None:
        for step in steps:
            step()

    return all_of_them if steps else None


def _nameless_file() -> IO[bytes]:
    """Return a file for a program's output: a pipe would keep us waiting for a daemon that it leaves behind."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("output"), "w+b")
    import tempfile

    return tempfile.TemporaryFile()


def _entry(account: str) -> pwd.struct_passwd:
    import pwd

    try:
        return pwd.getpwnam(account)
    except KeyError:
        raise Failure("there is no account %r on this host" % account, "create it, or change `account:`") from None


def _is_shared(folder: str) -> bool:
    """Tell whether everybody may make something in a folder."""
    return bool(os.stat(folder).st_mode & 0o002)


def _account_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _is_at(file: IO[bytes], path: str) -> bool:
    """Tell whether an open file still is the one at that path: a teardown removes the lock that it holds."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _real_interpreter() -> str:
    """Return the interpreter that runs this, outside any virtual environment."""
    name = "python%d.%d" % sys.version_info[:2]
    outside = os.path.join(sys.base_prefix, "bin", name)
    return outside if os.path.exists(outside) else sys.executable


def _to_its_end(
    argv: List[str],
    timeout: float,
    env: Optional[Dict[str, str]],
    cwd: Optional[str],
    source: Optional[IO[bytes]] = None,
    become: Optional[Callable[[], None]] = None,
) -> Tuple[int, str]:
    """Run a program to its end (see Platform.run) with the whole of its environment.

    Args:
        source: what it reads.
        become: called in its process before it begins.
    """
    with _nameless_file() as output:
        code = _wait(_begin(argv, output, env, cwd, source, become), argv[0], timeout)
        output.seek(max(0, output.seek(0, os.SEEK_END) - (MOST_OUTPUT if source else sys.maxsize)))
        return code, output.read().decode("utf-8", "replace")


def _wait(child: subprocess.Popen[bytes], program: str, timeout: float) -> int:
    """Return the exit code of a program; a Failure if it does not end in time."""
    import subprocess

    try:
        return child.wait(timeout)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        raise Failure("%s did not end within %d s" % (os.path.basename(program), timeout)) from None
    finally:
        CHILDREN.discard(child.pid)


def _becoming(entry: pwd.struct_passwd) -> Callable[[], None]:
    """Return what makes a process that account's, for good.

    Its groups are looked up here: after a fork that could wait for ever for a lock that another thread held.
    """
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)[: os.sysconf("SC_NGROUPS_MAX")]  # 16 on macOS

    def become() -> None:
        os.setgroups(groups)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)

    return become


def _begin(
    argv: List[str],
    output: IO[bytes],
    env: Optional[Dict[str, str]],
    cwd: Optional[str],
    source: Optional[IO[bytes]],
    become: Optional[Callable[[], None]],
) -> subprocess.Popen[bytes]:
    """Start a program in a group of its own, which ends with us; a Failure if that can't be done."""
    import subprocess

    with STARTING:
        try:
            child = subprocess.Popen(
                argv,
                stdin=source or subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                start_new_session=True,
                preexec_fn=_first(become),  # noqa: PLW1509 - system calls only; `user=` came with Python 3.9
            )
        except FileNotFoundError:
            raise NoProgram("there is no program %s" % argv[0]) from None
        except subprocess.SubprocessError:
            raise Failure("this session may run nothing as another account", "is it root's, in full?") from None
        except PermissionError:
            raise Failure("%s may not be run" % argv[0], "is it on a disk that is mounted noexec?") from None
        CHILDREN.add(child.pid)
        return child
