"""The contract every platform fulfils. Small methods that look, and small ones that change one thing."""

from __future__ import annotations

import os

from provisioner.remote.platforms.process_table import ProcessTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import IO, Any, Dict, List, Optional, Tuple

    from provisioner.remote.host import Host
    from provisioner.remote.platforms.firewall import Firewall
    from provisioner.remote.resource import Difference

OURS = ("before", "env", "log", "prometheus", "python", "ray", "redis", "run", "secrets", "service", "store")
"""Folders that we make under the root; whatever else is there is somebody's."""
PASSING = ("members.json", "python.json", "lock")
"""Files there that no teardown leaves: a host that was once the head still has its list of members."""
PROCESSORS = {"amd64": "x86_64", "arm64": "aarch64"}
"""Other names of what the rest of the program knows as x86_64 and aarch64."""
NEEDS_ELEVATION = "needs elevation"
"""A finding's severity (see events.Finding); and where tasks leave, in ``host.shared``, what they could not do without
being privileged: said once, for all."""


class ServiceManager:
    """What keeps a process running on this OS."""

    kind = ""
    launcher = "launch"
    """The module of ``provisioner.remote`` that the service starts; it is copied to the host and stands alone."""

    def runs_as(self, host: Host) -> str:
        """Return the account that services run under, "" where they run as this program does, whatever is declared."""
        return host.account

    def defined_account(self, host: Host, name: str) -> str:
        """Return the account under which a service that is there runs, "" if that is not known or of no interest."""
        return ""

    def observe(self, host: Host, name: str) -> Dict[str, Any]:
        """Return ``{"defined": text or None, "enabled": bool, "active": bool, "failing": bool, "pid": int}``.

        ``stale``, if there is one, says what must be defined anew though nothing of it can be seen to differ.
        """
        raise NotImplementedError

    def definition(self, host: Host, name: str) -> str:
        """Return the definition the service should have, as text (a unit, a plist, a task)."""
        raise NotImplementedError

    def parts(self, host: Host, text: str) -> Dict[str, str]:
        """Return what a user can recognize in a definition, or in what is there in its place, by name."""
        return {}

    def require(self, host: Host) -> None:
        """Raise a Failure if it can run nothing under the account that is declared; changes nothing."""

    def define(self, host: Host, name: str) -> None:
        """Write the definition and have it started at boot."""
        raise NotImplementedError

    def prepare(self, host: Host, name: str, python: str) -> None:
        """Define the service, which runs, as it shall be with another interpreter, where that may be refused: so that
        it is before anything is stopped. Failure if it is."""

    def foresee(self, host: Host, name: str, python: str) -> None:
        """Note (NEEDS_ELEVATION) what of that this session may not do, before anything is changed."""

    def restart(self, host: Host, name: str) -> None:
        """Start the service, or stop and start it if it runs. Returns before Ray is up."""
        raise NotImplementedError

    def start_soon(self, host: Host, name: str) -> None:
        """Have the service, which is stopped or just being stopped, started, if that can be left to others."""

    def stop(self, host: Host, name: str) -> None:
        raise NotImplementedError

    def undefine(self, host: Host, name: str) -> None:
        """Remove the definition; the service must be stopped."""
        raise NotImplementedError


class Variables:
    """Where environment variables are kept that every new process of the machine, or of an account, finds."""

    path = ""
    """Names it for users."""
    place = ""
    """Names it for later runs, which may have more rights or fewer; "" where there is but one."""
    readable = True
    writable = True
    """Whether this session may look there, and change something."""

    def get(self, name: str) -> Optional[str]:
        """Return what new processes will find in that variable, None if nothing, or if it can't be read."""
        raise NotImplementedError

    def set(self, name: str, value: str) -> None:
        """Have every new process find that value."""
        raise NotImplementedError

    def keep(self, name: str) -> Dict[str, Any]:
        """Return, as JSON data, what ``put_back`` needs to make everything as it is now."""
        raise NotImplementedError

    def put_back(self, name: str, kept: Dict[str, Any]) -> None:
        """Make everything as it was when ``kept`` was."""
        raise NotImplementedError


