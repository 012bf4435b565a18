"""Local Network privacy, from macOS 15 on: a service may be kept from hosts of its own network.

What is run over SSH, what runs as root and the daemons that launchd starts are to be let through (Apple's TN3179,
"macOS considerations"), yet reports tell of jobs of launchd and of what outlives its login being refused
(kunobi-ninja/kache#798, TraceMachina/nativelink#1694): a connection fails at once with EHOSTUNREACH, as if there were
no route. Nothing lets a program ask for that permission or see it, so the service tries, and notes what came of it.
"""

from __future__ import annotations

import json
import os

from provisioner.remote.service import log_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Tuple

    from provisioner.remote.host import Host

NO_ROUTE = 65
"""EHOSTUNREACH on macOS (sys/errno.h)."""
SINCE = (15,)


def reach_path(host: Host, name: str) -> str:
    """Return where the launcher notes whether it reached the head (see remote/launch.py)."""
    return log_path(host, name) + ".reach"


def hint(host: Host, name: str) -> Optional[Tuple[str, str]]:
    """Return message and remedy if the service could not reach the head, as macOS forbids it; this program can, or its
    node would not have been started."""
    try:
        # the folder belongs to the account: a link there may lead to what only root can read
        with os.fdopen(os.open(reach_path(host, name), os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:
            note = json.loads(file.read(4096).decode("utf-8"))
        refused = note["errno"] == NO_ROUTE
        gcs = str(note["gcs"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not refused:
        return None
    message = "the service may not reach the head at %s (no route to host), though this login can" % gcs
    message += ": macOS keeps it from the local network (Privacy & Security)"
    remedy = "at that Mac's screen: System Settings > Privacy & Security > Local Network, switch on Python and raylet"
    if host.service_manager.kind == "process":
        return message, remedy + "; or set `become: true`: macOS lets the daemons of the system through"
    return message, remedy + ", then restart the Mac and apply again"
