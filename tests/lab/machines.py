"""Lab hosts as objects: a `Lab` prepares and cleans up, a `Machine` is switched on, cut off, rebooted and looked at."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from . import plumbing
from .golden import NEEDED_TOOLS, SSHD_LOG, Golden, golden, lab_home, locked, require_debian_root, require_tools
from .listing import Listing, disk, shared_memory
from .shell import LabError, LabTimeout, run, tools_env, wait_until

SESSION_LOCK = Path(f"/run/lock/provision-{plumbing.NAME}.lock")
ACCEPTED = re.compile(r"^Accepted (?P<how>\S+) for (?P<user>\S+) from (?P<address>\S+) port (?P<port>\d+)", re.M)
SESSION = re.compile(
    r"^Starting session: (?P<what>.+?) for (?P<user>\S+) from (?P<address>\S+) port (?P<port>\d+)", re.M
)
BOOT_LIMIT = 60.0
NFT_TABLE = """\
add table inet lab
add chain inet lab input { type filter hook input priority -10; }
add chain inet lab output { type filter hook output priority -10; }
"""


@dataclass(frozen=True)
class SshdLog:
    """What sshd did since the host was made: accepted logins as ``user@address``, session requests as ``what user``.

    A session's ``what`` is ``command``, ``subsystem 'sftp'`` or ``shell on pts/N``; sshd never logs the command's text.
    """

    accepted: tuple[str, ...]
    sessions: tuple[str, ...]

    @property
    def connections(self) -> int:
        """How many logins were accepted."""
        return len(self.accepted)

    @property
    def commands(self) -> int:
        """How many exec requests there were."""
        return sum(session.startswith("command ") for session in self.sessions)

    def since(self, before: SshdLog) -> SshdLog:
        """Only what came after an earlier look."""
        return SshdLog(self.accepted[len(before.accepted) :], self.sessions[len(before.sessions) :])


@dataclass(frozen=True)
class Process:
    """A process inside a host, with the host's own numbers."""

    pid: int
    parent: int
    user: str
    command: str


@dataclass(frozen=True)
class Memory:
    """A host's memory in bytes; use and peak include what the kernel caches of its files."""

    use: int
    peak: int
    limit: int


@dataclass(eq=False)
class Lab:
    """The prepared lab of one test session; only one session at a time has it."""

    home: Path
    golden: Golden
    machines: dict[str, Machine] = field(default_factory=dict)
    wiring: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _held: ExitStack = field(default_factory=ExitStack, repr=False)

    @classmethod
    def prepare(cls, lock_limit: float = 300) -> Lab:
        """Install tools, build the golden root if needed, clean up after killed sessions; or LabUnavailable."""
        require_debian_root()
        with ExitStack() as held:
            held.enter_context(locked(SESSION_LOCK, "the lab", lock_limit))
            require_tools(NEEDED_TOOLS, 300)
            home = lab_home()
            home.mkdir(parents=True, exist_ok=True)
            lab = cls(home, golden(home))
            lab.clean()
            room = plumbing.make_room(home)
            held.callback(plumbing.give_room_back, home, room)
            plumbing.bridge_up()
            lab._held = held.pop_all()
            return lab

    @property
    def hosts(self) -> Path:
        """Where the hosts' disks are."""
        return self.home / ("hosts" if plumbing.NAME == "plab" else f"hosts-{plumbing.NAME}")

    def clean(self) -> None:
        """Remove every lab host there is, also those a killed session left; only what carries our name."""
        for name in sorted(plumbing.names_in_use(self.hosts)):
            plumbing.remove(name, self.hosts)
        self.machines.clear()

    def close(self) -> None:
        """Take everything down and let the next session in."""
        try:
            self.down(list(self.machines.values()))
            self.clean()
            plumbing.bridge_down()
        finally:
            self._held.close()

    def new(self, count: int) -> list[Machine]:
        """The next free hosts h1, h2, ... at 10.78.0.11, .12, ...; not switched on yet."""
        made: list[Machine] = []
        for number in range(1, 160):  # what is above belongs to stand-ins for Windows machines
            name = f"h{number}"
            if len(made) < count and name not in self.machines:
                self.machines[name] = Machine(name, f"{plumbing.NETWORK}.{10 + number}", self)
                made.append(self.machines[name])
        if len(made) < count:
            raise LabError(f"the lab's network has no room for {count} more hosts")
        return made

    def up(self, machines: Sequence[Machine], mem: str = "6G") -> None:
        """Boot fresh hosts side by side."""
        in_parallel(lambda machine: machine.up(mem), machines)

    def down(self, machines: Sequence[Machine]) -> None:
        """Remove hosts side by side."""
        in_parallel(lambda machine: machine.down(), machines)
        for machine in machines:
            self.machines.pop(machine.name, None)


