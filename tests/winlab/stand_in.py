"""A stand-in for a Windows machine as an object: the same as a Linux lab host, wherever that makes sense."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..lab import plumbing
from ..lab.listing import Entry, Listing, disk
from ..lab.machines import Lab, Machine, Process, SshdLog
from ..lab.shell import LabError, run, tools_env
from . import registry
from .golden import BANNER, DRIVE_C, SSHD, USER, Golden, first_user, golden
from .host import advfirewall
from .stages import HERE

FIRST_ADDRESS = 170
"""The last number of the first stand-in's address; those below belong to Linux hosts."""
CONFIG = "etc/stand-in.json"
PROGRAMS = "opt/stand-in"
LIST = "user.list"
"""The extended attribute that holds what a file was given for an access list; see host/lists.py."""
READY = "run/stand-in/ready"
SSHD_LOG = "var/log/sshd.log"
INSIDE = ["/usr/bin/env", "-i", "HOME=/root", "PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LANG=C.UTF-8"]
# PID 1 of a stand-in: reaps orphans and ends with the services, and everything on the stand-in ends with it.
SUPERVISOR = f"""\
name=$1 root=$2; shift 2
for group; do echo $$ > $group/cgroup.procs; done
exec nsenter --net=/run/netns/{plumbing.PREFIX}$name unshare -m -p -u -i -f --kill-child bash -ec '
  mount --make-rprivate /
  mount -t proc proc $1/proc; mount --bind /sys $1/sys; mount --rbind /dev $1/dev; mount -t tmpfs tmpfs $1/dev/shm
  hostname $2; cd /
  chroot $1 {" ".join(INSIDE)} /usr/bin/python3 -IS /{PROGRAMS}/services.py &
  services=$!; while kill -0 $services 2>/dev/null; do wait -n || true; done' stand-in "$root" "$name"
"""
OWN = re.compile(
    r"/opt/stand-in/|^(\S*/)?(sshd|wineserver|bash|ps)\b|sshd-session|^/usr/lib/wine/"
    r"|stand-in.launch\.exe|\\(services|winedevice|plugplay|svchost|rpcss|explorer|conhost|wineboot|winemenubuilder)\.exe",
    re.I,
)
"""Processes that are the stand-in itself."""
RULES = r"\SharedAccess"
"""Part of the name of values that are told as firewall rules: their own names are random."""
NOISE = re.compile(r"(?i)^/windows/temp(/|$)")

Shell = Literal["cmd", "powershell"]
End = Literal["process", "tree"]
Restart = Literal["launch", "exit"]


@dataclass(frozen=True)
class Options:
    """How a stand-in is set up.

    Args:
        shell: OpenSSH's DefaultShell.
        codepage: 437, or 949 for a Korean Windows.
        user: the one administrator's name, also of the folder in C:\\Users.
        python: whether CPython 3.11.9 is installed in C:\\Program Files\\Python311.
        end: whether ending a task ends its own process only (what real Windows is reported to do), or the whole tree.
        restart: whether RestartOnFailure acts only when the action could not start (as reported), or on exit codes too.
        console: whether somebody is logged on at the console.
    """

    shell: Shell = "cmd"
    codepage: Literal[437, 949] = 437
    user: str = USER
    python: bool = True
    end: End = "process"
    restart: Restart = "launch"
    console: bool = False


