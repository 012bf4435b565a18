"""What every host did when, and which of it the run's end had to wait for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from provisioner.events import Event, HostConnected, HostFinished, HostObserved, TaskFinished, TaskStarted

CONNECT = "Connect"
OBSERVE = "Observe"
_TOUCH = 0.05
"""Seconds by which a step may seem to begin before what it waited for ended: many threads tell of hosts."""


@dataclass(frozen=True)
class Step:
    """Something that a host was busy with; ``begin`` and ``end`` are seconds since the run began.

    ``status`` is a task's, ``ok`` for connecting and observing, and empty if the end is not known.
    """

    host: str
    task: str
    begin: float
    end: float
    status: str = "ok"

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.begin


def steps(events: Iterable[Event]) -> list[Step]:
    """All steps in the order in which they ended; what never ended lasts until the last event."""
    done: list[Step] = []
    connected: dict[str, float] = {}
    open_tasks: dict[tuple[str, str], float] = {}
    now = 0.0
    for event in events:
        now = max(now, event.at)
        match event:
            case HostConnected():
                done.append(Step(event.host, CONNECT, 0.0, event.at))
                connected[event.host] = event.at
            case HostObserved(again=False) if event.host in connected:
                done.append(Step(event.host, OBSERVE, connected[event.host], event.at))
            case TaskStarted():
                open_tasks[event.host, event.task] = event.at
            case TaskFinished():
                begin = open_tasks.pop((event.host, event.task), max(0.0, event.at - event.seconds))
                done.append(Step(event.host, event.task, begin, event.at, event.status))
            case HostFinished(status="unreachable") if event.host not in connected:
                done.append(Step(event.host, CONNECT, 0.0, event.at, "unreachable"))
    done += [Step(host, task, begin, now, "") for (host, task), begin in open_tasks.items()]
    return done


def critical_path(done: Iterable[Step]) -> list[Step]:
    """The steps that the end waited for, first to last, as far as times can tell.

    From the step that ended last we go back: what came before a step is what ended last before it began, be it on the
    same host or on another one, as the head's start before that of a worker. Where several ended at about the same
    time, the same host's is taken. To shorten the run, shorten one of these.
    """
    left = sorted(done, key=lambda step: step.end)
    path: list[Step] = []
    while left:
        last = _waited_for(left, path[-1].host if path else "")
        path.append(last)
        left = [step for step in left if step.end <= last.begin + _TOUCH and step.begin < last.begin]
    return path[::-1]


def _waited_for(ended: list[Step], host: str) -> Step:
    """The last of the steps; one of the host if it ended hardly earlier."""
    latest = [step for step in ended if step.end >= ended[-1].end - _TOUCH]
    own = [step for step in latest if step.host == host]
    return (own or latest)[-1]
