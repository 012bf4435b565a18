"""The conversation with one host, from connecting to the last word. Runs in a thread of its own."""

from __future__ import annotations

import threading
from typing import Any

from provisioner.declaration import Declaration
from provisioner.engine import remarks
from provisioner.engine.census import UNSUPPORTED
from provisioner.engine.ear import Ear
from provisioner.engine.gates import Gates
from provisioner.engine.outcome import Outcome
from provisioner.engine.seen import PURGE, Seen
from provisioner.engine.shared import Shared
from provisioner.engine.walk import Walk
from provisioner.errors import HostFailed, NotDone, NoTurn, ProvisionError, Stopped
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
FIRST_CONTACT = "First contact"
STOP_LIMIT = 30.0
"""Seconds for a host to finish or undo what it is doing when the user wants the run ended."""
OBSERVE_LIMIT = 120.0
"""Seconds for a host to look at everything it has been told."""


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
        self._ear = Ear(run, declaration, self.outcome, self._emit, self._look_again)
        self._line = self._ear.line
        self._doing = self._ear.doing
        self._leaving = threading.Lock()
        self.host = declaration.host
        self.name = declaration.host.name
        self._slot = run.slots if self._is_limited() else threading.Semaphore()
        self._walk = Walk(run, declaration, verb, gates, self._ear, self.outcome, self._slot)
        self.reached = False
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
        except NoTurn as refusal:
            self.outcome.busy = self._run.turn.busy
            self.outcome.skip(refusal.message, refusal.remedy)
        except ProvisionError as error:
            self.outcome.fail(error)
        except Exception as error:
            self.outcome.fail(HostFailed(f"unexpected {type(error).__name__}: {error}", remedy="please report this"))
        finally:
            self._leave()

    @property
    def silence(self) -> float:
        """Seconds since the host gave a sign of life."""
        return self._line.silence

    def wake(self) -> None:
        """Have the conversation look at gates and decisions again."""
        self._line.wake()

    @property
    def _seen(self) -> Seen:
        return self._walk.seen

    @property
    def cannot(self) -> list[str]:
        """Why this host can do nothing of the kind, whatever happens meanwhile, and what to do instead."""
        return self._seen.cannot

    def _converse(self) -> None:
        try:
            with self._slot:
                self._open()
                self._observe()
        except NothingThere:
            self._speak_for_it()
            return
        if self._has_turn():
            if self._run.turn.is_outdated(self.name):
                self._line.wait(lambda: self._slot.acquire(blocking=False))
                try:
                    self._observe_again()
                finally:
                    self._slot.release()
                    self._run.wake_all()
            self._propose()
            self._act()

    def _has_turn(self) -> bool:
        """Wait until it is settled whose turn it is to change something; tells whether the run may go on."""
        turn, works = self._run.turn, self._verb != "check" and not self._observer
        wants = bool(self._seen.differences or self._seen.untidy)
        turn.observed(self.name, wants and works and not self.cannot)
        idle = works and not wants and not self.cannot and self._verb != "teardown"
        self._line.wait(lambda: turn.is_settled() or (idle and self._is_done()))
        if turn.refusal is None:
            return True
        if not self._observer:
            self.outcome.busy = turn.busy
            self.outcome.skip(*turn.refusal)
        return False

    def _is_done(self) -> bool:
        """Tell whether this host, with nothing to do, needs nobody any more and is needed by nobody."""
        turn = self._run.turn
        return not turn.is_wanted and self._walk.passes_idle() and self._is_limited() and turn.may_leave(self.name)

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
        self._run.turn.looking(self.name)
        session = open_session(self._run.connector, target, become, hello, choice, self._doing)
        with self._leaving:
            if self.finished.is_set():  # given up meanwhile
                session.close()
                raise Stopped("stopped")
            self.reached = True
            self._line.connect(session)
            self._run.opened(self.name, session, self._line.send)

    def _observe(self) -> None:
        facts = self._line.expect("facts", OBSERVE_LIMIT)["facts"]
        self._run.turn.looks()
        self._emit(HostConnected(self._run.now(), self.name, facts))
        self._notice(remarks.about_clock(facts))
        self._notice(remarks.about_leaving(facts, self._verb, self._run.options.verb))
        if self._verb in ("apply", "check"):
            self._run.census.take(self.host, facts)
            if self._run.census.unsupported(facts):
                self._emit(Notice(self._run.now(), "", *UNSUPPORTED))
        observed = self._line.expect("observed", OBSERVE_LIMIT)
        self._tell_findings(observed.get("findings") or [])
        self._take_note(observed)

    def _observe_again(self) -> None:
        """Look again: what was seen before another run ended may be true no more."""
        self._doing("looking again")
        self.gates.again(self.name)
        self._line.send({"type": "observe"})
        self._take_note(self._line.expect("observed", OBSERVE_LIMIT))

    def _take_note(self, observed: Message) -> None:
        """Take note of what a host says of itself, and tell the user what is not as declared, if that is news."""
        before, self._walk.seen = self._seen, Seen(self.name, observed)
        self.outcome.counts["ok"] = self._seen.good
        if not before or before.differences != self._seen.differences:
            self._emit(HostObserved(self._run.now(), self.name, self._seen.differences, again=bool(before)))

    def _look_again(self, observed: Message) -> None:
        """Take note of what a host says that had to wait for another run's program before it could begin.

        Raises:
            HostFailed: it would stop what nobody was asked about.
        """
        before = self._seen.stops
        self._take_note(observed)
        more = [each for each in self._seen.stops if each not in before]
        if more and not self._run.options.yes:
            raise NotDone(
                f"another run has worked here meanwhile, and {more[0]} would be stopped now, which you were not asked",
                remedy="run the same command again",
            )

    def _propose(self) -> None:
        """Have the user asked about what would be stopped."""
        if self._observer:
            self._run.consent.settle(self.name)
            return
        if self._seen.dropped:
            self._run.found_dropped(self._seen.dropped)
        self._run.consent.settle(self.name, self._to_be_agreed())

    def _to_be_agreed(self) -> tuple[Difference, ...]:
        """Return what the user is asked about before it is done."""
        every = self._verb == "teardown"
        return tuple(each for each in self._seen.differences if every or each.stops)

    def _tell_findings(self, findings: list[Message]) -> None:
        for each in remarks.worth_telling(findings, self._verb):
            told = Finding(self._run.now(), self.name, each["message"], each["remedy"], each["severity"])
            self._emit(told)

    def _notice(self, told: tuple[str, str] | None) -> None:
        if told:
            self._emit(Notice(self._run.now(), self.name, *told))

    def _act(self) -> None:
        if self._verb == "check" or self._observer:
            self.outcome.pending = bool(self._seen.differences) and self._verb == "check" and not self._observer
            self._pass_all_gates(good=True)
        elif not self._is_agreed():
            self.outcome.refused = True
            stopped = ", ".join(sorted(set(self._seen.stops)))
            self.outcome.skip(
                f"nothing was done: {stopped or 'things'} would be stopped", "run again and agree, or add --yes"
            )
        elif self.cannot:
            self.outcome.fail(HostFailed(self.cannot[0], remedy=self.cannot[1]))
        else:
            try:
                self._walk.walk()
            except NotDone as failure:
                self._fail_and_stay(failure)
                return
        self._pass_all_gates(good=False)  # whatever was not come to; others wait for it while the head stays
        self._stay()
        if self._run.stopping.is_set() and self._walk.undone():
            raise Stopped("stopped")
        self._end()

    def _fail_and_stay(self, failure: NotDone) -> None:
        """Have the head's program end what it does, and stay for the others: it keeps other runs out."""
        if self.host.role != "head":
            raise failure
        self.outcome.fail(failure)
        self._ear.end()
        self._line.send({"type": "cut"})
        self._pass_all_gates(good=False)
        self._stay()

    def _is_agreed(self) -> bool:
        """Wait for the user's word, if anything is to be stopped; True, too, if the run ends before it is given."""
        if self._to_be_agreed():
            self._doing("waiting for your word")
            self._line.wait(lambda: self._run.consent.decision is not None or self._run.stopping.is_set())
        return self._run.consent.decision is not False or not self._to_be_agreed()

    def _is_limited(self) -> bool:
        """Tell whether this counts as one of the hosts worked on at once: not if others wait for its answers (the
        head, the mirror, who keeps Redis) or for its end (a dropped host), for they hold their slots meanwhile."""
        answers = self.host.role == "head" or self.host.keeps_redis or self.name == self._run.mirror.name
        return not answers and self._verb == self._run.options.verb

    def _stay(self) -> None:
        """The head stays to answer until every other host is finished, the mirror while any may want files, who keeps
        Redis while the head may want its secrets."""
        self.through.set()
        self._run.wake_all()
        if self.host.role == "head":
            self._line.wait(lambda: self._run.others_finished(self.name))
        elif self.name == self._run.mirror.name and not self._run.others_through(self.name):
            self._doing("handing files to the other hosts")
            self._line.wait(lambda: self._run.others_through(self.name))
        elif self.host.keeps_redis:
            self._line.wait(self._run.head_is_through)

    def _end(self) -> None:
        self._ear.may_stop = False  # it ends anyway
        clean = self._verb == "teardown" and self.outcome.trouble is None and self._run.turn.is_ours
        purge = clean and self._run.options.purge
        if purge:  # some environments on a slow disk take minutes: watched as a task is
            self._ear.begin(PURGE)
        self._line.send({"type": "end", "clean": clean, "purge": self._run.options.purge})
        self._line.expect("bye", None if purge else END_LIMIT)
        seconds = self._ear.end()
        if purge and self._seen.purged:
            done = ", ".join(f"{each.what}: {each.before}" for each in self._seen.purged)
            self.outcome.count("changed")
            self._emit(TaskFinished(self._run.now(), self.name, PURGE, PURGE, "changed", seconds, f"removed {done}"))

    def _break_off(self) -> None:
        """Have the host finish or undo what it is doing, because the run ends before its time, and say how it is."""
        self._ear.may_stop = False
        self.ray = "unknown" if self._seen.stops else ""
        try:
            if self.reached:
                self._line.send({"type": "stop"})
                told = self._line.expect("stopped", STOP_LIMIT)
                self.ray = told["ray"] or ("stopped" if self._seen.stops else "")
        finally:
            self._walk.note_undone()

    def abandon(self) -> None:
        """Give it up where it is, from another thread: it answers no more, or the user does not want to wait."""
        if not self.finished.is_set():
            self.ray = "unknown" if self._seen.stops else ""
            told = "stopped, and not known how far it came" if self.reached else "stopped before it was reached"
            self.outcome.skip(told)
            self._leave()

    def _leave(self) -> None:
        with self._leaving:
            if self.finished.is_set():
                return
            try:
                self._say_goodbye()
            finally:  # others wait for it without another limit
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