@dataclass(eq=False)
class StandIn(Machine):
    """One stand-in: real sshd, Wine, its own registry, disk and address. Removed completely by `down`."""

    golden: Golden = field(kw_only=True, repr=False)
    options: Options = field(kw_only=True, default=Options())

    @property
    def user(self) -> str:
        return self.options.user

    @property
    def encoding(self) -> str:
        """The code page's name in Python, such as ``cp949``."""
        return f"cp{self.options.codepage}"

    @property
    def home(self) -> str:
        """The administrator's folder, as Windows names it."""
        return f"C:\\Users\\{self.user}"

    @property
    def python(self) -> str:
        """Where the installed Python is, if there is one."""
        return r"C:\Program Files\Python311\python.exe"

    @property
    def declared(self) -> dict[str, Any]:
        """What an inventory says of it: system, login, and the interpreter that it is to get, from our own mirror."""
        python = {"version": self.golden.archive.version, "source": "managed", "mirror": self.golden.mirror}
        return {"os": "windows", "ssh": {"user": self.user}, "python": python}

    @property
    def drive(self) -> Path:
        """Drive C:, as this machine sees it; names must be given in the case they have there."""
        return self._root / DRIVE_C

    @property
    def _root(self) -> Path:
        return self.folder / "root"

    # -- power ---------------------------------------------------------------------------------------------------------

    def up(self, mem: str = "6G") -> None:
        """Make a fresh stand-in and boot it; returns when its sshd answers."""
        if not re.fullmatch(r"[a-z][a-z0-9]{0,8}", self.name):
            raise LabError(f"a stand-in's name has at most 9 letters and digits: {self.name}")
        plumbing.overlay_up(self.folder, *self.golden.layers(self.options.python))
        self._furnish()
        with self.lab.wiring:
            plumbing.network_up(self.name, self.ip)
        self._groups = plumbing.cgroups_up(self.name, mem)
        self.boot()

    def boot(self, wait: bool = True) -> None:
        """Switch on a stand-in that is off."""
        if self.running:
            raise LabError(f"stand-in {self.name} is on already")
        shutil.rmtree(self._root / "run")
        for folder in ("run/sshd", "run/stand-in/spec"):
            (self._root / folder).mkdir(parents=True)
        shutil.rmtree(self._root / PROGRAMS)
        shutil.copytree(HERE / "host", self._root / PROGRAMS, ignore=shutil.ignore_patterns("__pycache__"))
        arguments = [self.name, str(self._root), *map(str, self._groups)]
        with (self.folder / "console.log").open("ab") as console:
            self._supervisor = subprocess.Popen(
                ["bash", "-c", SUPERVISOR, plumbing.NAME, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=tools_env(),
                start_new_session=True,
            )
        if wait:
            self.wait_ready()

    def power_off(self, limit: float = 60) -> None:
        """Shut down in order (Wine writes its registry); the disk stays."""
        self._control("shutdown", check=False)
        self._wait_off(limit)

    def reboot(self, wait: bool = True) -> None:
        """Restart in order."""
        self.power_off()
        self.boot(wait)

    def restart_sshd(self) -> None:
        """As ``Restart-Service sshd``: new sessions see the changed machine environment."""
        self._control("restart-sshd")

    @contextmanager
    def other_greeting(self) -> Iterator[None]:
        """Have the SSH server be one that does not say that it is Windows'."""
        programs = [self._root / program for program in SSHD]
        before = [program.read_bytes() for program in programs]
        try:
            for program, data in zip(programs, before, strict=True):
                _renew(program, data.replace(BANNER, b"OtherSSH_for_Everything"))
            self.restart_sshd()
            yield
        finally:
            for program, data in zip(programs, before, strict=True):
                _renew(program, data)
            self.restart_sshd()

    def end_sessions(self) -> None:
        """Break off every SSH connection, as when the server ends: its sessions' jobs take along all that they run."""
        rows = self.inside(["ps", "-eww", "-o", "pid=,ppid=,args="]).stdout.splitlines()
        found = [(int(each[0]), int(each[1]), each[2]) for each in (row.split(None, 2) for row in rows)]
        shells = {pid for pid, _, command in found if command.endswith("/winshell.py")}
        ended = [pid for pid, parent, command in found if "sshd-session: " in command or parent in shells]
        if ended:
            self.inside(["kill", "-9", *map(str, ended)], check=False)  # one may have ended meanwhile

    def change(self, **settings: str | float) -> None:
        """Change ``end``, ``restart``, ``console``, ``hang`` or ``speed`` of a running stand-in; see README.md."""
        self._control("set", *(f"{name}={value}" for name, value in settings.items()))

    # -- inside --------------------------------------------------------------------------------------------------------

    def exec(
        self, argv: Sequence[str], check: bool = True, stdin: str | bytes | None = None, timeout: float = 30
    ) -> subprocess.CompletedProcess[str]:
        """Run a Windows program as the administrator, without SSH; its output is decoded from the code page."""
        program = [*self._entrance(), "/usr/bin/python3", "-IS", f"/{PROGRAMS}/run.py", *argv]
        return run(program, check=check, stdin=stdin, timeout=timeout, encoding=self.encoding)

    def inside(
        self, argv: Sequence[str], check: bool = True, stdin: str | bytes | None = None, timeout: float = 30
    ) -> subprocess.CompletedProcess[str]:
        """Run a Linux command on the stand-in, under Windows so to say."""
        return run([*self._entrance(), *argv], check=check, stdin=stdin, timeout=timeout)

    def _entrance(self) -> list[str]:
        leader = self.leader()
        if leader is None:
            raise LabError(f"stand-in {self.name} is off")
        spaces = ["-m", "-u", "-i", "-n", "-p"]
        return ["nsenter", "-t", str(leader), *spaces, "--", "chroot", str(self._root), *INSIDE]

    def ssh(
        self, *argv: str, user: str = "", check: bool = True, stdin: str = "", timeout: float = 30
    ) -> subprocess.CompletedProcess[str]:
        """Run a command line through OpenSSH's own client; what it says is decoded from the code page."""
        client = self.ssh_client(user or self.user)
        return run([*client, *argv], check=check, stdin=stdin, timeout=timeout, encoding=self.encoding)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file, with the folders above it; ``path`` as Windows has it, line ends as they are in ``text``."""
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode())

    def read(self, path: str) -> str:
        """Read a file."""
        return self.path(path).read_bytes().decode()

    def path(self, windows: str) -> Path:
        """Return where a path such as ``C:\\dir\\file`` lies for this machine; case does not matter."""
        drive, *parts = windows.replace("/", "\\").split("\\")
        if drive.lower() != "c:":
            raise LabError(f"a stand-in has only C:, not {windows}")
        path = self.drive
        for part in parts:
            names = {entry.name.lower(): entry for entry in (path.iterdir() if path.is_dir() else ())}
            path = names.get(part.lower(), path / part)
        return path

    # -- looking -------------------------------------------------------------------------------------------------------

    def leader(self) -> int | None:
        """This machine's number for the stand-in's PID 1: the child of its ``unshare``."""
        if self._supervisor is None or not self.running:
            return None
        pid = self._supervisor.pid
        with suppress(OSError, ValueError, IndexError):
            if Path(f"/proc/{pid}/comm").read_text().strip() == "unshare":
                return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        return None

    def boot_id(self) -> str:
        """Another one after each boot; empty while the stand-in is off."""
        with suppress(OSError):
            leader = self.leader()
            return f"{leader}-{Path(f'/proc/{leader}/stat').read_text().rpartition(')')[2].split()[19]}"
        return ""

    def known_host(self) -> str:
        """The stand-in's line for a known_hosts file, from its own disk."""
        kind, key = (self._root / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2]
        return f"{self.ip} {kind} {key}"

    def sshd_log(self) -> SshdLog:
        """All logins and sessions since the stand-in was made; a session's ``what`` is always ``command``."""
        log = super().sshd_log()
        return SshdLog(log.accepted, tuple(f"command {self.user}" for _ in log.sessions))

    def processes(self) -> list[Process]:
        """Every Windows process, with Linux's numbers; not what the stand-in itself is made of."""
        rows = self.inside(["ps", "-eww", "-o", "pid=,ppid=,args="]).stdout.splitlines()
        fields = (row.split(None, 2) for row in rows)
        found = (Process(int(each[0]), int(each[1]), self.user, each[2]) for each in fields if len(each) == 3)
        return [process for process in found if process.parent != 2 and not OWN.search(process.command)]

    def listing(self) -> Listing:
        """What is beyond the golden disk and registry: files, values of the keys that matter, firewall rules, ACLs.

        Scheduled tasks are files, in ``C:/windows/system32/Tasks``. The stand-in must be on.
        """
        lowers = [layer / DRIVE_C for layer in self.golden.layers(self.options.python)]
        upper = self.folder / "upper" / DRIVE_C
        found = {f"C:{name}": entry for name, entry in disk(upper, *lowers).items() if not NOISE.search(name)}
        found.update(self._registry())
        for path in [upper, *upper.rglob("*")]:
            with suppress(OSError):
                data = os.getxattr(path, LIST, follow_symlinks=False).decode()
                found[f"acls /{path.relative_to(upper).as_posix().lower()}"] = Entry("state", digest=data)
        for rule in self.firewall():
            found[f"firewall {rule['Name'][0]}"] = Entry("state", digest=json.dumps(rule, sort_keys=True))
        return found

    def firewall(self) -> list[dict[str, list[str]]]:
        """The firewall rules that there are: the fields of each, all with their values; see host/advfirewall.py."""
        rules = registry.values(self.export(advfirewall.KEY)).values()
        return [advfirewall.fields(advfirewall.unescape(data.strip('"'))) for data in rules if data]

    def export(self, key: str) -> str:
        """A key of the registry with all below it, as regedit writes it; empty if there is none."""
        file = self._root / "run/stand-in/one.reg"
        self.exec(["regedit", "/E", r"Z:\run\stand-in\one.reg", key], check=False)
        if not file.exists():
            return ""
        text = file.read_bytes().decode("utf-16")
        file.unlink()
        return text

    def _registry(self) -> Listing:
        lines = [f'regedit /E Z:\\run\\stand-in\\{n}.reg "{key}"' for n, key in enumerate(registry.LOOKED_AT)]
        (self._root / "run/stand-in/export.cmd").write_text("\r\n".join(["@echo off", *lines, ""]), encoding="ascii")
        self.exec(["cmd", "/c", r"Z:\run\stand-in\export.cmd"], check=False)
        found: Listing = {}
        for number in range(len(registry.LOOKED_AT)):
            export = self._root / f"run/stand-in/{number}.reg"
            if export.exists():
                values = registry.values(export.read_bytes().decode("utf-16"))
                found.update({name: Entry("value", digest=data) for name, data in values.items() if RULES not in name})
                export.unlink()
        return found

    def _control(self, *words: str, check: bool = True) -> None:
        self.inside(["/usr/bin/python3", "-IS", f"/{PROGRAMS}/ctl.py", *words], check=check)

    def _booted(self) -> bool:
        return (self._root / READY).exists()

    # -- a fresh disk --------------------------------------------------------------------------------------------------

    def _furnish(self) -> None:
        """Write what makes this stand-in another one than its siblings: name, address, host key, user, settings."""
        root, options = self._root, self.options
        (root / "etc/hostname").write_text(f"{self.name}\n", encoding="utf-8")
        (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{self.ip} {self.name}\n", encoding="utf-8")
        shutil.copy(f"{self.lab.golden.key}.pub", root / DRIVE_C / "ProgramData/ssh/administrators_authorized_keys")
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / "etc/ssh/ssh_host_ed25519_key")])
        if self.user != USER:
            self._rename_user()
        settings = {
            **asdict(options),
            "name": self.name,
            "addr": self.ip,
            "port": 22,
            "console": int(options.console),
            "hang": 0,
            "speed": 1,
        }
        (root / CONFIG).write_text(json.dumps(settings, indent=1), encoding="utf-8")

    def _rename_user(self) -> None:
        first_user(self._root, self.user)
        for name in ("user.reg", "system.reg", "userdef.reg"):
            file = self._root / "opt/w/prefix" / name
            text = file.read_text(encoding="utf-8")
            file.write_text(registry.renamed_user(text, USER, self.user), encoding="utf-8")
        shutil.move(self.drive / "Users" / USER, self.drive / "Users" / self.user)


def _renew(program: Path, data: bytes) -> None:
    """Replace a program that may be running."""
    fresh = program.with_name(program.name + ".new")
    fresh.write_bytes(data)
    fresh.chmod(program.stat().st_mode)
    fresh.replace(program)


@dataclass(eq=False)
class StandIns:
    """The stand-ins of a lab: on its network, under its lock, removed with it."""

    lab: Lab
    golden: Golden

    @classmethod
    def prepare(cls, lab: Lab) -> StandIns:
        """Build what is not built yet; LabUnavailable where that cannot be."""
        return cls(lab, golden(lab.home))

    def new(self, count: int, options: Options = Options()) -> list[StandIn]:
        """The next free stand-ins w1, w2, ... at 10.78.0.171, .172, ...; not switched on yet."""
        made: list[StandIn] = []
        for number in range(1, 80):
            name = f"w{number}"
            if len(made) < count and name not in self.lab.machines:
                ip = f"{plumbing.NETWORK}.{FIRST_ADDRESS + number}"
                fresh = StandIn(name, ip, self.lab, golden=self.golden, options=options)
                self.lab.machines[name] = fresh
                made.append(fresh)
        if len(made) < count:
            raise LabError(f"the lab's network has no room for {count} more stand-ins")
        return made
