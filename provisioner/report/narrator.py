"""Which lines an event is worth, the same with and without a terminal."""

from __future__ import annotations

import time
from typing import Any

from provisioner.events import (
    Doing,
    Event,
    Finding,
    HostConnected,
    HostFinished,
    HostObserved,
    NodeProven,
    Notice,
    RunFinished,
    RunStarted,
    StillDoing,
    TaskFinished,
    TaskStarted,
)
from provisioner.report.lines import MANY, Line, difference_line, lines, status_tone
from provisioner.report.record import BAD, Plan, RunRecord
from provisioner.report.summary import summary
from provisioner.report.text import clean, counted, everybody, flat, map_strings

WORDS = {"notice": "note", "needs elevation": "needs an administrator"}
SCREEN = 20
"""Lines above the end of a run that still are before the user's eyes."""


class Narrator:
    """Turns events into lines and keeps the record for the summary. Not thread-safe: its report holds a lock."""

    def __init__(self, verbose: int = 0) -> None:
        self.record = RunRecord()
        self._verbose = verbose > 0
        self._awaited: set[str] = set()
        """Hosts that have not been looked at: until they are, what may be true of several is kept back."""
        self._kept: dict[tuple[str, str, str], list[str]] = {}
        self._written = 0
        self._told: dict[str, int] = {}
        """Hosts whose misfortune was told, and after how many lines."""

    def lines(self, event: Event) -> list[Line]:
        """What to print for this event, harmless for a terminal; often nothing."""
        event = map_strings(event, clean)
        self.record.take(event)
        released, worth = self._released(event), self._worth(event)
        told = [*released, *worth]
        self._written += len(told)
        match event:
            case TaskFinished(status=status) | HostFinished(status=status) if worth and status not in {"ok", "changed"}:
                self._told[event.host] = self._written
        return told

    def _worth(self, event: Event) -> list[Line]:
        match event:
            case RunStarted():
                self._awaited = set(event.hosts)
                hosts = counted(len(event.hosts), "host")
                return lines(f"{event.verb}: cluster {event.cluster}, {hosts}, inventory {event.inventory}", "title")
            case HostObserved():
                return self._observed(event)
            case StillDoing():
                doing = f": {event.doing}" if event.doing else ""
                return lines(f"{event.host}: still: {flat(event.task)} ({event.seconds:.0f} s){doing}", "quiet")
            case TaskFinished():
                return self._task(event)
            case HostFinished():
                return self._finished(event)
            case Notice():
                return self._note(event.host, WORDS["notice"], event.message, event.remedy)
            case Finding(severity="fine"):
                fine = lines(f"{event.host}: fine: {event.message}", "quiet", event.remedy)
                return fine if self._verbose else []
            case Finding():
                return self._note(event.host, WORDS.get(event.severity, WORDS["notice"]), event.message, event.remedy)
            case RunFinished():
                return summary(self.record, self._visible())
            case _:
                return lines(_progress(event), "quiet") if self._verbose else []

    def _note(self, host: str, word: str, message: str, remedy: str) -> list[Line]:
        """What the user should know; kept back as long as it may turn out to be true of further hosts."""
        if host and self._awaited:
            self._kept.setdefault((word, message, remedy), []).append(host)
            return []
        return lines(f"{host}: {word}: {message}" if host else f"{word}: {message}", "note", remedy)

    def _released(self, event: Event) -> list[Line]:
        """What was kept back, if there is nothing more to wait for: each thing once, with the names of its hosts."""
        match event:
            case HostObserved() | HostFinished():
                self._awaited.discard(event.host)
            case RunFinished():
                self._awaited.clear()
        if self._awaited:
            return []
        kept, self._kept = self._kept, {}
        rank = {host: number for number, host in enumerate(self.record.hosts)}
        told = []
        for (word, message, remedy), hosts in kept.items():
            names = sorted(set(hosts), key=lambda host: rank.get(host, len(rank)))
            told += lines(f"{flat(everybody(names, len(rank)))}: {word}: {message}", "note", remedy)
        return told

    def _visible(self) -> frozenset[str]:
        """Hosts of which the user still sees what went wrong."""
        recap = min(len(self.record.hosts), MANY)
        return frozenset(host for host, at in self._told.items() if self._written - at + recap < SCREEN)

    def _observed(self, event: HostObserved) -> list[Line]:
        """The differences; in check they all come at the end, sorted by host."""
        if event.again and not event.differences:
            return lines(f"{event.host}: looked at again: another run has done it all meanwhile", "quiet")
        if self.record.verb == "check" or not event.differences:
            return []
        if event.again:
            return [*lines(f"{event.host}: looked at again, after another run:", "quiet"), *self._changes(event)]
        return self._changes(event)

    def _changes(self, event: HostObserved) -> list[Line]:
        if len(self.record.hosts) <= MANY or self._verbose:
            return [difference_line(each, f"{event.host}: ") for each in event.differences]
        stops = ", ".join(dict.fromkeys(flat(each.stops) for each in event.differences if each.stops))
        plan = f"{flat(event.host)}: {Plan.of(list(event.differences))}"
        return lines(f"{plan} (stops {stops})" if stops else plan, "change")

    def _task(self, event: TaskFinished) -> list[Line]:
        text = f"{event.host}: {event.status}: {flat(event.task)} ({event.seconds:.1f} s)"
        worth_more = self._verbose or event.status in BAD
        if not worth_more and event.status != "changed":
            return []
        if worth_more and event.message:
            text += f": {event.message}"
        return lines(text, status_tone(event.status), event.remedy)

    def _finished(self, event: HostFinished) -> list[Line]:
        """The end of a host, unless its failed task has said it all; in check it comes with all others at the end."""
        at_the_end = self.record.verb == "check" or event.status in {"ok", "changed"}
        if not self._verbose and (at_the_end or self.record.host(event.host).told(event.message)):
            return []
        text = f"{event.host}: {event.status}"
        return lines(f"{text}: {event.message}" if event.message else text, status_tone(event.status), event.remedy)


def _progress(event: Event) -> str:
    match event:
        case HostConnected():
            return f"{event.host}: connected: {_facts(event.facts)}"
        case Doing():
            return f"{event.host}: {event.text}"
        case TaskStarted():
            return f"{event.host}: begins: {flat(event.task)}"
        case NodeProven():
            where = f"{event.hostname}, {event.os}, Ray {event.ray}, Python {event.python}"
            return f"{event.host}: proven: a task ran on {flat(where)} ({event.seconds:.1f} s)"
        case _:
            return flat(str(event))


def _facts(facts: dict[str, Any]) -> str:
    return flat(
        ", ".join(
            f"{key} {_fact(key, value)}" for key, value in sorted(facts.items()) if not isinstance(value, dict | list)
        )
    )


def _fact(key: str, value: Any) -> Any:
    """A fact as users read it: the host's clock, which comes as seconds since 1970, as a time."""
    if key != "clock" or not isinstance(value, int | float):
        return value
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(value))
