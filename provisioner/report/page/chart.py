"""Where the bars of the timeline stand: a row for each host, what matters most in the first chart."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.report.record import BAD, UNFINISHED
from provisioner.report.text import counted
from provisioner.report.timeline import Step

IN_SIGHT = 40
"""Hosts whose rows are open; the others are folded."""
WIDTH, NAMES, ROW, TOP = 1100, 180, 18, 20


@dataclass(frozen=True)
class Bar:
    """A step; ``text`` is shown where the pointer rests."""

    x: float
    width: float
    status: str
    on_path: bool
    text: str


@dataclass(frozen=True)
class Row:
    """A host."""

    name: str
    y: int
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Mark:
    """A line of the grid."""

    x: float
    text: str


@dataclass(frozen=True)
class Chart:
    """Rows over one axis of seconds."""

    label: str
    folded: bool
    height: int
    rows: tuple[Row, ...]
    marks: tuple[Mark, ...]
    width: int = WIDTH


def charts(done: list[Step], path: list[Step], hosts: list[str], seconds: float) -> list[Chart]:
    """The timeline: hosts of the critical path, failed ones and the slowest first, as many as are read at a glance."""
    of_host: dict[str, list[Step]] = {name: [] for name in hosts}
    for step in done:
        of_host.setdefault(step.host, []).append(step)
    names = list(of_host)
    if len(names) <= IN_SIGHT:
        return [_chart("Outlined in orange: the critical path", False, names, of_host, path, seconds)]
    on_path = {step.host for step in path}

    def weight(name: str) -> tuple[bool, bool, float]:
        own = of_host[name]
        return (
            name not in on_path,
            not any(step.status in BAD for step in own),
            -max((step.end for step in own), default=0.0),
        )

    ranked = sorted(names, key=weight)
    first, rest = ranked[:IN_SIGHT], set(ranked[IN_SIGHT:])
    label = f"{len(first)} of {len(names)} hosts: the critical path (outlined in orange), failures and the slowest"
    others = [name for name in names if name in rest]
    return [
        _chart(label, False, first, of_host, path, seconds),
        _chart(f"The other {counted(len(others), 'host')}", True, others, of_host, path, seconds),
    ]


def _chart(
    label: str, folded: bool, names: list[str], of_host: dict[str, list[Step]], path: list[Step], seconds: float
) -> Chart:
    scale = (WIDTH - NAMES) / max(seconds, 0.001)
    marked = set(path)
    rows = []
    for number, name in enumerate(names):
        bars = tuple(_bar(step, scale, step in marked) for step in of_host[name])
        rows.append(Row(name if len(name) <= 24 else name[:23] + "…", TOP + number * ROW, bars))
    return Chart(label, folded, TOP + len(names) * ROW + 2, tuple(rows), _marks(seconds, scale))


def _bar(step: Step, scale: float, on_path: bool) -> Bar:
    told = f"{step.host}: {step.task}, {step.seconds:.1f} s, {step.status or UNFINISHED}"
    width = max(1.5, round(step.seconds * scale, 1))
    return Bar(round(NAMES + step.begin * scale, 1), width, step.status or UNFINISHED, on_path, told)


def _marks(seconds: float, scale: float) -> tuple[Mark, ...]:
    """Lines at round seconds, ten at most."""
    apart = next(each for each in _ROUND if seconds / each <= 10)
    return tuple(Mark(round(NAMES + at * scale, 1), f"{at:g} s") for at in _until(seconds, apart))


_ROUND = tuple(digit * 10.0**power for power in range(-2, 9) for digit in (1, 2, 5))


def _until(seconds: float, apart: float) -> list[float]:
    return [round(number * apart, 3) for number in range(int(seconds / apart * 0.97) + 1)]
