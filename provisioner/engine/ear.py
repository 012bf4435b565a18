"""What a host says without being waited for: its tasks begin and end, it asks, it wants files; and that it gets on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from provisioner.declaration import Declaration
from provisioner.engine.deliveries import Deliveries
from provisioner.engine.line import Line
from provisioner.engine.manners import Manners
from provisioner.engine.outcome import Outcome
from provisioner.engine.questions import Questions
from provisioner.engine.shared import Shared
from provisioner.errors import HostFailed, NotDone, Stopped, Unreachable
from provisioner.events import Doing, Event, NodeProven, StillDoing, TaskFinished, TaskStarted

Message = dict[str, Any]

TELL = 10.0
"""Seconds between two words to the user about a task that goes on."""
LATE = ("facts", "observed", "played")
"""What was on its way when the run was stopped, and nobody waits for any more."""
IDLE_LIMIT = 120.0
"""Seconds for a host that was told to work to begin with a task: it may wait for another run's program to end."""


class Ear:
    """Listens to one host, and limits what it may take.

    Args:
        run: what all conversations share.
        declaration: what this host is told.
        outcome: what becomes of it.
        emit: takes events about it.
        look_again: takes what the host says when it looked again before it began to work.
    """

    def __init__(
        self,
        run: Shared,
        declaration: Declaration,
        outcome: Outcome,
        emit: Callable[[Event], None],
        look_again: Callable[[Message], None],
    ) -> None:
        self._run = run
        self._declaration = declaration
        self._host = declaration.host
        self.name = declaration.host.name
        self._outcome = outcome
        self._emit = emit
        self._look_again = look_again
        manners = Manners(self._host.role, run.names, len(declaration.plays))
        self.line = Line(self.name, manners, self.take, self.watch)
        self._questions = Questions(run.answer, self._host, self.line.send)
        self._deliveries = Deliveries(self.name, lambda: self.line.session.wire, self._content)
        self._task: tuple[str, float] | None = None
        self._last_told = time.monotonic()
        self._doing_now = ""
        self._working: tuple[str, float] | None = None
        self.done: set[tuple[int, str]] = set()
        """Tasks that have ended, each by the number of its play and its name."""
        self._halted = False
        self._pauses = False
        self.may_stop = True
        """Whether what is waited for is given up when the user wants the run ended."""

    def begin(self, task: str) -> None:
        """Watch something that the host does without telling its end."""
        self._task, self._last_told = (task, time.monotonic()), time.monotonic()

    def end(self) -> float:
        """Return how many seconds that took, or 0 if nothing was begun."""
        task, self._task = self._task, None
        return time.monotonic() - task[1] if task else 0.0

    def work(self, play: str) -> None:
        """Expect the host to work on a play, "": no longer."""
        self._working = (play, time.monotonic()) if play else None

    def close(self) -> None:
        self._deliveries.close()
        self.line.close()

    def doing(self, text: str) -> None:
        self._run.switchboard.moved(self.name)
        self._emit(Doing(self._run.now(), self.name, text))

    def watch(self, now: float) -> None:
        """Limit the task that runs, and tell the user of one that takes its time."""
        if self.may_stop and self._run.stopping.is_set():
            self._stop()
        self._pace()
        if self._task is None:
            self._watch_idleness(now)
            return
        name, since = self._task
        if now - since > self._run.options.task_timeout:
            doing = f" (last: {self._doing_now})" if self._doing_now else ""
            raise NotDone(
                f"{name!r} did not end within {self._run.options.task_timeout:.0f} s{doing}",
                remedy="look at the host's load, disk and network; --timeout gives a task longer",
            )
        if now - self._last_told > TELL:
            self._last_told = now
            self._emit(StillDoing(self._run.now(), self.name, name, self._doing_now, now - since))

    def _stop(self) -> None:
        if not self._halted:
            self._halted = True
            self.line.send({"type": "halt"})
        if self._run.is_stopped(self._host):
            raise Stopped("stopped")

    def _pace(self) -> None:
        """Have a host that works begin no further task as long as it is not certain whose turn it is."""
        pauses = self._working is not None and self._host.role != "head" and not self._run.may_begin()
        if pauses is not self._pauses:
            self._pauses = pauses
            self.line.send({"type": "pause", "on": pauses})

    def _watch_idleness(self, now: float) -> None:
        if self._working and now - self._working[1] > IDLE_LIMIT:
            raise NotDone(
                f"the host was told to do {self._working[0]!r} and began no task for {IDLE_LIMIT:.0f} s",
                remedy="look at its load and disk, and whether another run works there",
            )

    def take(self, message: Message) -> None:
        """Take a message that nobody waits for."""
        if self._halted and message["type"] in LATE:
            return
        handler = getattr(self, "_on_" + message["type"], None)
        if handler is None:
            raise HostFailed(f"the host sent a message that we don't know: {message['type'][:40]!r}")
        handler(message)

    def _on_beat(self, message: Message) -> None:
        """A sign of life, which the wire has noted."""

    _on_ready = _on_beat

    def _on_closed(self, message: Message) -> None:
        raise Unreachable("the connection broke off", remedy="run the same command again")

    def _on_error(self, message: Message) -> None:
        task = f"{message['task']}: " if message.get("task") else ""
        if task:
            self._outcome.count("failed")
        raise HostFailed(task + message["message"], remedy=message.get("remedy", ""))

    def _on_doing(self, message: Message) -> None:
        self._doing_now = message["text"]
        self.doing(message["text"])

    def _on_task(self, message: Message) -> None:
        play, task, state = self._declaration.plays[message["play"]], message["task"], message["state"]
        if state == "started":
            self.begin(task)
            self._doing_now = ""
            self._emit(TaskStarted(self._run.now(), self.name, play, task))
            return
        self._task = None
        if self._working:
            self.work(play)
        self.done.add((message["play"], task))
        self._outcome.count(state)
        text, remedy = message.get("message", ""), message.get("remedy", "")
        if state == "changed":
            self._run.changed.set()
        if state == "failed":
            self._outcome.fail(HostFailed(f"{task}: {text}", remedy=remedy))
        self._emit(TaskFinished(self._run.now(), self.name, play, task, state, message["seconds"], text, remedy))

    def _on_proven(self, message: Message) -> None:
        if "error" in message:
            return
        shown = {key: message[key] for key in ("hostname", "os", "ray", "python", "seconds")}
        self._emit(NodeProven(self._run.now(), message["host"], **shown))

    def _on_reply(self, message: Message) -> None:
        self._run.switchboard.reply(message)

    def _on_ask(self, message: Message) -> None:
        self._questions.take(message)

    def _on_detour(self, message: Message) -> None:
        self._run.mirror.detour(self.name, message["reason"])

    def _on_observed(self, message: Message) -> None:
        if not self._working:
            raise HostFailed("the host says what differs, and was not asked")
        self._look_again(message)

    def _on_need(self, message: Message) -> None:
        self._deliveries.need(message)

    def _on_enough(self, message: Message) -> None:
        self._deliveries.enough(message)

    def _content(self, sha256: str) -> Any:
        """Return what the host may have: a file of its declaration, or one of the packages."""
        files = self._declaration.files
        if sha256 in files:
            return files[sha256]
        if self._questions.offered(sha256) or (self.name == self._run.mirror.name and self._run.mirror.has(sha256)):
            return self._run.artifacts.open(sha256)
        raise HostFailed("the host asks for a file that is none of its own")
