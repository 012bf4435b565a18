"""The conversation with one host, from connecting to the last word. Runs in a thread of its own."""

from __future__ import annotations

import threading
from typing import Any

from provisioner.declaration import Declaration
from provisioner.engine import remarks
from provisioner.engine.census import UNSUPPORTED
from provisioner.engine.ear import Ear
from provisioner.engine.gates import Gate, Gates
from provisioner.engine.outcome import Outcome
from provisioner.engine.shared import Shared
from provisioner.errors import HostFailed, ProvisionError, Stopped
from provisioner.events import (
    Difference,
    Event,
    Finding,
    HostConnected,
    HostFinished,
    HostObserved,
    Notice,
    TaskFinished,
    Verb,
)
from provisioner.transport.session import NothingThere, open_session

Message = dict[str, Any]

END_LIMIT = 60.0
"""Seconds for a host to say goodbye; it only has small things to tidy up."""
PURGE = "Remove everything"
FIRST_CONTACT = "First contact"
STOP_LIMIT = 30.0
"""Seconds for a host to finish or undo what it is doing when the user wants the run ended."""
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
        self.outcome = Outcome()
        self._ear = Ear(run, declaration, self.outcome, self._emit)
        self._line = self._ear.line
        self._doing = self._ear.doing
        self._observed: dict[int, list[Message]] = {}
        self._purged: list[Difference] = []
        self._stops: list[str] = []
        self._untidy = False
        self._found_dropped: Message | None = None
        self._leaving = threading.Lock()
        self.host = declaration.host
        self.name = declaration.host.name
        self._slot = run.slots if self._is_limited() else threading.Semaphore()
        self.reached = False
        self.cannot: list[str] = []
        """Why this host can do nothing of the kind, whatever happens meanwhile, and what to do instead."""
        self.ray = ""
        """Whether Ray runs there now that the run was stopped: runs, stopped, unknown, or "" if there never was any."""
        self.through = threading.Event()
        """Set when all its plays are behind it."""
        self.finished = threading.Event()

    def hold(self) -> None:
        """Do everything; never raises. What became of it is in ``outcome``."""
        try:
            try:
                self._converse()
            except Stopped:
                self._break_off()
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
            return
        if self._has_turn(differences):
            if self._run.turn.is_outdated(self.name):
                self._line.wait(lambda: self._slot.acquire(blocking=False))
                try:
                    differences = self._observe_again()
                finally:
                    self._slot.release()
                    self._run.wake_all()
            self._propose(differences)
            self._act(differences)

    def _has_turn(self, differences: tuple[Difference, ...]) -> bool:
        """Wait until it is settled whose turn it is to change something; tells whether the run may go on."""
        turn = self._run.turn
        wants = bool(differences or self._untidy) and not self.cannot
        turn.observed(self.name, wants and self._verb != "check" and not self._observer)
        self._line.wait(turn.is_settled)
        if turn.refusal is None:
            return True
        if not self._observer:
            self.outcome.busy = turn.busy
            self.outcome.skip(*turn.refusal)
        return False

    def _speak_for_it(self) -> None:
        """Say what there is to say of a host that has nothing of ours, and no Python to say it with."""
        self.reached = True
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
        operator = {"who": self._run.who, "verb": self._run.options.verb}
        wishes = self._run.options.wishes(self._verb)
        hello = {**self._declaration.hello, "run": self._run.number, "operator": operator, **wishes}
        choice = self._run.choice(self.host, self._doing)
        session = open_session(self._run.connector, target, become, hello, choice, self._doing)
        self.reached = True
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
        self._tell_findings(observed.get("findings") or [])
        return self._compared(observed)

    def _observe_again(self) -> tuple[Difference, ...]:
        """Look again: what was seen before another run ended may be true no more."""
        self._doing("looking again")
        self._line.send({"type": "observe"})
        self._observed.clear()
        self.outcome.counts["ok"] = 0
        return self._compared(self._line.expect("observed", OBSERVE_LIMIT))

    def _compared(self, observed: Message) -> tuple[Difference, ...]:
        """Take note of what a host says of itself; returns what is not as declared."""
        found = []
        for row in observed["tasks"]:
            self._observed.setdefault(row["play"], []).append(row)
            found += [Difference(self.name, row["task"], **difference) for difference in row["differences"]]
            if not row["differences"]:
                self.outcome.count("ok")
        self._purged = [Difference(self.name, PURGE, **each) for each in observed.get("purged") or []]
        differences = (*found, *self._purged)
        self._emit(HostObserved(self._run.now(), self.name, differences))
        self.cannot = observed.get("cannot") or []
        self._untidy = bool(observed.get("untidy"))
        self._found_dropped = observed.get("dropped")
        self._stops = [each.stops for each in differences if each.stops]
        return differences

    def _propose(self, differences: tuple[Difference, ...]) -> None:
        """Have the user asked about what would be stopped."""
        if self._observer:
            self._run.consent.settle(self.name)
            return
        if self._found_dropped:
            self._run.found_dropped(self._found_dropped)
        self._run.consent.settle(self.name, differences if self._verb == "teardown" else _stopping(differences))

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
                if self._run.stopping.is_set():
                    self._note_undone()
                    return
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
            self._ear.work(self._declaration.plays[index])
            self._line.send({"type": "play", "index": index, "changed": self._run.changed.is_set()})
            return bool(self._line.expect("played", None)["ok"])
        finally:
            self._ear.work("")
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
        self._ear.may_stop = False  # it ends anyway
        clean = self._verb == "teardown" and self.outcome.trouble is None and self._run.turn.is_ours
        purge = clean and self._run.options.purge
        if purge:  # some environments on a slow disk take minutes: watched as a task is
            self._ear.begin(PURGE)
        self._line.send({"type": "end", "clean": clean, "purge": self._run.options.purge})
        self._line.expect("bye", None if purge else END_LIMIT)
        seconds = self._ear.end()
        if purge and self._purged:
            done = ", ".join(f"{each.what}: {each.before}" for each in self._purged)
            self.outcome.count("changed")
            self._emit(TaskFinished(self._run.now(), self.name, PURGE, PURGE, "changed", seconds, f"removed {done}"))

    def _break_off(self) -> None:
        """Have the host finish or undo what it is doing, because the user wants the run ended, and say how it is."""
        self._ear.may_stop = False
        self.ray = "unknown" if self._stops else ""
        try:
            if self.reached:
                self._line.send({"type": "stop"})
                told = self._line.expect("stopped", STOP_LIMIT)
                self.ray = told["ray"] or ("stopped" if self._stops else "")
        finally:
            self._note_undone()

    def _note_undone(self) -> None:
        """Count what was to be done and is not."""
        rows = [(play, row) for play, rows in sorted(self._observed.items()) for row in rows if row["differences"]]
        undone = [row["task"] for play, row in rows if (play, row["task"]) not in self._ear.done]
        for _ in undone:
            self.outcome.count("skipped")
        if undone and self._verb != "check":
            more = f" and {len(undone) - 1} more" if undone[1:] else ""
            self.outcome.skip(f"stopped before {undone[0]!r}{more} was done")
        elif not self._observed:
            self.outcome.skip("stopped before it was looked at")

    def abandon(self) -> None:
        """Give it up where it is, from another thread: it answers no more, or the user does not want to wait."""
        if not self.finished.is_set():
            self.ray = "unknown" if self._stops else ""
            told = "stopped, and not known how far it came" if self.reached else "stopped before it was reached"
            self.outcome.skip(told)
            self._leave()

    def _leave(self) -> None:
        with self._leaving:
            if self.finished.is_set():
                return
            self._say_goodbye()
            self.through.set()
            self.finished.set()
        self._run.wake_all()

    def _say_goodbye(self) -> None:
        outcome = self.outcome
        if self._observer and self._run.options.verb == "teardown":
            outcome.trouble = None  # it was only to keep others out
        self._run.turn.gone(self.name, outcome.message if outcome.trouble in ("failed", "unreachable") else "")
        self._run.switchboard.gone(self.name)
        self._pass_all_gates(good=False)
        self._run.consent.settle(self.name)
        self._ear.close()
        if not self._observer or outcome.trouble:
            self._run.emit(
                HostFinished(
                    self._run.now(), self.name, outcome.status, dict(outcome.counts), outcome.message, outcome.remedy
                )
            )

    def _pass_all_gates(self, good: bool) -> None:
        if good:
            for play in self._declaration.plays:
                self.gates.through(play, self.name, good=True)
        self.gates.gone(self.name, self.reached or self.outcome.trouble == "failed")

    def _emit(self, event: Event) -> None:
        if not self._observer:
            self._run.emit(event)


def _stopping(differences: tuple[Difference, ...]) -> tuple[Difference, ...]:
    return tuple(difference for difference in differences if difference.stops)