@dataclass(eq=False)
class Machine:
    """One host: systemd, its own sshd, disk, address, memory limit. Removed completely by `down`."""

    name: str
    ip: str
    lab: Lab = field(repr=False)
    _supervisor: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _groups: list[Path] = field(default_factory=list, repr=False)

    @property
    def folder(self) -> Path:
        """Where this host's disk and console log are."""
        return self.lab.hosts / self.name

    # -- power ---------------------------------------------------------------------------------------------------------

    def up(self, mem: str = "6G") -> None:
        """Make a fresh host and boot it; returns when it has booted and its sshd answers."""
        if not re.fullmatch(r"[a-z][a-z0-9]{0,8}", self.name):
            raise LabError(f"a lab host's name has at most 9 letters and digits: {self.name}")
        plumbing.overlay_up(self.folder, self.lab.golden.root)
        etc = self.folder / "root" / "etc"
        (etc / "hostname").write_text(f"{self.name}\n", encoding="utf-8")
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n{self.ip} {self.name}\n", encoding="utf-8")
        with self.lab.wiring:  # the first `ip netns add` mounts /run/netns: not two at once
            plumbing.network_up(self.name, self.ip)
        self._groups = plumbing.cgroups_up(self.name, mem)
        self.boot()

    def boot(self, wait: bool = True) -> None:
        """Switch on a host that is off."""
        if self.running:
            raise LabError(f"host {self.name} is on already")
        arguments = [self.name, str(self.folder), *map(str, self._groups)]
        with (self.folder / "console.log").open("ab") as console:
            self._supervisor = subprocess.Popen(
                ["bash", "-c", plumbing.SUPERVISOR, plumbing.NAME, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=tools_env(),
                start_new_session=True,
            )
        if wait:
            self.wait_ready()

    def wait_ready(self, after: str = "", limit: float = BOOT_LIMIT) -> None:
        """Wait until the host has booted (again, if ``after`` is the boot id of before) and its sshd answers."""
        try:
            wait_until(lambda: self._died() or self._answers(after), f"{self.name}'s sshd to answer", limit)
            wait_until(lambda: self._died() or self._booted(), f"{self.name} to finish booting", limit)
        except LabError as error:
            raise type(error)(f"{error}\n{self.console()}") from error

    def let_filter(self) -> None:
        """Let the host's own root use its packet filter, as that of a real machine may, from its next boot on."""
        (self.folder / "more").write_text("--capability=CAP_NET_ADMIN")

    def power_cut(self) -> None:
        """End everything on the host at once; its disk stays, `boot` switches it on again."""
        leader = self.leader()
        if leader is not None:
            with suppress(ProcessLookupError):
                os.kill(leader, 9)
        self._wait_off(10)

    def power_off(self, limit: float = 60) -> None:
        """Shut down in order; the disk stays."""
        self.exec(["systemctl", "poweroff"], check=False)
        self._wait_off(limit)

    def reboot(self, wait: bool = True) -> None:
        """Restart the host's system in order."""
        before = self.boot_id()
        self.exec(["systemctl", "reboot"], check=False)
        if wait:
            self.wait_ready(after=before)

    def down(self) -> None:
        """Remove the host with everything that belongs to it; no matter in what state it is."""
        with suppress(LabError):  # the host first: its nspawn then ends by itself and tidies up
            self.power_cut()
        plumbing.remove(self.name, self.lab.hosts)
        if self._supervisor is not None:
            self._supervisor.wait(10)
            self._supervisor = None

    # -- link ----------------------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Pull the network cable."""
        run(["ip", "link", "set", f"{plumbing.PREFIX}{self.name}", "down"])

    def uncut(self) -> None:
        """Plug the network cable in again; that the host was not found before is forgotten at once."""
        run(["ip", "link", "set", f"{plumbing.PREFIX}{self.name}", "up"])
        run(["ip", "neighbour", "flush", "nud", "all", "to", self.ip], check=False)

    def throttle(self, mbit: int) -> None:
        """Let at most so many megabits a second reach the host; 0: no limit."""
        plumbing.throttle(self.name, mbit)

    def nft(self, rule: str) -> None:
        """Add a rule to the host's network in our own table: ``input tcp dport 6379 drop`` or ``output ...``."""
        space = f"--net=/run/netns/{plumbing.PREFIX}{self.name}"
        run(["nsenter", space, "nft", "-f", "-"], stdin=f"{NFT_TABLE}add rule inet lab {rule}\n")

    def nft_reset(self) -> None:
        """Remove all rules that `nft` added."""
        space = f"--net=/run/netns/{plumbing.PREFIX}{self.name}"
        run(["nsenter", space, "nft", "-f", "-"], stdin="add table inet lab\ndelete table inet lab\n")

    # -- inside --------------------------------------------------------------------------------------------------------

    def exec(
        self, argv: Sequence[str], check: bool = True, stdin: str | bytes | None = None, timeout: float = 30
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside as root, without SSH: it leaves no trace in sshd's log."""
        leader = self.leader()
        if leader is None:
            raise LabError(f"host {self.name} is off")
        enter = ["nsenter", "-t", str(leader), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--"]
        return run([*enter, *argv], check=check, stdin=stdin, timeout=timeout)

    def ssh(
        self, *argv: str, user: str = "root", check: bool = True, stdin: str = "", timeout: float = 30
    ) -> subprocess.CompletedProcess[str]:
        """Run a command line through OpenSSH's own client, as one of root, kim, lee, park."""
        return run([*self.ssh_client(user), *argv], check=check, stdin=stdin, timeout=timeout)

    def ssh_client(self, user: str) -> list[str]:
        """How OpenSSH's own client is called, up to the command."""
        known = self.folder / "known_hosts"
        if not known.exists():
            known.write_text(f"{self.known_host()}\n", encoding="utf-8")
        settings = {"UserKnownHostsFile": str(known), "BatchMode": "yes", "ConnectTimeout": "5", "LogLevel": "ERROR"}
        options = [f"-o{name}={value}" for name, value in settings.items()]
        return ["ssh", "-F", "none", "-i", str(self.lab.golden.key), *options, f"{user}@{self.ip}"]

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file inside, with the folders above it; the host must be on."""
        script = 'mkdir -p "$(dirname "$1")" && cat > "$1" && chmod "$2" "$1"'
        self.exec(["sh", "-c", script, "write", path, f"{mode:o}"], stdin=text)

    def read(self, path: str) -> str:
        """Read a file inside; the host must be on."""
        return self.exec(["cat", path]).stdout

    # -- looking -------------------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether the host is switched on (perhaps still booting)."""
        return self._supervisor is not None and self._supervisor.poll() is None

    def leader(self) -> int | None:
        """This machine's number for the host's PID 1: the child of its systemd-nspawn."""
        with suppress(OSError, ValueError):
            spawn = int((self.folder / "nspawn.pid").read_text())
            for pid in Path(f"/proc/{spawn}/task/{spawn}/children").read_text().split():
                if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
                    return int(pid)
        return None

    def boot_id(self) -> str:
        """Another one after each boot; empty while the host is off."""
        with suppress(OSError):
            return Path(f"/proc/{self.leader()}/root/proc/sys/kernel/random/boot_id").read_text().strip()
        return ""

    def known_host(self) -> str:
        """The host's line for a known_hosts file, from its own disk."""
        kind, key = self.read("/etc/ssh/ssh_host_ed25519_key.pub").split()[:2]
        return f"{self.ip} {kind} {key}"

    def sshd_log(self) -> SshdLog:
        """All logins and sessions since the host was made."""
        text = (self.folder / "root" / SSHD_LOG.lstrip("/")).read_text(encoding="utf-8", errors="replace")
        accepted = (f"{found['user']}@{found['address']}" for found in ACCEPTED.finditer(text))
        sessions = (f"{found['what']} {found['user']}" for found in SESSION.finditer(text))
        return SshdLog(tuple(accepted), tuple(sessions))

    def listing(self) -> Listing:
        """What is on the disk (and in /dev/shm) beyond the golden root; see listing.py for what is not looked at."""
        found = disk(self.folder / "upper", self.lab.golden.root)
        leader = self.leader()
        return found if leader is None else {**found, **shared_memory(Path(f"/proc/{leader}/root/dev/shm"))}

    def processes(self) -> list[Process]:
        """Everything that runs inside."""
        rows = self.exec(["ps", "-eww", "-o", "pid=,ppid=,user:32=,args="]).stdout.splitlines()
        fields = (row.split(None, 3) for row in rows)
        found = [Process(int(pid), int(parent), user, command) for pid, parent, user, command in fields]
        return [process for process in found if not process.command.startswith("ps -eww -o pid=,ppid=")]

    def memory(self) -> Memory:
        """What the host uses, has used at most, and may use."""
        use, peak, limit = (int(plumbing.memory_file(self.name, what).read_text()) for what in ("use", "peak", "limit"))
        return Memory(use, peak, limit)

    def console(self, lines: int = 15) -> str:
        """The end of what the host wrote on its console."""
        with suppress(OSError):
            text = (self.folder / "console.log").read_text(encoding="utf-8", errors="replace")
            return "\n".join(f"{self.name} console: {line}" for line in text.splitlines()[-lines:])
        return ""

    def _died(self) -> bool:
        if not self.running:
            raise LabError(f"host {self.name} went off while it was waited for")
        return False

    def _answers(self, after: str) -> bool:
        boot = self.boot_id()
        if not boot or boot == after:
            return False
        with suppress(OSError), socket.create_connection((self.ip, 22), timeout=1) as connection:
            connection.settimeout(1)
            return connection.recv(4) == b"SSH-"
        return False

    def _booted(self) -> bool:
        with suppress(LabTimeout):
            # not --wait: asked in an early moment, it sometimes never hears that the boot has ended
            state = self.exec(["systemctl", "is-system-running"], check=False, timeout=5).stdout.strip()
            return state in {"running", "degraded", "maintenance"}
        return False

    def _wait_off(self, limit: float) -> None:
        if self._supervisor is None:
            return
        try:
            self._supervisor.wait(limit)
        except subprocess.TimeoutExpired as error:
            raise LabTimeout(f"host {self.name} is still on after {limit:g} s\n{self.console()}") from error


def in_parallel(work: Callable[[Machine], None], machines: Iterable[Machine]) -> None:
    """Do it to all of them at once; every one is tried, then the first failure is raised."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        futures = [pool.submit(work, machine) for machine in machines]
    for future in futures:
        future.result()
