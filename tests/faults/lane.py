"""Carries out cases on one room, one after the other: hurt, heal, mend, look."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable
from dataclasses import replace

from tests.lab.shell import LabError

from .cases import Case, bites
from .driver import Stuck
from .journal import Journal, Outcome, version
from .kinds import KINDS, Kind, Site, TooLate
from .room import EDITIONS, Lost, Room

REACH_LIMIT = 90.0
"""Seconds for a run to come to its moment."""
HURT_LIMIT = 150.0
"""Seconds for a run that was hurt to end by itself."""
MEND_MORE = {"cut": 60.0, "power": 60.0}
MEND_MORE_ELSE = 30.0
"""Seconds that a mend may take longer than the slowest undisturbed run: what it waits for is over by then."""
ENDS = {0, 3, 4}
"""Exit codes of a run that was hurt and not killed."""


def demand_end(kind: str, code: int) -> None:
    """Raise Lost unless a run that was hurt in this way may end with this exit code."""
    if code not in ({-signal.SIGKILL} if kind == "kill" else ENDS):
        raise Lost(f"the run that was hurt ended with {code}")


def demand_quick(kind: str, took: float, undisturbed: float) -> None:
    """Raise Lost if a mend took so long that it must have waited for what the fault left behind."""
    limit = undisturbed + MEND_MORE.get(kind, MEND_MORE_ELSE)
    if took > limit:
        raise Lost(f"the mend took {took:.0f} s; {limit:.0f} s are enough")


def _happens(kind: Kind, site: Site) -> bool:
    """Have the fault happen; False if it came too late to hurt anything."""
    try:
        kind.happen(site)
    except TooLate:
        return False
    return True


class Lane:
    """One room and what became of it.

    Args:
        room: recorded already; nothing of ours is on it.
        journal: is told what became of each case.
    """

    def __init__(self, room: Room, journal: Journal) -> None:
        self._room = room
        self._journal = journal
        self._state = "bare"
        self._sure = True
        """Whether the hosts are what the last case should have left."""
        self._last: Outcome | None = None
        """The case that left them so."""
        self._mended = 0.0

    def work(self, cases: Iterable[Case], until: float = float("inf")) -> None:
        """Carry out cases until the time (``time.monotonic()``) has come."""
        for case in cases:
            if time.monotonic() > until:
                break
            self._last = self._carry_out(case)
            self._journal.note(self._last)
        if self._sure and self._state == "applied":
            self._tear_down()

    def _carry_out(self, case: Case) -> Outcome:
        begun = time.monotonic()
        code: int | None = None
        met, why = False, ""
        self._mended = 0.0
        self._bring_to(case)
        try:
            self._sure = False
            code, met = self._hurt(case)
            if met:
                demand_end(case.kind, code)
            if code == 0:
                self._believe(case)
            self._mend(case)
            self._sure = True
        except (Lost, Stuck, LabError, OSError) as error:
            why = str(error) or type(error).__name__
        return Outcome(
            str(case), case.room, case.story.name, case.kind, met, code, why, time.monotonic() - begun,
            mended=self._mended, bites=bites(case), version=version(),
        )  # fmt: skip

    def _bring_to(self, case: Case) -> None:
        """Have the hosts be as the case begins. Raises what keeps an undisturbed run on fresh hosts from that: then no
        case means anything."""
        room = self._room
        if self._sure and self._state == "applied" and case.story.begins == "bare":
            self._tear_down()
        if not self._sure:
            self._begin_anew()
        if self._state == "bare" and case.story.begins == "applied":
            room.do("apply")
        self._state = case.story.begins
        if case.story.recorded == "change":
            room.declare(EDITIONS[1 - EDITIONS.index(room.edition)])

    def _tear_down(self) -> None:
        """Have nothing of ours on the hosts; what is lost by that was lost by the case before."""
        try:
            self._room.do("teardown")
            self._require("bare")
            self._state = "bare"
        except (Lost, Stuck, LabError, OSError) as error:
            self._sure = False
            if self._last is not None:
                self._journal.note(replace(self._last, why=f"seen by the teardown after it: {error}"))

    def _begin_anew(self) -> None:
        """Have nothing of ours on the hosts; where that can't be done, on fresh ones."""
        room = self._room
        try:
            room.do("teardown")
            self._require("bare")
        except (Lost, Stuck, LabError):
            room.open(len(room.machines))
            room.record()  # other names, other keys
        self._state, self._sure = "bare", True

    def _hurt(self, case: Case) -> tuple[int, bool]:
        """Have the fault happen; returns the exit code of the run and whether it came to its moment at all."""
        room, kind = self._room, KINDS[case.kind]
        controller = room.start(case.story.verb, case.moment)
        site = Site(controller, room.machines[case.host], room.disks[case.host], str(case))
        met = False
        try:
            met = controller.stopped(REACH_LIMIT)
            if met:
                met = _happens(kind, site)
                controller.go_on()
            said = controller.end(HURT_LIMIT)
        finally:
            controller.kill()
            if met:
                kind.heal(site)
        for word in ("Traceback", "unexpected ", "report this"):
            if word in said.text:
                raise Lost(f"the run that was hurt said: {said.text[-1000:]}")
        return said.code, met

    def _mend(self, case: Case) -> None:
        """Run what any user would run now, and look whether all came to its place, and soon."""
        begun = time.monotonic()
        self._room.do(case.story.mend)
        self._mended = time.monotonic() - begun
        self._state = case.story.ends
        self._require(case.story.ends)
        demand_quick(case.kind, self._mended, self._room.took[case.story.mend])

    def _believe(self, case: Case) -> None:
        """Raise Lost unless a run that said that all is well was right. Not where a node of Ray was cut off or lost its
        power after its host had finished: it comes back by itself, later."""
        if case.room == "cheap" or bites(case):
            self._require("applied" if case.story.verb == "apply" else "bare")

    def _require(self, state: str) -> None:
        """Raise Lost unless the hosts are exactly what they are after an undisturbed run."""
        if state == "applied":
            self._room.require_applied()
            self._room.compare(self._room.edition)
        else:
            self._room.require_bare()
            self._room.compare("")
