"""Which lines an event is worth, the same with and without a terminal."""

from __future__ import annotations

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
from provisioner.report.text import clean, counted, flat, map_strings

WORDS = {"notice": "note", "needs elevation": "needs an administrator"}


class Narrator:
    """Turns events into lines and keeps the record for the summary. Not thread-safe: its report holds a lock."""

    def __init__(self, verbose: int = 0) -> None:
        self.record = RunRecord()
        self._verbose = verbose > 0

    def lines(self, event: Event) -> list[Line]:
        """What to print for this event, harmless for a terminal; often nothing."""
        event = map_strings(event, clean)
        self.record.take(event)
        told: list[Line] = []
        match event:
            case RunStarted():
                hosts = counted(len(event.hosts), "host")
                told = lines(f"{event.verb}: cluster {event.cluster}, {hosts}, inventory {event.inventory}", "title")
            case HostObserved():
                told = self._observed(event)
            case StillDoing():
                doing = f": {event.doing}" if event.doing else ""
                told = lines(f"{event.host}: still: {flat(event.task)} ({event.seconds:.0f} s){doing}", "quiet")
            case TaskFinished():
                told = self._task(event)
            case HostFinished():
                told = self._finished(event)
            case Notice():
                who = f"{event.host}: " if event.host else ""
                told = lines(f"{who}note: {event.message}", "note", event.remedy)
            case Finding():
                told = self._finding(event)
            case RunFinished():
                told = summary(self.record, findings=len(self.record.hosts) > MANY and not self._verbose)
            case _ if self._verbose:
                told = lines(_progress(event), "quiet")
        return told

    def _observed(self, event: HostObserved) -> list[Line]:
        """The differences; in check they all come at the end, sorted by host."""
        if self.record.verb == "check" or not event.differences:
            return []
        if len(self.record.hosts) <= MANY or self._verbose:
            return [difference_line(each, f"{event.host}: ") for each in event.differences]
        stops = ", ".join(dict.fromkeys(flat(each.stops) for each in event.differences if each.stops))
        plan = f"{event.host}: {Plan.of(list(event.differences))}"
        return lines(f"{plan} (stops {stops})" if stops else plan, "change")

    def _finding(self, event: Finding) -> list[Line]:
        """What was seen on a machine; with many hosts what is no hindrance comes at the end, said once for all."""
        if event.severity == "fine":
            return lines(f"{event.host}: fine: {event.message}", "quiet", event.remedy) if self._verbose else []
        if event.severity == "notice" and len(self.record.hosts) > MANY and not self._verbose:
            return []
        return lines(f"{event.host}: {WORDS[event.severity]}: {event.message}", "note", event.remedy)

    def _task(self, event: TaskFinished) -> list[Line]:
        text = f"{event.host}: {event.status}: {flat(event.task)} ({event.seconds:.1f} s)"
        worth_more = self._verbose or event.status in BAD
        if not worth_more and event.status != "changed":
            return []
        if worth_more and event.message:
            text += f": {event.message}"
        return lines(text, status_tone(event.status), event.remedy)

    def _finished(self, event: HostFinished) -> list[Line]:
        """The end of a host, unless its failed task has said it all."""
        quiet = event.status in {"ok", "changed"} or self.record.host(event.host).told(event.message)
        if quiet and not self._verbose:
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
        ", ".join(f"{key} {value}" for key, value in sorted(facts.items()) if not isinstance(value, dict | list))
    )
