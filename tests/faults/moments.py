"""What an event of a run is called: the same in every run of the kind, whatever the hosts' names and the numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from provisioner.events import (
    Doing,
    Event,
    HostConnected,
    HostFinished,
    HostObserved,
    NodeProven,
    RunFinished,
    RunStarted,
    TaskFinished,
    TaskStarted,
)

RUN = -1
"""Stands for the host of an event that is of none."""
CONNECTED, FINISHED = "connected", "finished"
PASSING = ("handing files", "waiting for", "waiting its", "receiving", "asking", "looking again")
"""How what is told only by who was slower begins: another run may not come by there."""


@dataclass(frozen=True)
class Moment:
    """An event by its host's place in the inventory (the head: 0) and what it tells."""

    host: int
    what: str

    def __str__(self) -> str:
        return self.what if self.host == RUN else f"host {self.host}: {self.what}"


def moment(event: Event, hosts: Sequence[str]) -> Moment | None:
    """Return what an event is called, None if it is no moment of its own."""
    what = _what(event)
    if what is None:
        return None
    name = getattr(event, "host", "")
    number = hosts.index(name) if name in hosts else RUN
    return Moment(number, _general(what, hosts))


def _what(event: Event) -> str | None:
    match event:
        case RunStarted():
            return "the run begins"
        case HostConnected():
            return CONNECTED
        case HostObserved():
            return "observed"
        case Doing():
            return None if event.text.startswith(PASSING) else f"is {event.text}"
        case TaskStarted():
            return f"begins {event.task!r}"
        case TaskFinished():
            return f"ends {event.task!r}"
        case NodeProven():
            return "proven"
        case HostFinished():
            return FINISHED
        case RunFinished():
            return "the run ends"
    return None


def _general(text: str, hosts: Sequence[str]) -> str:
    for number, name in enumerate(hosts):
        text = re.sub(rf"\b{re.escape(name)}\b", f"<{number}>", text)
    return re.sub(r"(?<![<\w.])\d+(\.\d+)*", "N", text)
