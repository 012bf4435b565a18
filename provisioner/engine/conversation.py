"""The conversation with one host, from connecting to the last word. Runs in a thread of its own."""

from __future__ import annotations

import threading
import time
from typing import Any

from provisioner.declaration import Declaration
from provisioner.engine import remarks
from provisioner.engine.census import UNSUPPORTED
from provisioner.engine.deliveries import Deliveries
from provisioner.engine.gates import Gate, Gates
from provisioner.engine.line import Line
from provisioner.engine.manners import Manners
from provisioner.engine.outcome import Outcome
from provisioner.engine.questions import Questions
from provisioner.engine.shared import Shared
from provisioner.errors import HostFailed, ProvisionError, Unreachable
from provisioner.events import (
    Difference,
    Doing,
    Event,
    Finding,
    HostConnected,
    HostFinished,
    HostObserved,
    NodeProven,
    Notice,
    StillDoing,
    TaskFinished,
    TaskStarted,
    Verb,
)
from provisioner.transport.session import NothingThere, open_session

Message = dict[str, Any]

TELL = 10.0
"""Seconds between two words to the user about a task that goes on."""
END_LIMIT = 60.0
"""Seconds for a host to say goodbye; it only has small things to tidy up."""
PURGE = "Remove everything"
FIRST_CONTACT = "First contact"
OBSERVE_LIMIT = 120.0
"""Seconds for a host to look at everything it has been told."""
HOUSEKEEPING = {"old_environments"}
"""Resources that wait for others without being part of the outcome: nobody is told that their turn did not come."""