class Platform(ProcessTable):
    """One OS. Nothing outside ``platforms/`` asks which."""

    os = ""
    scratch = "/tmp"  # noqa: S108 - what is made there is ours alone
    """A folder with a short path, for what must have one."""

    def facts(self) -> Dict[str, Any]:
        """Return what is true of this machine and cheap to know."""
        raise NotImplementedError

    def privileged(self) -> bool:
        raise NotImplementedError

    def firewall(self) -> Optional[Firewall]:
        """Return the firewall that we open for the cluster, None if there is none on this OS that we know."""
        return None

    def findings(self, host: Host) -> List[Dict[str, str]]:
        """Return what the user should know of this machine before anything is changed; changes nothing, and starts
        one program at most unless Ray's ports are open to who has no token, and one more in ``check`` on a host that
        keeps secrets of the cluster.

        Each is ``{"message", "remedy", "severity"}``; severity: notice, fine (said only with ``--verbose``), or
        needs elevation (see events.Finding).
        """
        return []

    def login_account(self) -> str:
        """Return the account that logged in (not root, if root was reached through sudo)."""
        raise NotImplementedError

    def default_root(self, cluster: str) -> str:
        raise NotImplementedError

    def choose_manager(self, wanted: str) -> ServiceManager:
        """Return the service manager; ``wanted``: auto, or the ``kind`` of one.

        Raises:
            Failure: the wanted one does not exist here.
        """
        raise NotImplementedError

    def run(
        self, argv: List[str], timeout: float = 60.0, env: Optional[Dict[str, str]] = None, cwd: Optional[str] = None
    ) -> Tuple[int, str]:
        """Run a program to its end; returns exit code and output (stdout and stderr together).

        Raises:
            NoProgram: there is no such program.
            Failure: it may not be run, or did not end within ``timeout`` seconds.
        """
        raise NotImplementedError

    def run_into(self, output: IO[bytes], argv: List[str], timeout: float, cwd: str) -> int:
        """Run a program to its end with stdout and stderr in a file; returns the exit code.

        Raises:
            NoProgram, Failure: see ``run``.
        """
        raise NotImplementedError

    def run_script(
        self, account: str, python: str, script: str, arguments: List[str], timeout: float, env: Dict[str, str]
    ) -> Tuple[int, str]:
        """Run a Python script of ours as an account, as far as this OS lets us without its password: then with that
        account's rights and none of ours, and without our variables.

        Args:
            account: "": as this program runs.
            python: the interpreter, which that account may use; the script it need not even be able to read.

        Returns:
            Exit code and output, which is as little to be believed as the account.

        Raises:
            Failure, NoProgram: see ``run``; or there is no such account.
        """
        return self.run([python, "-I", script, *arguments], timeout, env)

    def end_children(self) -> None:
        """Kill every program that was started by ``run`` and has not ended."""
        raise NotImplementedError

    def lock(self, path: str, wait: float) -> object:
        """Hold that lock file until the program ends; returns what must be kept alive.

        Raises:
            Busy: another program holds it and still does after ``wait`` seconds.
        """
        raise NotImplementedError

    def checked_root(self, root: str) -> str:
        """Return a root folder as paths are written here.

        Raises:
            Failure: it can't be ours, or Ray could not run there.
        """
        return root

    def make_root(self, root: str, account: str) -> None:
        """Make the root folder, in one step, for us and for the account that Ray runs under."""
        os.makedirs(root, mode=0o755, exist_ok=True)

    def root_differences(self, host: Host) -> List[Difference]:
        """Return in what the accounts that may use the root's folders are not those that should; changes nothing."""
        return []

    def secure_root(self, host: Host) -> None:
        """Have exactly the accounts that should use the root's folders: us, and the one that Ray runs under.

        Raises:
            Failure: it can't be done, or there is no such account.
        """

    def make_folder(self, path: str, account: str) -> None:
        """Have a folder that the account may write to; one that is there stays as it is, as far as who may do so."""
        os.makedirs(path, mode=0o755, exist_ok=True)
        self.give(path, account)

    def check_sessions(self, path: str, account: str, enclosure: str = "") -> None:
        """Raise a Failure if Ray's folder for sessions, or its enclosure, is in a place where everybody may write and
        was made there by somebody else than the account ("": us); changes nothing."""

    def make_sessions(self, path: str, account: str, enclosure: str = "", ours: bool = False) -> None:
        """Have Ray's folder for sessions, for the account ("": us), and around it the enclosure for nobody else.

        Args:
            ours: it was made by us, if it is there.

        Raises:
            Failure: see ``check_sessions``.
        """
        if not os.path.isdir(path):
            self.make_folder(path, account or self.login_account())

    def admit(self, path: str, account: str) -> None:
        """Let the account that Ray runs under read a file of ours, and nobody else."""
        self.give(path, account)

    def exposure(self, path: str, account: str) -> Optional[Tuple[str, str]]:
        """Return who may use a file that is there and who should, in words, if that is not us and the account alone
        (empty: us alone); None if it is. On POSIX of folders as well."""
        raise NotImplementedError

    def temp_dir(self, root: str) -> str:
        """Return Ray's folder for sessions, short enough for what Ray makes there."""
        raise NotImplementedError

    def enclosure(self, root: str) -> str:
        """Return the folder around Ray's for sessions that is shut to other accounts, "" where none is needed."""
        return ""

    def clean(self, root: str, purge: bool) -> List[str]:
        """Remove the root if nothing is left in it; with ``purge``, everything of ours in it and the cached program
        as well.

        Returns the folders, counted from the home folder, that somebody else must remove after this program has
        ended: it runs out of them, and that keeps them there.
        """
        raise NotImplementedError

    def variables(self, place: str = "") -> Variables:
        """Return where variables are kept: what this session sets, or the place that an earlier one noted."""
        raise NotImplementedError

    def give(self, path: str, account: str) -> None:
        """Make the account the owner of a file or folder."""
        raise NotImplementedError

    def owner(self, path: str) -> str:
        """Return the account that owns a file, or its number if it has no name."""
        raise NotImplementedError

    def owned_by(self, path: str, account: str) -> bool:
        """Tell whether an account, however it is written, owns a file."""
        return self.owner(path) == account

    def may_write(self, folder: str, account: str) -> bool:
        """Tell whether an account may write to a folder that we made."""
        return self.owner(folder) == account

    def mode(self, path: str) -> Optional[str]:
        """Return a file's permission bits in octal, None where there is no such thing."""
        raise NotImplementedError

    def shield(self, path: str, mode: int, owner: str = "") -> None:
        """Keep a file from all but its owner (empty: us) if ``mode`` says so, where modes don't do that."""

    def access(self, path: str) -> Dict[str, Any]:
        """Return, as JSON data, who owns a file and who may do what with it."""
        raise NotImplementedError

    def set_access(self, path: str, access: Dict[str, Any]) -> None:
        """Give a file the access that ``access`` returned, as far as we may."""
        raise NotImplementedError

    def processes_of(self, root: str) -> List[int]:
        """Return the pids of every process that was started from a root of ours, whoever its parent is, this program's
        own left out."""
        raise NotImplementedError

    def holders(self, path: str) -> str:
        """Return in words who has a file open that can't be removed, empty if that is not known."""
        return ""

    def port_owner(self, port: int) -> str:
        """Return who listens on a TCP port, such as ``nginx (pid 711)``; ``another process`` if unknown."""
        raise NotImplementedError

    def is_trusted(self, connection: socket.socket, *accounts: str) -> bool:
        """Tell whether root, we or one of those accounts hold the far end of a connection within this host; True if
        unknown."""
        return True

    def start_hint(self, host: Host, name: str) -> Optional[Tuple[str, str]]:
        """Return what the service noted before Ray's start and explains why it does not come up: message, remedy."""
        return None

    def forbidden_ports(self) -> List[Tuple[int, int]]:
        """Return the spans of TCP ports, first and last, that the system keeps from every program."""
        return []

    def find_interpreters(self, version: str, minor: bool = False) -> List[str]:
        """Return paths of Python interpreters that may have that exact version, the likeliest first; with ``minor``,
        of others of the same minor version as well. None that was brought by us is among them."""
        raise NotImplementedError

    def interpreter_in(self, folder: str, version: str) -> str:
        """Return the interpreter in a folder that an archive of python-build-standalone was unpacked to."""
        raise NotImplementedError

    def interpreter_of(self, environment: str) -> str:
        """Return the interpreter inside a virtual environment."""
        raise NotImplementedError

    def command_of(self, environment: str, name: str) -> List[str]:
        """Return the arguments that start a command which a package has brought into a virtual environment."""
        raise NotImplementedError

    def temporary(self, folder: str) -> Dict[str, str]:
        """Return the variables that have programs make their temporary files in a folder."""
        raise NotImplementedError

    def complete_environment(self, environment: str) -> None:
        """Add to a virtual environment what its packages need here and don't bring in the right place."""


def fine(message: str) -> Dict[str, str]:
    """Return a finding for who wants to see all that was looked at."""
    return {"severity": "fine", "message": message, "remedy": ""}


def notice(message: str, remedy: str) -> Dict[str, str]:
    """Return a finding that may do harm later."""
    return {"severity": "notice", "message": message, "remedy": remedy}
