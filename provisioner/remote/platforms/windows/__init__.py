"""Windows: registry, scheduled tasks, access lists. Each method says what; how is in the modules beside this one.

They are loaded when they are needed, and so is what only Windows' Python has.
"""

from __future__ import annotations

import os
import sys
import time

from provisioner.remote.failure import Failure
from provisioner.remote.platforms.base import OURS, PASSING, PROCESSORS, Platform
from provisioner.remote.turn import Busy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any, Dict, List, Optional, Tuple

    from provisioner.remote.host import Host
    from provisioner.remote.platforms.base import ServiceManager
    from provisioner.remote.platforms.firewall import Firewall
    from provisioner.remote.platforms.windows.registry import RegistryVariables
    from provisioner.remote.resource import Difference

LONGEST_ROOT = 60
"""Characters of a root: what Ray's wheel puts below it must stay under the 260 that Windows allows by default (the
longest path of Ray 2.60.0 in an environment has 185 characters below the root)."""
_LOCKED_BYTE = 1 << 30
"""Where the lock file is locked: far behind its text, for what is locked can't even be read."""


class Windows(Platform):
    os = "windows"

    def __init__(self) -> None:
        self._lock_file: Optional[IO[bytes]] = None

    def facts(self) -> Dict[str, Any]:
        from provisioner.remote.platforms.windows.registry import read

        name = read(r"HKLM\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters", "Hostname")
        return {
            "os": "windows",
            "arch": _processor(),
            "hostname": name or os.environ.get("COMPUTERNAME", ""),  # the variable ends after 15 characters
            "version": _version(),
            "code_page": int(read(r"HKLM\SYSTEM\CurrentControlSet\Control\Nls\CodePage", "OEMCP") or 0),
            "python": "%d.%d.%d" % sys.version_info[:3],
            "privileged": self.privileged(),
            "clock": time.time(),
        }

    def privileged(self) -> bool:
        from provisioner.remote.platforms.windows.access import is_elevated

        return is_elevated()

    def login_account(self) -> str:
        from provisioner.remote.platforms.windows.access import own_name

        return own_name()

    def default_root(self, cluster: str) -> str:
        return r"%s\provision\%s" % (os.environ.get("SYSTEMDRIVE", "C:"), cluster)

    def _above(self) -> str:
        """Return the folder that default roots lie in."""
        return os.path.dirname(self.default_root("any"))

    def checked_root(self, root: str) -> str:
        path = os.path.normpath(root)
        if not os.path.splitdrive(path)[0].endswith(":") or not os.path.isabs(path):
            raise Failure("the root %s is no folder on a disk of this host" % root, "write it as C:\\provision\\NAME")
        if " " in path or not path.isascii():
            raise Failure(
                "the root %s has a blank, or letters beyond ASCII: Ray does not run from there on Windows" % root,
                "leave `root:` out, or write it as C:\\provision\\NAME",
            )
        if len(path) > LONGEST_ROOT:
            raise Failure(
                "the root %s is too long: Windows allows paths of 260 characters" % root,
                "leave `root:` out, or take one of at most %d characters" % LONGEST_ROOT,
            )
        from provisioner.remote.platforms.windows import guard

        guard.check_root(path, self._above(), self.privileged())
        return path

    def make_root(self, root: str, account: str) -> None:
        from provisioner.remote.platforms.windows import guard

        guard.make_root(root, self._above(), self.privileged(), account)

    def secure_root(self, host: Host) -> None:
        from provisioner.remote.platforms.windows import guard

        guard.bring_into_line(host, self._above(), self.privileged())

    def root_differences(self, host: Host) -> List[Difference]:
        from provisioner.remote.platforms.windows import guard

        return guard.differences(host, self._above(), self.privileged())

    def make_folder(self, path: str, account: str) -> None:
        from provisioner.remote.platforms.windows import guard

        guard.make_folder(path, self.privileged(), account)

    def admit(self, path: str, account: str) -> None:
        from provisioner.remote.platforms.windows import descriptors, guard

        descriptors.write(path, guard.lists(self.privileged(), account).readable_file)

    def exposure(self, path: str, account: str) -> Optional[Tuple[str, str]]:
        from provisioner.remote.platforms.windows import guard

        return guard.exposure(path, self.privileged(), account)

    def temp_dir(self, root: str) -> str:
        return os.path.join(root, "ray")

    def choose_manager(self, wanted: str) -> ServiceManager:
        from provisioner.remote.platforms.windows.tasks import Tasks

        if wanted not in ("auto", "task"):
            why = ": what a session starts there ends with it" if wanted == "process" else ""
            raise Failure("there is no `service: %s` on Windows%s" % (wanted, why), "leave it out, or write `auto`")
        return Tasks()

    def firewall(self) -> Optional[Firewall]:
        from provisioner.remote.platforms.windows import registry
        from provisioner.remote.platforms.windows.firewall import WindowsFirewall, put_into_group

        return WindowsFirewall(registry.read, registry.values, put_into_group)

    def findings(self, host: Host) -> List[Dict[str, str]]:
        from provisioner.remote.platforms.windows import calls, exposure, registry
        from provisioner.remote.platforms.windows.findings import findings

        exposed = exposure.findings(host, registry.read, registry.values, calls.listening)
        return findings(host, registry.read) + exposed

    def run(
        self, argv: List[str], timeout: float = 60.0, env: Optional[Dict[str, str]] = None, cwd: Optional[str] = None
    ) -> Tuple[int, str]:
        from provisioner.remote.platforms.windows import programs

        return programs.run(argv, timeout, env, cwd)

    def run_into(self, output: IO[bytes], argv: List[str], timeout: float, cwd: str) -> int:
        from provisioner.remote.platforms.windows import programs

        return programs.run_into(output, argv, timeout, None, cwd)

    def end_children(self) -> None:
        programs = sys.modules.get("provisioner.remote.platforms.windows.programs")
        if programs is not None:
            programs.end_all()

    def lock(self, path: str, wait: float) -> object:
        deadline = time.monotonic() + wait
        while True:
            file = open(path, "ab")  # noqa: SIM115 - held until the program ends
            if _locked(file):
                break
            file.close()  # or whoever holds it could not remove it
            if time.monotonic() > deadline:
                raise Busy()
            time.sleep(0.2)
        self._lock_file = file
        return file

    def clean(self, root: str, purge: bool) -> List[str]:
        from provisioner.remote import files
        from provisioner.remote.folders import remove, remove_if_empty

        for folder in OURS if purge else ("store",):  # an environment that is kept needs no wheels any more
            remove(os.path.join(root, folder), self.holders)
        if self._lock_file is not None:  # last, and not before it is closed: what is open can't be removed
            self._lock_file.close()
        for name in PASSING:
            if os.path.exists(os.path.join(root, name)):
                files.unlink(os.path.join(root, name))
        remove_if_empty(root)
        if os.path.basename(os.path.dirname(root)) == "provision":
            remove_if_empty(os.path.dirname(root))
        return _own_folders() if purge else []

    def variables(self, place: str = "") -> RegistryVariables:
        """Return the variables of the machine, those of the account if we may not change these, or those noted."""
        from provisioner.remote.platforms.windows import registry

        elevated = self.privileged()
        return registry.RegistryVariables(place or (registry.MACHINE if elevated else registry.own_place()), elevated)

    def give(self, path: str, account: str) -> None:
        from provisioner.remote.platforms.windows import access, descriptors

        if not self.owned_by(path, account) and self.privileged():
            descriptors.set_owner(path, access.sid_of(account))

    def owner(self, path: str) -> str:
        """What an elevated account makes belongs to the group of administrators: that counts as its own."""
        from provisioner.remote.platforms.windows import access, descriptors

        sid, _ = descriptors.read(path)
        return self.login_account() if sid in (access.ADMINISTRATORS, access.own_sid()) else access.name_of(sid)

    def owned_by(self, path: str, account: str) -> bool:
        from provisioner.remote.platforms.windows import access, descriptors

        owner, wanted = descriptors.read(path)[0], access.sid_of(account)
        return owner == wanted or (owner == access.ADMINISTRATORS and wanted == access.own_sid())

    def may_write(self, folder: str, account: str) -> bool:
        """See guard.py: what is ours below a root, only administrators and SYSTEM change."""
        from provisioner.remote.platforms.windows import access

        return not self.privileged() or access.is_system(account)

    def mode(self, path: str) -> Optional[str]:
        return None

    def shield(self, path: str, mode: int, owner: str = "") -> None:
        from provisioner.remote.platforms.windows import access, descriptors, guard

        if not mode & 0o077:
            descriptors.write(path, guard.private(self.privileged(), [access.sid_of(owner or self.login_account())]))

    def access(self, path: str) -> Dict[str, Any]:
        from provisioner.remote.platforms.windows import descriptors

        owner, text = descriptors.read(path)
        return {"mode": os.stat(path).st_mode & 0o777, "owner": owner, "list": descriptors.own_part(text)}

    def set_access(self, path: str, access: Dict[str, Any]) -> None:
        """A file that is to be shielded keeps its own list: see shield."""
        from provisioner.remote.platforms.windows import descriptors

        self.give(path, access["owner"])
        if access["mode"] & 0o077 and "list" in access:
            wanted = access["list"] or "D:"
            if descriptors.own_part(descriptors.read(path)[1]) != access["list"]:
                descriptors.write(path, wanted)
        os.chmod(path, access["mode"])  # read-only or not

    def processes_of(self, root: str) -> List[int]:
        from provisioner.remote.platforms.windows import processes

        return processes.processes_of(root)

    def runs(self, pid: int) -> bool:
        from provisioner.remote.platforms.windows import calls

        return calls.runs(pid)

    def birth(self, pid: int) -> str:
        from provisioner.remote.platforms.windows import calls

        return str(calls.born(pid) or "")

    def pulse(self, pid: int) -> str:
        from provisioner.remote.platforms.windows import calls

        return calls.cycles(pid)

    def kill(self, pids: List[int]) -> None:
        from provisioner.remote.platforms.windows import processes

        processes.kill(pids)

    def holders(self, path: str) -> str:
        from provisioner.remote.platforms.windows.holders import holders

        return holders(path)

    def port_owner(self, port: int) -> str:
        from provisioner.remote.platforms.windows import processes

        return processes.port_owner(port) or "another process"

    def forbidden_ports(self) -> List[Tuple[int, int]]:
        from provisioner.remote.platforms.windows import processes, programs

        question = [programs.system32("netsh.exe"), "int", "ipv4", "show", "excludedportrange", "protocol=tcp"]
        code, output = self.run(question, processes.SLOW)
        return [] if code else processes.excluded_ports(output)

    def find_interpreters(self, version: str, minor: bool = False) -> List[str]:
        from provisioner.remote.platforms.windows.interpreters import found

        return found(version, minor)

    def interpreter_in(self, folder: str, version: str) -> str:
        return os.path.join(folder, "python.exe")

    def interpreter_of(self, environment: str) -> str:
        return os.path.join(environment, "Scripts", "python.exe")

    def command_of(self, environment: str, name: str) -> List[str]:
        return [os.path.join(environment, "Scripts", name + ".exe")]

    def temporary(self, folder: str) -> Dict[str, str]:
        return {"TEMP": folder, "TMP": folder}

    def complete_environment(self, environment: str) -> None:
        """Have Python find the Visual C++ runtime that was installed with the packages.

        The wheel msvc-runtime lays it in Scripts, where programs find it by PATH; but extension modules, such as Ray's,
        are loaded without regard to PATH, and in a virtual environment "the program's folder" is another one
        (docs.python.org, os.add_dll_directory).
        """
        path = os.path.join(environment, "Lib", "site-packages", "provision_runtime.pth")
        with open(path, "w", encoding="ascii") as file:
            file.write("import os, sys; os.add_dll_directory(os.path.join(sys.prefix, 'Scripts'))\n")


def _version() -> str:
    """Return the version of Windows with its build, such as 10.0.22631 (Windows 11 calls itself 10 as well)."""
    if sys.platform == "win32":
        return "%d.%d.%d" % sys.getwindowsversion().platform_version
    return ""


def _processor() -> str:
    """Return the processor's kind; in the variables of a program that is emulated stands the emulated one."""
    from provisioner.remote.platforms.windows import registry

    known = registry.read(registry.MACHINE, "PROCESSOR_ARCHITECTURE") or os.environ.get("PROCESSOR_ARCHITECTURE")
    name = str(known).lower()
    return PROCESSORS.get(name, name)


def _locked(file: IO[bytes]) -> bool:
    """Lock a file until it is closed; tell whether nobody else has."""
    os.lseek(file.fileno(), _LOCKED_BYTE, os.SEEK_SET)
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    return True


def _own_folders() -> List[str]:
    """Return the folders that this program and its interpreter are in, if they were brought, from the home on."""
    from provisioner.remote.folders import interpreters, programs

    there = [folder for folder in (programs(), interpreters()) if folder and os.path.isdir(folder)]
    return [".provision/" + os.path.basename(folder) for folder in there]
