"""Carries out cases on one room, one after the other: hurt, heal, mend, look."""

from __future__ import annotations

import time
from collections.abc import Iterable

from tests.lab.shell import LabError

from .cases import Case
from .driver import Stuck
from .journal import Journal, Outcome
from .kinds import KINDS, Site
from .room import EDITIONS, Lost, Room

REACH_LIMIT = 90.0
"""Seconds for a run to come to its moment."""
HURT_LIMIT = 150.0
"""Seconds for a run that was hurt to end by itself."""


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

    def work(self, cases: Iterable[Case], until: float = float("inf")) -> None:
        """Carry out cases until the time (``time.monotonic()``) has come."""
        for case in cases:
            if time.monotonic() > until:
                return
            self._journal.note(self._carry_out(case))

    def _carry_out(self, case: Case) -> Outcome:
        begun = time.monotonic()
        code: int | None = None
        met, why = False, ""
        try:
            self._bring_to(case)
            self._sure = False
            code, met = self._hurt(case)
            self._mend(case)
            self._sure = True
        except (Lost, Stuck, LabError, OSError) as error:
            why = str(error) or type(error).__name__
        return Outcome(str(case), case.room, case.story.name, case.kind, met, code, why, time.monotonic() - begun)

    def _bring_to(self, case: Case) -> None:
        """Have the hosts be as the case begins."""
        room = self._room
        if not self._sure:
            self._begin_anew()
        if self._state == case.story.begins:
            pass
        elif self._state == "bare":
            room.do("apply")
        else:
            room.do("teardown")
        self._state = case.story.begins
        if case.story.recorded == "change":
            room.declare(EDITIONS[1 - EDITIONS.index(room.edition)])

    def _begin_anew(self) -> None:
        """Have nothing of ours on the hosts; where that can't be done, on fresh ones."""
        room = self._room
        try:
            room.do("teardown")
            room.require_bare()
            room.compare("")
        except (Lost, Stuck, LabError):
            room.open(len(room.machines))
            if not room.purge:
                room.do("apply")
                room.do("teardown")
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
                kind.happen(site)
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
        """Run what any user would run now, and look whether all came to its place."""
        room = self._room
        room.do(case.story.mend)
        self._state = case.story.ends
        if case.story.ends == "applied":
            room.require_applied()
            room.compare(room.edition)
        else:
            room.require_bare()
            room.compare("")
