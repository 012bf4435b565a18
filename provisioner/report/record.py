"""What is known of a run, gathered from its events; the summary and the JSON document are made from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from provisioner.events import (
    Difference,
    Event,
    Finding,
    HostConnected,
    HostFinished,
    HostObserved,
    NodeProven,
    Notice,
    RunFinished,
    RunStarted,
    TaskFinished,
)

BAD = frozenset({"failed", "unreachable"})
UNFINISHED = "unfinished"


@dataclass(frozen=True)
class Plan:
    """How many things differ, by what is to be done about them."""

    add: int = 0
    change: int = 0
    remove: int = 0

    @staticmethod
    def of(differences: list[Difference]) -> Plan:
        """Count the differences."""
        actions = Counter(difference.action for difference in differences)
        return Plan(actions["add"], actions["change"], actions["remove"])

    def __bool__(self) -> bool:
        return bool(self.add or self.change or self.remove)

    def __str__(self) -> str:
        return f"{self.add} to add, {self.change} to change, {self.remove} to remove"


@dataclass
class HostRecord:
    """What is known of one host. ``status`` is empty until the host has finished."""

    name: str
    status: str = ""
    message: str = ""
    remedy: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    tasks: list[TaskFinished] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    proven: NodeProven | None = None
    reported: dict[str, int] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """Tasks by status: as the host's end told, else as its tasks did."""
        return self.reported or dict(Counter(task.status for task in self.tasks))

    @property
    def cause(self) -> tuple[str, str]:
        """Message and remedy: of the host's end, else of its last failed task."""
        if self.message:
            return self.message, self.remedy
        for task in reversed(self.tasks):
            if task.status in BAD:
                return f"{task.task}: {task.message}" if task.message else task.task, task.remedy
        return "", self.remedy

    def told(self, message: str) -> bool:
        """Whether a failed task already said this."""
        return any(task.status in BAD and task.message and task.message in message for task in self.tasks)


@dataclass
class RunRecord:
    """What is known of the run. ``exit_code`` is None as long as the run has not finished."""

    verb: str = ""
    cluster: str = ""
    inventory: str = ""
    log: str = ""
    head: str = ""
    exit_code: int | None = None
    hosts: dict[str, HostRecord] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    dashboard: str = ""
    next_commands: tuple[tuple[str, str], ...] = ()
    interrupted: bool = False

    @property
    def plan(self) -> Plan:
        """All differences of all hosts, counted."""
        return Plan.of([difference for host in self.hosts.values() for difference in host.differences])

    def host(self, name: str) -> HostRecord:
        """The record of a host, made at its first mention."""
        return self.hosts.setdefault(name, HostRecord(name))

    def take(self, event: Event) -> None:
        """Note what the event says; events that are mere progress say nothing."""
        match event:
            case RunStarted():
                self.verb, self.cluster, self.inventory = event.verb, event.cluster, event.inventory
                self.log, self.head = event.log, event.head
                for name in event.hosts:
                    self.host(name)
            case HostConnected():
                self.host(event.host).facts = event.facts
            case HostObserved():
                self.host(event.host).differences = list(event.differences)
            case TaskFinished():
                self.host(event.host).tasks.append(event)
            case Finding():
                self.host(event.host).findings.append(event)
            case Notice():
                self.notices.append(event)
            case HostFinished():
                host = self.host(event.host)
                host.status, host.reported = event.status, event.counts
                host.message, host.remedy = event.message, event.remedy
            case NodeProven():
                self.host(event.host).proven = event
            case RunFinished():
                self.verb, self.exit_code = event.verb, event.exit_code
                self.dashboard, self.next_commands = event.dashboard, event.next_commands
                self.interrupted = event.interrupted
