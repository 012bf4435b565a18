"""The faults: what happens to a run or to one of its hosts, and how the host is healed when the run has ended."""

from __future__ import annotations

import socket
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from tests.lab.machines import Machine
from tests.lab.shell import wait_until

from .disk import Disk
from .driver import Controller

PROGRAM = ".provision/program"
"""What the command line of our program on a host has in it."""
REFUSAL = "etc/ssh/sshd_config.d/fault.conf"
WAYS = ("stopped", "denied", "crowded")
"""How an SSH server comes to take no login."""


@dataclass
class Site:
    """What a fault may hurt: the command, and the host that its moment is about."""

    controller: Controller
    machine: Machine
    disk: Disk
    seed: str
    """Chooses among ways, the same each time."""
    held: list[socket.socket] = field(default_factory=list)


@dataclass(frozen=True)
class Kind:
    """A fault: ``happen`` while the command waits at its moment, ``heal`` when it has ended."""

    name: str
    happen: Callable[[Site], None]
    heal: Callable[[Site], None]


def _nothing(site: Site) -> None:
    """Nothing needs to be healed."""


def _lose_power(site: Site) -> None:
    site.machine.cut()  # a machine without power says no goodbye
    site.machine.power_cut()


def _boot(site: Site) -> None:
    site.machine.uncut()
    site.machine.boot()


class TooLate(Exception):
    """What was to be hurt has just come to its end."""


def end_program(machine: Machine) -> None:
    """Kill our program on a host, at once, and nothing that it has started; TooLate if there is none."""
    pids = [str(process.pid) for process in machine.processes() if PROGRAM in process.command]
    if not pids:
        raise TooLate
    machine.exec(["kill", "-KILL", *pids], check=False)


def _refuse(site: Site) -> None:
    way = WAYS[zlib.crc32(site.seed.encode()) % len(WAYS)]
    if way == "stopped":
        site.machine.exec(["systemctl", "stop", "ssh"])
        return
    setting = "DenyUsers root\n" if way == "denied" else "MaxStartups 1\n"
    (site.machine.folder / "root" / REFUSAL).write_text(setting)
    site.machine.exec(["systemctl", "reload", "ssh"])
    refused = _denies if way == "denied" else _crowd
    wait_until(lambda: refused(site), f"no more logins on {site.machine.name}", 10)


def _denies(site: Site) -> bool:
    return site.machine.ssh("true", check=False).returncode != 0


def _crowd(site: Site) -> bool:
    """Be one more who waits at the door; tells whether the next one is turned away."""
    try:
        caller = socket.create_connection((site.machine.ip, 22), timeout=5)
    except OSError:  # it reads its settings again just now
        return False
    site.held.append(caller)
    with suppress(OSError):
        return not caller.recv(4).startswith(b"SSH-")
    return True


def _let_in(site: Site) -> None:
    for caller in site.held:
        caller.close()
    (site.machine.folder / "root" / REFUSAL).unlink(missing_ok=True)
    site.machine.exec(["systemctl", "restart", "ssh"])
    site.machine.wait_ready()


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("kill", lambda site: site.controller.kill(), _nothing),
        Kind("cut", lambda site: site.machine.cut(), lambda site: site.machine.uncut()),
        Kind("power", _lose_power, _boot),
        Kind("full", lambda site: site.disk.fill(), lambda site: site.disk.empty()),
        Kind("program", lambda site: end_program(site.machine), _nothing),
        Kind("refuse", _refuse, _let_in),
    )
}
