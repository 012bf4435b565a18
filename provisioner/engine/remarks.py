"""What a user should know of a host that has nothing to do with its tasks: message and remedy."""

from __future__ import annotations

import re
import shlex
import time
from typing import Any

from provisioner.events import Verb

Message = dict[str, Any]

NEEDS_ELEVATION = "needs elevation"
CLOCK_TOLERANCE = 30.0
"""Seconds a host's clock may be off before the user is told."""


def about_clock(facts: Message) -> tuple[str, str] | None:
    """Return what there is to say of a host's clock, None if it is right."""
    off = float(facts.get("clock", time.time())) - time.time()
    if abs(off) <= CLOCK_TOLERANCE:
        return None
    way = "ahead" if off > 0 else "behind"
    return f"its clock is {abs(off):.0f} s {way} of this machine's", "set it right (chrony, timedatectl set-ntp true)"


def about_leaving(facts: Message, verb: Verb, run: Verb) -> tuple[str, str] | None:
    """Return what there is to say of a host that is taken down because the inventory has dropped it.

    Args:
        facts: its own.
        verb: what is done with it.
        run: what is done with the cluster.
    """
    root = facts.get("root")
    if (verb, run) != ("teardown", "apply") or not root:
        return None
    windows = facts.get("os") == "windows"
    separator = "\\" if windows else "/"
    paths = [f"{root}{separator}{name}" for name in ("env", "python", "store")]
    command = _powershell(paths) if windows else f"rm -rf {shlex.join(paths)}"
    told = f"the inventory has dropped it: its Ray is removed; environments, interpreters and files stay in {root}"
    return told, f"to remove them as well, on that host, when this run is over: {command}"


def _powershell(paths: list[str]) -> str:
    plain = re.compile(r"[A-Za-z0-9_:.\\-]+")
    named = (path.replace('"', "") for path in paths)  # no path of Windows has one
    quoted = (path if plain.fullmatch(path) else "'" + path.replace("'", "''") + "'" for path in named)
    return f'powershell "Remove-Item -Recurse {", ".join(quoted)}"'


def worth_telling(findings: list[Message], verb: Verb) -> list[Message]:
    """Return what a user needs to know of what was seen on a machine: when tearing down or going back, only what this
    session may not do."""
    return [each for each in findings if verb in ("apply", "check") or each["severity"] == NEEDS_ELEVATION]