class Conversation:
    """Talks with one host.

    Args:
        run: what all conversations share.
        declaration: what this host is told.
        verb: what is done with this host; a host that was dropped from the inventory is torn down during an apply.
        gates: what its plays wait for.
        observer: only look and answer questions (the head of a run that is limited to other hosts).
    """

    def __init__(self, run: Shared, declaration: Declaration, verb: Verb, gates: Gates, observer: bool = False) -> None:
        self._run = run
        self._declaration = declaration
        self._verb = verb
        self._observer = observer
        self.gates = gates
        manners = Manners(declaration.host.role, run.names, len(declaration.plays))
        self._line = Line(declaration.host.name, manners, self._take, self._watch)
        self._deliveries = Deliveries(declaration.host.name, lambda: self._line.session.wire, self._content)
        self._observed: dict[int, list[Message]] = {}
        self._task: tuple[str, float] | None = None
        self._idle_since: float | None = None
        """In a play that was begun, with no task of it going on."""
        self._purged: list[Difference] = []
        self._last_told = time.monotonic()
        self._doing_now = ""
        self.host = declaration.host
        self._questions = Questions(run.answer, declaration.host, self._line.send)
        self.name = declaration.host.name
        self._slot = run.slots if self._is_limited() else threading.Semaphore()
        self._reached = False
        self.cannot: list[str] = []
        """Why this host can do nothing of the kind, whatever happens meanwhile, and what to do instead."""
        self.outcome = Outcome()
        self.through = threading.Event()
        """Set when all its plays are behind it."""
        self.finished = threading.Event()

    def hold(self) -> None:
        """Do everything; never raises. What became of it is in ``outcome``."""
        try:
            self._converse()
        except ProvisionError as error:
            self.outcome.fail(error)
        except Exception as error:
            self.outcome.fail(HostFailed(f"unexpected {type(error).__name__}: {error}", remedy="please report this"))
        finally:
            self._leave()

    def wake(self) -> None:
        """Have the conversation look at gates and decisions again."""
        self._line.wake()

    def _converse(self) -> None:
        try:
            with self._slot:
                self._open()
                differences = self._observe()
        except NothingThere:
            self._speak_for_it()
        else:
            self._act(differences)

    def _speak_for_it(self) -> None:
        """Say what there is to say of a host that has nothing of ours, and no Python to say it with."""
        self._reached = True
        self.outcome.message = "nothing of this cluster is there"
        if self._verb == "check":
            after = f"the host is bare; `apply` brings Python {self.host.python} first"
            bare = Difference(self.name, FIRST_CONTACT, "add", "everything that is declared", after=after)
            self.outcome.pending = True
            self._emit(HostObserved(self._run.now(), self.name, (bare,)))
        self._pass_all_gates(good=True)

    def _open(self) -> None:
        self._doing("connecting")
        target, become = self._run.target(self.host)
        hello = {**self._declaration.hello, "run": self._run.number, **self._run.options.wishes(self._verb)}
        choice = self._run.choice(self.host, self._doing)
        session = open_session(self._run.connector, target, become, hello, choice, self._doing)
        self._reached = True
        self._line.connect(session)
        self._run.opened(self.name, session, self._line.send)

    def _observe(self) -> tuple[Difference, ...]:
        facts = self._line.expect("facts", OBSERVE_LIMIT)["facts"]
        self._emit(HostConnected(self._run.now(), self.name, facts))
        self._notice(remarks.about_clock(facts))
        self._notice(remarks.about_leaving(facts, self._verb, self._run.options.verb))
        if self._verb in ("apply", "check"):
            self._run.census.take(self.host, facts)
            if self._run.census.unsupported(facts):
                self._emit(Notice(self._run.now(), "", *UNSUPPORTED))
        observed = self._line.expect("observed", OBSERVE_LIMIT)
        found = []
        for row in observed["tasks"]:
            self._observed.setdefault(row["play"], []).append(row)
            found += [Difference(self.name, row["task"], **difference) for difference in row["differences"]]
            if not row["differences"]:
                self.outcome.count("ok")
        self._purged = [Difference(self.name, PURGE, **each) for each in observed.get("purged") or []]
        differences = (*found, *self._purged)
        self._tell_findings(observed.get("findings") or [])
        self._emit(HostObserved(self._run.now(), self.name, differences))
        self.cannot = observed.get("cannot") or []
        if observed.get("dropped") and not self._observer:
            self._run.found_dropped(observed["dropped"])
        self._run.consent.settle(self.name, differences if self._verb == "teardown" else _stopping(differences))
        return differences

    def _tell_findings(self, findings: list[Message]) -> None:
        for each in remarks.worth_telling(findings, self._verb):
            told = Finding(self._run.now(), self.name, each["message"], each["remedy"], each["severity"])
            self._emit(told)

    def _notice(self, told: tuple[str, str] | None) -> None:
        if told:
            self._emit(Notice(self._run.now(), self.name, *told))

    def _act(self, differences: tuple[Difference, ...]) -> None:
        if self._verb == "check" or self._observer:
            self.outcome.pending = bool(differences) and self._verb == "check" and not self._observer
            self._pass_all_gates(good=True)
            self._stay()
            self._end()
            return
        if (self._verb == "teardown" and differences) or _stopping(differences):
            self._doing("waiting for your word")
            self._line.wait(lambda: self._run.consent.decision is not None)
            if not self._run.consent.decision:
                self.outcome.refused = True
                stopped = ", ".join(sorted({difference.stops for difference in differences if difference.stops}))
                self.outcome.skip(
                    f"nothing was done: {stopped or 'things'} would be stopped", "run again and agree, or add --yes"
                )
                return
        if self.cannot:
            self.outcome.fail(HostFailed(self.cannot[0], remedy=self.cannot[1]))
        else:
            self._walk()
        self._pass_all_gates(good=False)  # whatever was not come to; others wait for it while the head stays
        self._stay()
        self._end()

    def _walk(self) -> None:
        """Go through the plays in order, each behind its gate."""
        plays = list(enumerate(self._declaration.plays))
        for index, play in reversed(plays) if self._verb == "teardown" else plays:
            housekeeping = self._is_housekeeping(index)
            if housekeeping and not self._is_due(index):
                self.gates.through(play, self.name, good=True)
                continue
            if self._gate(index, play) is Gate.SHUT:
                for row in self._observed.get(index, []):
                    if row["differences"]:
                        self.outcome.count("skipped")
                if not housekeeping:
                    self.outcome.skip(*self.gates.refuse(play))
                return
            good = not self._is_due(index) or self._work(index)
            self.gates.through(play, self.name, good)
            if not good and self._verb != "teardown":
                return

    def _gate(self, index: int, play: str) -> Gate:
        """Wait until the play's gate has opened, or is known to stay shut."""
        stops = any(difference["stops"] for row in self._observed.get(index, []) for difference in row["differences"])
        if self.gates.state(play, stops) is Gate.WAITING:
            self._doing(f"waiting for its turn: {play}")
            self._line.wait(lambda: self.gates.state(play, stops) is not Gate.WAITING)
        return self.gates.state(play, stops)

    def _is_due(self, index: int) -> bool:
        if any(row["differences"] for row in self._observed.get(index, [])):
            return True
        tasks = self._declaration.hello["plays"][index]["tasks"]
        wants_change = any(task["when"].get("changed") for task in tasks)
        return self._verb in ("apply", "rollback") and wants_change and self._run.changed.is_set()

    def _is_housekeeping(self, index: int) -> bool:
        """Tell whether a play does nothing that anybody would miss."""
        tasks = self._declaration.hello["plays"][index]["tasks"]
        return all(task["resource"] in HOUSEKEEPING for task in tasks)

    def _is_limited(self) -> bool:
        """Tell whether this counts as one of the hosts worked on at once: not if others wait for its answers (the
        head, the mirror) or for its end (a dropped host), for they hold their slots meanwhile."""
        answers = self.host.role == "head" or self.name == self._run.mirror.name
        return not answers and self._verb == self._run.options.verb

    def _work(self, index: int) -> bool:
        self._line.wait(lambda: self._slot.acquire(blocking=False))
        try:
            self._idle_since = time.monotonic()
            self._line.send({"type": "play", "index": index, "changed": self._run.changed.is_set()})
            return bool(self._line.expect("played", None)["ok"])
        finally:
            self._idle_since = None
            self._slot.release()
            self._run.wake_all()

    def _stay(self) -> None:
        """The head stays to answer until every other host is finished, the mirror while any may want files."""
        self.through.set()
        self._run.wake_all()
        if self.host.role == "head":
            self._line.wait(lambda: self._run.others_finished(self.name))
        elif self.name == self._run.mirror.name and not self._run.others_through(self.name):
            self._doing("handing files to the other hosts")
            self._line.wait(lambda: self._run.others_through(self.name))

    def _end(self) -> None:
        clean = self._verb == "teardown" and self.outcome.trouble is None
        purge = clean and self._run.options.purge
        if purge:  # some environments on a slow disk take minutes: watched as a task is
            self._task, self._last_told = (PURGE, time.monotonic()), time.monotonic()
        self._line.send({"type": "end", "clean": clean, "purge": self._run.options.purge})
        self._line.expect("bye", None if purge else END_LIMIT)
        if self._task and self._purged:
            done = ", ".join(f"{each.what}: {each.before}" for each in self._purged)
            seconds = time.monotonic() - self._task[1]
            self.outcome.count("changed")
            self._emit(TaskFinished(self._run.now(), self.name, PURGE, PURGE, "changed", seconds, f"removed {done}"))
        self._task = None

    def _leave(self) -> None:
        self._run.switchboard.gone(self.name)
        self._pass_all_gates(good=False)
        self._run.consent.settle(self.name)
        self._deliveries.close()
        self._line.close()
        outcome = self.outcome
        if not self._observer or outcome.trouble:
            self._run.emit(
                HostFinished(
                    self._run.now(), self.name, outcome.status, dict(outcome.counts), outcome.message, outcome.remedy
                )
            )
        self.through.set()
        self.finished.set()
        self._run.wake_all()

    def _pass_all_gates(self, good: bool) -> None:
        if good:
            for play in self._declaration.plays:
                self.gates.through(play, self.name, good=True)
        self.gates.gone(self.name, self._reached or self.outcome.trouble == "failed")

    def _watch(self, now: float) -> None:
        """Limit the task that runs, and tell the user of one that takes its time."""
        if not self._task:
            if self._idle_since and now - self._idle_since > OBSERVE_LIMIT:
                raise HostFailed(f"the host began no task within {OBSERVE_LIMIT:.0f} s", remedy="see its load and disk")
            return
        name, since = self._task
        if now - since > self._run.options.task_timeout:
            raise HostFailed(
                f"{name!r} did not end within {self._run.options.task_timeout:.0f} s", remedy="see --timeout"
            )
        if now - self._last_told > TELL:
            self._last_told = now
            self._emit(StillDoing(self._run.now(), self.name, name, self._doing_now, now - since))

    def _take(self, message: Message) -> None:
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
            self.outcome.count("failed")
        raise HostFailed(task + message["message"], remedy=message.get("remedy", ""))

    def _on_doing(self, message: Message) -> None:
        self._doing_now = message["text"]
        self._doing(message["text"])

    def _on_task(self, message: Message) -> None:
        play, task, state = self._declaration.plays[message["play"]], message["task"], message["state"]
        if state == "started":
            self._task = (task, time.monotonic())
            self._last_told, self._doing_now = time.monotonic(), ""
            self._emit(TaskStarted(self._run.now(), self.name, play, task))
            return
        self._task, self._idle_since = None, time.monotonic()
        self.outcome.count(state)
        text, remedy = message.get("message", ""), message.get("remedy", "")
        if state == "changed":
            self._run.changed.set()
        if state == "failed":
            self.outcome.fail(HostFailed(f"{task}: {text}", remedy=remedy))
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

    def _doing(self, text: str) -> None:
        self._run.switchboard.moved(self.name)
        self._emit(Doing(self._run.now(), self.name, text))

    def _emit(self, event: Event) -> None:
        if not self._observer:
            self._run.emit(event)


def _stopping(differences: tuple[Difference, ...]) -> tuple[Difference, ...]:
    return tuple(difference for difference in differences if difference.stops)
