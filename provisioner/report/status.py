"""One screen of a cluster's state: its nodes by their names in the inventory, what is used of them, and its jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, TextIO

from provisioner.report.lines import Line, Tone
from provisioner.report.table import GAP, write_lines
from provisioner.report.text import clean, counted, flat, plain_json

NodeState = Literal["alive", "dead", "missing", "strange"]
_TONES: dict[str, Tone] = {"alive": "good", "dead": "bad", "missing": "bad", "strange": "change"}
_GIB = 1 << 30
_MEMORY = ("memory", "object_store_memory")
_HIDDEN = ("node:", "provision/", "accelerator_type:")


@dataclass(frozen=True)
class NodeRow:
    """A node of Ray, or a host of the inventory that has none.

    ``since``: seconds since the state began, None if that is not known; ``why``: what Ray says of a node that died.
    """

    host: str
    role: str
    os: str
    address: str
    state: NodeState
    since: float | None = None
    why: str = ""
    resources: Mapping[str, float] | None = None


@dataclass(frozen=True)
class JobRow:
    """A job, submitted or not; ``seconds`` that it has taken until now or its end."""

    name: str
    status: str
    entrypoint: str
    seconds: float | None


@dataclass(frozen=True)
class Status:
    """What the head knows of its cluster. ``gcs`` and ``redis``: "" if well, else why not; None: not known or none."""

    cluster: str
    head: str
    ray: str
    nodes: tuple[NodeRow, ...]
    resources: Mapping[str, tuple[float | None, float]]
    jobs: tuple[JobRow, ...]
    gcs: str | None = None
    redis: str | None = None
    restarts: int = 0

    @property
    def is_well(self) -> bool:
        """Whether every host of the inventory has a node that lives, and what they depend on answers."""
        return all(row.state in ("alive", "strange") for row in self.nodes) and not self.gcs and not self.redis


def as_json(status: Status) -> str:
    """Return the state as one JSON document."""
    return plain_json({**asdict(status), "well": status.is_well}, indent=2)


def write(stream: TextIO, status: Status) -> None:
    """Write the screen."""
    write_lines(stream, screen(status))


def screen(status: Status) -> list[Line]:
    """Return the lines of the screen, as plain text with tones."""
    parts = [_title(status), _nodes(status.nodes), _resources(status), _jobs(status.jobs)]
    return [line for part in parts if part for line in (*part, Line(""))][:-1]


def duration(seconds: float | None) -> str:
    """Return a length of time in its two largest units."""
    if seconds is None:
        return ""
    whole = max(0, int(seconds))
    for unit, size, below, step in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // step
            return f"{whole // size} {unit}" + (f" {rest} {below}" if rest else "")
    return f"{whole} s"


def _title(status: Status) -> list[Line]:
    alive = sum(row.state == "alive" for row in status.nodes)
    declared = sum(row.state != "strange" for row in status.nodes)
    ray = f", Ray {flat(status.ray)}" if status.ray else ""
    told = [Line(f"Cluster {status.cluster}{ray}: {alive} of {counted(declared, 'node')} alive", "title")]
    if status.gcs:
        told.append(Line(f"  GCS: {flat(status.gcs)}", "bad"))
    if status.redis is not None:
        told.append(Line(f"  Redis: {flat(status.redis) or 'well'}", "bad" if status.redis else "good"))
    if status.restarts:
        told.append(Line(f"  the head's service was started again {counted(status.restarts, 'time')}", "change"))
    return told


def _nodes(rows: Sequence[NodeRow]) -> list[Line]:
    table = [("NODE", "ROLE", "OS", "ADDRESS", "STATE", "SINCE")]
    table += [(row.host, row.role, row.os, row.address, row.state, duration(row.since)) for row in rows]
    lines = _columns(table)
    told = [Line(lines[0], "title")]
    for row, line in zip(rows, lines[1:], strict=True):
        told.append(Line(line, _TONES[row.state] if row.state != "alive" else ""))
        if row.why and row.state == "dead":
            told.append(Line(f"  {flat(clean(row.why))[:200]}", "note"))
    return told


def _resources(status: Status) -> list[Line]:
    shown = {name: pair for name, pair in status.resources.items() if not name.startswith(_HIDDEN)}
    if not shown:
        return []
    table = [("RESOURCE", "USED", "TOTAL")]
    for name, (used, total) in sorted(shown.items(), key=lambda item: (item[0] in _MEMORY, item[0])):
        table.append((name, "?" if used is None else _amount(name, used), _amount(name, total)))
    lines = _columns(table)
    return [Line(lines[0], "title"), *(Line(line) for line in lines[1:])]


def _amount(name: str, value: float) -> str:
    return f"{value / _GIB:.1f} GiB" if name in _MEMORY else f"{value:g}"


def _jobs(rows: Sequence[JobRow]) -> list[Line]:
    if not rows:
        return [Line("No jobs.", "note")]
    table = [("JOB", "STATUS", "TIME", "COMMAND")]
    table += [(row.name, row.status, duration(row.seconds), flat(row.entrypoint)[:100]) for row in rows]
    lines = _columns(table)
    return [Line(lines[0], "title"), *(Line(line) for line in lines[1:])]


def _columns(table: Sequence[Sequence[str]]) -> list[str]:
    rows = [[clean(flat(cell)) for cell in row] for row in table]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
