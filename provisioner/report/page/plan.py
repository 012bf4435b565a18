"""Where the tiles of the topology stand: the head above, its workers below, alike ones as one where there are many."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.report.record import UNFINISHED, HostRecord, RunRecord
from provisioner.report.text import counted, several

SIGNS = {"ok": "✓", "changed": "±", "failed": "✗", "unreachable": "?", "skipped": "–", UNFINISHED: "…"}
"""A sign for each status: colour alone tells some people nothing."""
SHOWN_SINGLY = 40
WIDTH, HEIGHT, GAP, COLUMNS = 210, 66, 18, 4
_SYSTEMS = {"linux": "Linux", "macos": "macOS", "windows": "Windows"}


@dataclass(frozen=True)
class Tile:
    """A host, or several of one OS and status; ``wire`` is the line to the head (empty for the head itself)."""

    name: str
    whole: str
    system: str
    status: str
    sign: str
    x: int
    y: int
    wire: str


@dataclass(frozen=True)
class Plan:
    """The picture: sizes in pixels."""

    label: str
    width: int
    height: int
    tiles: tuple[Tile, ...]
    tile_width: int = WIDTH
    tile_height: int = HEIGHT


def state(host: HostRecord) -> str:
    """The host's status; ``unfinished`` if its end was not told, or is none that we know."""
    return host.status if host.status in SIGNS else UNFINISHED


def topology(record: RunRecord) -> Plan:
    """The head and its workers with OS and state."""
    head = [host for name, host in record.hosts.items() if name == record.head]
    workers = [host for name, host in record.hosts.items() if name != record.head]
    groups = [[host] for host in workers] if len(workers) <= SHOWN_SINGLY else _alike(workers)
    columns = max(1, min(COLUMNS, len(groups)))
    width = columns * (WIDTH + GAP) + GAP
    above = HEIGHT + 3 * GAP if head else GAP
    tiles = [_tile(head, (width - WIDTH) // 2, GAP, "")] if head else []
    for number, group in enumerate(groups):
        x, y = GAP + number % columns * (WIDTH + GAP), above + number // columns * (HEIGHT + GAP)
        trunk = GAP + HEIGHT + GAP // 2
        side = x - GAP // 2
        wire = f"M{width // 2} {GAP + HEIGHT}V{trunk}H{side}V{y + HEIGHT // 2}H{x}" if head else ""
        tiles.append(_tile(group, x, y, wire))
    rows = -(-len(groups) // columns)
    label = f"Cluster {record.cluster}: {counted(len(record.hosts), 'host')}"
    return Plan(label, width, above + rows * (HEIGHT + GAP), tuple(tiles))


def _alike(hosts: list[HostRecord]) -> list[list[HostRecord]]:
    groups: dict[tuple[str, str], list[HostRecord]] = {}
    for host in hosts:
        groups.setdefault((_system(host), state(host)), []).append(host)
    return list(groups.values())


def _tile(group: list[HostRecord], x: int, y: int, wire: str) -> Tile:
    names = [host.name for host in group]
    name = names[0] if len(names) == 1 else counted(len(names), "host")
    status = state(group[0])
    whole = f"{several(names, 10)}: {_system(group[0])}, {status}"
    return Tile(_short(name), whole, _short(_system(group[0])), status, SIGNS[status], x, y, wire)


def _system(host: HostRecord) -> str:
    facts = host.facts
    system = str(facts.get("os", ""))
    known = " ".join(filter(None, (_SYSTEMS.get(system, system), str(facts.get("arch", "")))))
    return known or "OS not known"


def _short(text: str, most: int = 27) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
