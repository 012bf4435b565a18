"""What every host is doing now, and which of them to show where there is not room for all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from provisioner.events import (
    Doing,
    Event,
    HostConnected,
    HostFinished,
    HostObserved,
    RunStarted,
    TaskFinished,
    TaskStarted,
)
from provisioner.report.record import BAD
from provisioner.report.text import clean, counted, flat


@dataclass
class Row:
    """A host as shown: what it does (or the word for its end) and since when."""

    name: str
    since: float
    doing: str = ""
    task: str = ""
    """The task it is in, if any."""
    status: str = ""
    seconds: float = 0.0
    """How long the host took, once it has finished."""

    @property
    def rank(self) -> int:
        """Who is shown first: the working, the failed, the waiting, the healthy that have finished."""
        if self.status:
            return 1 if self.status in BAD else 3
        return 0 if self.doing else 2


class Board:
    """The rows of all hosts. Not thread-safe: its report holds a lock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._title = ""
        self.rows: dict[str, Row] = {}

    def take(self, event: Event) -> None:
        """Note what the event says about its host."""
        match event:
            case RunStarted():
                self._began = self._clock()
                self._title = flat(clean(f"{event.verb} {event.cluster}"))
                self.rows = {host: Row(flat(clean(host)), self._began) for host in event.hosts}
            case HostConnected():
                self._does(event.host, "connected")
            case HostObserved():
                self._does(event.host, counted(len(event.differences), "difference"))
            case Doing():
                self._details(event.host, event.text)
            case TaskStarted():
                self._row(event.host).task = flat(clean(event.task))
                self._does(event.host, event.task)
            case TaskFinished():
                self._row(event.host).task = ""
                self._does(event.host, f"{event.task}: {event.status}")
            case HostFinished():
                row = self._row(event.host)
                row.status = flat(clean(event.status))
                row.seconds = self._clock() - self._began

    def title(self) -> str:
        """``apply lab: 150 of 200 hosts finished, 2 failed, 42 s``."""
        finished = sum(1 for row in self.rows.values() if row.status)
        failed = sum(1 for row in self.rows.values() if row.status in BAD)
        bad = f", {failed} failed" if failed else ""
        seconds = self._clock() - self._began
        return f"{self._title}: {finished} of {counted(len(self.rows), 'host')} finished{bad}, {seconds:.0f} s"

    def visible(self, room: int) -> tuple[list[Row], str]:
        """At most ``room`` rows to show, and a sentence about the others; all, in their order, if there is room."""
        rows = list(self.rows.values())
        if len(rows) <= room:
            return rows, ""
        ranked = sorted(rows, key=lambda row: row.rank)
        shown, hidden = ranked[: max(0, room - 1)], ranked[max(0, room - 1) :]
        finished = sum(1 for row in hidden if row.status)
        return shown, f"... and {len(hidden)} more, {finished} finished"

    def seconds(self, row: Row) -> float:
        """How long the host has been doing this, or took in all."""
        return row.seconds if row.status else self._clock() - row.since

    def _row(self, host: str) -> Row:
        return self.rows.setdefault(host, Row(flat(clean(host)), self._clock()))

    def _details(self, host: str, what: str) -> None:
        """Note what a host does within its task; the seconds go on counting from the task's begin."""
        row = self._row(host)
        if row.task:
            row.doing = f"{row.task}: {flat(clean(what))}"
        else:
            self._does(host, what)

    def _does(self, host: str, what: str) -> None:
        row = self._row(host)
        row.doing, row.since = flat(clean(what)), self._clock()
