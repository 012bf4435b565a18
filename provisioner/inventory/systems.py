"""What can't be on the system that a host is declared to have: known before anybody is contacted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from provisioner.inventory.model import Host
from provisioner.inventory.problems import Problems, listing

OS_NAMES = {"linux": "Linux", "macos": "macOS", "windows": "Windows"}
MANAGERS = {
    "windows": ("auto", "task"),
    "macos": ("auto", "launchd", "process"),
    "linux": ("auto", "systemd", "systemd-user", "process"),
}
"""What may keep Ray running, by system."""
_WINDOWS_FOLDER = re.compile(r"[A-Za-z]:[\\/][!-~]*")


def check_systems(hosts: Iterable[Host], problems: Problems) -> None:
    """Note what doesn't go with a host's ``os``; the same value of several hosts counts once."""
    seen = set()
    for host in hosts:
        for value, message, remedy in _mistakes(host, host.os) if host.os else ():
            if (host.os, value) not in seen:
                problems.add(f"'{host.name}' is {OS_NAMES[host.os or '']}: {message}", host.place, remedy)
            seen.add((host.os, value))


def _mistakes(host: Host, os: str) -> Iterator[tuple[str, str, str]]:
    """Yield the value, what is wrong with it, and what to write instead."""
    if host.service not in MANAGERS[os]:
        yield host.service, f"there is no `service: {host.service}`", f"write one of {listing(MANAGERS[os])}"
    if host.root and os == "windows" and not _WINDOWS_FOLDER.fullmatch(host.root):
        remedy = "leave `root:` out, or write it as C:\\provision\\NAME, without blanks and in ASCII"
        yield host.root, f"Ray does not run below the root {host.root}", remedy
    if host.root and os != "windows" and not host.root.startswith("/"):
        yield host.root, f"the root {host.root} is no folder", "leave `root:` out, or have it begin with /"
