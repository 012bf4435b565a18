"""Linux: /proc, systemd where there is one."""

from __future__ import annotations

import os
import sys
import time

from provisioner.remote.failure import Failure
from provisioner.remote.host import marker_variable
from provisioner.remote.platforms.base import PROCESSORS
from provisioner.remote.platforms.posix import Posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any, Dict, List, Optional, Set, Tuple

    from provisioner.remote.host import Host
    from provisioner.remote.platforms.base import ServiceManager
    from provisioner.remote.platforms.firewall import Firewall

FIREWALLS = ("/usr/sbin/ufw", "/usr/bin/firewall-cmd")
"""The programs of those that we know, whether or not they are active."""


class Linux(Posix):
    os = "linux"

    def facts(self) -> Dict[str, Any]:
        name = os.uname()
        libc, libc_version = _libc()
        return {
            "os": "linux",
            "arch": PROCESSORS.get(name.machine, name.machine),
            "hostname": name.nodename,
            "libc": libc,
            "libc_version": libc_version,
            "python": "%d.%d.%d" % sys.version_info[:3],
            "privileged": self.privileged(),
            "clock": time.time(),
        }

    def firewall(self) -> Optional[Firewall]:
        if "PROVISION_SANDBOX" in os.environ or not any(map(os.path.exists, FIREWALLS)):
            return None  # in a sandbox it would be the whole machine's
        from provisioner.remote.platforms.linux_firewall import LinuxFirewall

        return LinuxFirewall()

    def findings(self, host: Host) -> List[Dict[str, str]]:
        from provisioner.remote.platforms.linux_findings import findings

        return findings(host)

    def choose_manager(self, wanted: str) -> ServiceManager:
        if wanted in ("task", "launchd"):
            raise Failure("there is no `service: %s` on Linux" % wanted, "leave it out, or write `service: auto`")
        running = os.path.isdir("/run/systemd/system")
        if wanted == "process" or (wanted == "auto" and not running):
            from provisioner.remote.platforms.supervised import Supervised

            return Supervised()
        if not running:
            raise Failure("systemd does not run on this host", "set `service: process`, or leave it out")
        from provisioner.remote.platforms.systemd import Systemd

        if wanted == "systemd" and not self.privileged():
            raise Failure("a systemd system unit needs root", "set `become: true`, or `service: systemd-user`")
        return Systemd(user_unit=wanted == "systemd-user" or not self.privileged())

    def processes_of(self, root: str) -> List[int]:
        return self.processes_with(marker_variable(root))

    def processes_with(self, variable: str) -> List[int]:
        """Return the pids of processes with ``NAME=value`` in their environment, this program's own left out."""
        wanted = b"\0" + variable.encode() + b"\0"
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            try:
                with open("/proc/%s/environ" % entry, "rb") as file:
                    environ = file.read()
            except OSError:
                continue
            if wanted in b"\0" + environ:
                found.append(int(entry))
        return found

    def runs(self, pid: int) -> bool:
        try:
            with open("/proc/%d/stat" % pid, "rb") as file:
                return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
        except (OSError, IndexError):
            return False

    def command_line(self, pid: int) -> str:
        try:
            with open("/proc/%d/cmdline" % pid, "rb") as file:
                return file.read().replace(b"\0", b" ").decode("utf-8", "surrogateescape").strip()
        except OSError:
            return ""

    def is_trusted(self, connection: socket.socket, *accounts: str) -> bool:
        import pwd

        from provisioner.remote.platforms.listeners import is_held_by

        trusted = {0, os.geteuid()}
        for account in filter(None, accounts):
            try:
                trusted.add(pwd.getpwnam(account).pw_uid)
            except KeyError:
                continue
        return is_held_by(connection, trusted)

    def birth(self, pid: int) -> str:
        """See proc(5): the 22nd field, in clock ticks since the system was started."""
        try:
            with open("/proc/%d/stat" % pid, "rb") as file:
                return file.read().rpartition(b")")[2].split()[19].decode("ascii")
        except (OSError, IndexError):
            return ""

    def pulse(self, pid: int) -> str:
        """How often its threads have been given a processor: those of a program that waits for something, too, unless
        it was stopped."""
        turns, tasks = 0, "/proc/%d/task" % pid
        for task in os.listdir(tasks):
            with open("%s/%s/status" % (tasks, task), "rb") as file:
                turns += sum(int(line.split()[1]) for line in file if b"ctxt_switches" in line)
        return str(turns)

    def port_owner(self, port: int) -> str:
        from provisioner.remote.platforms import listeners

        inodes = {inode for _, bound, inode in listeners.listeners() if bound == port}
        for entry in os.listdir("/proc"):
            if entry.isdigit() and _holds(entry, inodes):
                return "%s (pid %s)" % (_program(entry), entry)
        return "another process"


def _libc() -> Tuple[str, str]:
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
    except (ValueError, OSError):
        return "musl", ""
    return name, version


def _program(pid: str) -> str:
    try:
        with open("/proc/%s/comm" % pid, errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "a process that just ended"


def _holds(pid: str, inodes: Set[str]) -> bool:
    folder = "/proc/%s/fd" % pid
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    return any(_target(os.path.join(folder, name)) == "socket:[%s]" % inode for name in names for inode in inodes)


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:  # closed meanwhile
        return ""
