"""What Linux and macOS share."""

from __future__ import annotations

import os
import signal
import stat
import sys
import time

from provisioner.remote.failure import Failure
from provisioner.remote.folders import interpreters, is_brought, programs, remove_if_empty
from provisioner.remote.platforms import children
from provisioner.remote.platforms.base import OURS, PASSING, Platform
from provisioner.remote.platforms.variables import ProfileFile, VariablesFile
from provisioner.remote.turn import Busy

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pwd
    from typing import IO, Any, Dict, List, Optional, Tuple


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
        return children.to_its_end(argv, timeout, dict(os.environ, **env) if env else None, cwd)

    def run_into(self, output: IO[bytes], argv: List[str], timeout: float, cwd: str) -> int:
        return children.wait(children.begin(argv, output, None, cwd, None, None), argv[0], timeout)

    def run_script(
        self, account: str, python: str, script: str, arguments: List[str], timeout: float, env: Dict[str, str]
    ) -> Tuple[int, str]:
        import pwd

        entry = _entry(account) if account and self.privileged() else pwd.getpwuid(os.geteuid())
        name = entry.pw_name
        theirs = {"HOME": entry.pw_dir, "LOGNAME": name, "USER": name, "PATH": PATH, **env}
        become = None if entry.pw_uid == os.geteuid() else children.becoming(entry)
        with open(script, "rb") as source:  # what we can read, it may not: it gets the open file
            return children.to_its_end([python, "-I", "-", *arguments], timeout, theirs, "/", source, become)

    def end_children(self) -> None:
        children.end_all()

    def lock(self, path: str, wait: float) -> object:
        import fcntl

        deadline = time.monotonic() + wait
        while True:
            file = open(path, "ab")  # noqa: SIM115 - held until the program ends
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(file, path):
                    children.have_children_end_with_us()
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
PATH = "/usr/local/bin:/usr/bin:/bin"
"""For programs that run as another account."""


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
