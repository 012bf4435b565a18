"""What keeps a host's node out of the cluster, from what was found there, in the order in which it can be known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provisioner.inventory.model import Host, Inventory
from provisioner.ray.start import versions
from provisioner.report.doctor import Finding, Kind

Facts = Mapping[str, Any]

CLOCK = 30.0
"""Seconds by which two machines may differ before tokens, certificates and logs suffer."""
LOW_DISK = 1 << 30
"""Free bytes below which Ray refuses work (it does so at 95 % of the disk, local_fs_capacity_threshold)."""
FULL_DISK = 0.95
LAST = 4
"""Lines of a log that are shown."""


@dataclass(frozen=True)
class Seen:
    """What was found on one host.

    Args:
        offset: seconds by which its clock is ahead of ours.
    """

    host: Host
    facts: Facts
    offset: float
    member: bool


def judge(inventory: Inventory, seen: Seen) -> list[Finding]:
    """Return what is wrong on a host: causes first, then symptoms, then notes; each kind in the order of the steps."""
    found = [finding for step in STEPS for finding in step(inventory, seen)]
    order: dict[Kind, int] = {"cause": 0, "symptom": 1, "note": 2}
    return sorted(found, key=lambda each: order[each.kind])


def _address(inventory: Inventory, seen: Seen) -> list[Finding]:
    told = seen.facts.get("address") or {}
    if not told.get("problem"):
        return []
    return [_finding(seen, "cause", "address", str(told["problem"]), str(told["remedy"]))]


def _clock(inventory: Inventory, seen: Seen) -> list[Finding]:
    if abs(seen.offset) <= CLOCK:
        return []
    way = "ahead of" if seen.offset > 0 else "behind"
    message = f"its clock is {abs(seen.offset):.0f} s {way} this machine's"
    return [
        _finding(seen, "cause", "clock", message, "set it, and keep it right: chrony or systemd-timesyncd, w32time")
    ]


def _set_up(inventory: Inventory, seen: Seen) -> list[Finding]:
    if (seen.facts.get("service") or {}).get("defined") and seen.facts.get("spec"):
        return []
    return [_finding(seen, "cause", "service", "no Ray of this cluster is set up here", "`provision apply` sets it up")]


def _versions(inventory: Inventory, seen: Seen) -> list[Finding]:
    runs = (seen.facts.get("spec") or {}).get("versions") or {}
    found = []
    for name, wanted in versions(seen.host, inventory).items():
        now = runs.get(name)
        exact = name != "python" or seen.host.interpreter.match == "exact"
        if now and (now != wanted if exact else now.split(".")[:2] != wanted.split(".")[:2]):
            message = f"it runs {name} {now}, the inventory says {wanted}"
            found.append(_finding(seen, "cause", "versions", message, "`provision apply` brings the versions together"))
    if seen.facts.get("environment") is False and seen.facts.get("spec"):
        message = "the environment that Ray runs out of is not there any more"
        found.append(_finding(seen, "cause", "versions", message, "`provision apply` makes it anew"))
    return found


def _token(inventory: Inventory, seen: Seen) -> list[Finding]:
    return [
        _finding(seen, "cause", "token", _changed(what, before, after), "`provision apply` puts it right")
        for what, before, after in _rows(seen.facts.get("token"))
    ]


def _unit(inventory: Inventory, seen: Seen) -> list[Finding]:
    service = seen.facts.get("service") or {}
    return [
        _finding(seen, "cause", "service", _changed(what, before, after), "`provision apply` puts it right")
        for what, before, after in _rows(service.get("flaws"))
    ]


def _signs(inventory: Inventory, seen: Seen) -> list[Finding]:
    """What Ray says of itself: of a node that lives it is history."""
    if seen.member:
        return []
    rows = [row for row in seen.facts.get("signs") or () if isinstance(row, dict)]
    return [
        _finding(seen, "symptom", "log", str(row["cause"]), str(row["remedy"]), (str(row["line"]),)) for row in rows[:3]
    ]


def _service(inventory: Inventory, seen: Seen) -> list[Finding]:
    service = seen.facts.get("service") or {}
    if not service.get("defined") or seen.member:
        return []
    last = tuple(str(line) for line in (seen.facts.get("log") or ())[-LAST:])
    if service.get("failing"):
        message = f"the service ends again and again ({service.get('restarts') or 0} starts)"
        return [_finding(seen, "symptom", "service", message, "see its last lines, and the causes above", last)]
    if not service.get("active"):
        message = "the service is stopped"
        return [_finding(seen, "cause", "service", message, "`provision apply` starts it; who stopped it?", last)]
    message = "the service runs, and the head does not know the node"
    return [_finding(seen, "symptom", "service", message, "see its last lines, and the causes above", last)]


def _disk(inventory: Inventory, seen: Seen) -> list[Finding]:
    found = []
    for place, room in (seen.facts.get("disk") or {}).items():
        free, total = float(room["free"]), max(1.0, float(room["total"]))
        if free < LOW_DISK or 1 - free / total > FULL_DISK:
            message = f"{place} has {free / 2**30:.1f} GiB left: Ray gives a node no work whose disk is 95 % full"
            kind: Kind = "cause" if free < LOW_DISK / 10 else "note"
            found.append(_finding(seen, kind, "disk", message, "free some space there"))
    return found


def _machine(inventory: Inventory, seen: Seen) -> list[Finding]:
    rows = [
        row for row in seen.facts.get("findings") or () if isinstance(row, dict) and row.get("severity") == "notice"
    ]
    return [_finding(seen, "note", "machine", str(row["message"]), str(row["remedy"])) for row in rows]


def _unknown(inventory: Inventory, seen: Seen) -> list[Finding]:
    rows = seen.facts.get("unknown") or {}
    return [
        _finding(seen, "note", "examination", f"{what} could not be looked at: {why}") for what, why in rows.items()
    ]


STEPS: tuple[Callable[[Inventory, Seen], list[Finding]], ...] = (
    _address, _clock, _set_up, _versions, _token, _unit, _signs, _service, _disk, _machine, _unknown,
)  # fmt: skip
"""The order in which it can be known."""


def _rows(value: Any) -> Sequence[tuple[str, str, str]]:
    return [(str(row[0]), str(row[1]), str(row[2])) for row in value or () if isinstance(row, list) and len(row) == 3]


def _changed(what: str, before: str, after: str) -> str:
    return f"{what}: {before or 'nothing'} in place of {after or 'nothing'}"


def _finding(
    seen: Seen, kind: Kind, area: str, message: str, remedy: str = "", evidence: tuple[str, ...] = ()
) -> Finding:
    return Finding(seen.host.name, kind, area, message, remedy, evidence)
