"""What happens during a run, as data: the engine emits these, the reports show them, nobody else prints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Verb = Literal["apply", "check", "rollback", "teardown"]
Status = Literal["ok", "changed", "failed", "unreachable", "skipped"]
Action = Literal["add", "change", "remove"]
Severity = Literal["fine", "notice", "needs elevation"]


@dataclass(frozen=True)
class Difference:
    """One thing on a host that is not as declared.

    ``action`` is what would be done about it; ``before`` and ``after`` are short texts (empty if there is none);
    ``stops`` says what running thing the change stops or removes (empty if none).
    """

    host: str
    task: str
    action: Action
    what: str
    before: str = ""
    after: str = ""
    stops: str = ""


@dataclass(frozen=True)
class Event:
    """Base of all events; ``at`` is seconds since the run began."""

    at: float


@dataclass(frozen=True)
class RunStarted(Event):
    verb: Verb
    cluster: str
    inventory: str
    hosts: tuple[str, ...]
    log: str
    """Path of the run log."""
    head: str = ""
    """The cluster's head, be it among the hosts or not."""


@dataclass(frozen=True)
class HostConnected(Event):
    """The conversation with a host has begun. ``facts``: os, arch, hostname, python, user, privileged ..."""

    host: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class HostObserved(Event):
    """All that differs on a host is known. In teardown: all that will be removed.

    ``again``: it was looked at before, and another run has changed it since.
    """

    host: str
    differences: tuple[Difference, ...]
    again: bool = False


@dataclass(frozen=True)
class Doing(Event):
    """What a host is doing now, for live progress: connecting, sending, waiting for a play ..."""

    host: str
    text: str


@dataclass(frozen=True)
class TaskStarted(Event):
    host: str
    play: str
    task: str


@dataclass(frozen=True)
class StillDoing(Event):
    """A task takes its time; told every few seconds, so that nobody takes silence for a standstill."""

    host: str
    task: str
    doing: str
    seconds: float


@dataclass(frozen=True)
class TaskFinished(Event):
    host: str
    play: str
    task: str
    status: Status
    seconds: float
    message: str = ""
    """What was done, or why it failed."""
    remedy: str = ""


@dataclass(frozen=True)
class Notice(Event):
    """Something the user should know that is no failure; ``host`` may be empty.

    ``urgent``: while it happens, even where everything else is told at the end (``--json``).
    """

    host: str
    message: str
    remedy: str = ""
    urgent: bool = False


@dataclass(frozen=True)
class Finding(Event):
    """Something about a machine that was looked at before anything was changed.

    ``severity``: fine (worth a line only for who wants to see all), notice (may do harm later: sleep, a runtime that is
    missing), needs elevation (what this session may not do and would, with an administrator's rights).
    """

    host: str
    message: str
    remedy: str = ""
    severity: Severity = "notice"


@dataclass(frozen=True)
class HostFinished(Event):
    """The conversation with a host has ended.

    ``status``: ok, changed (in check: changes pending), failed, unreachable or skipped.
    """

    host: str
    status: Status
    counts: dict[str, int] = field(default_factory=dict)
    """Tasks by status: ok, changed, failed, skipped."""
    message: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class NodeProven(Event):
    """A real task ran on a node and told where it ran."""

    host: str
    hostname: str
    os: str
    ray: str
    python: str
    seconds: float


@dataclass(frozen=True)
class RunFinished(Event):
    """The last event. ``next_commands``: (command, what it does) pairs for the user to type next."""

    verb: Verb
    exit_code: int
    dashboard: str = ""
    next_commands: tuple[tuple[str, str], ...] = ()
    interrupted: bool = False
    """The user, or who sent SIGTERM, ended it before its time."""
