"""What a user should know of a host that has nothing to do with its tasks: message and remedy."""

from __future__ import annotations

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


def worth_telling(findings: list[Message], verb: Verb) -> list[Message]:
    """Return what a user needs to know of what was seen on a machine: when tearing down or going back, only what this
    session may not do."""
    return [each for each in findings if verb in ("apply", "check") or each["severity"] == NEEDS_ELEVATION]
