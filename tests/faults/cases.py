"""Which fault at which moment of which run, and which of them make a good sample of all."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .kinds import KINDS
from .moments import CONNECTED, FINISHED, RUN, Moment

Verb = Literal["apply", "teardown"]
Begin = Literal["bare", "applied"]


@dataclass(frozen=True)
class Story:
    """A run that is hurt, and the one that mends it."""

    name: str
    recorded: str
    """The undisturbed run that has its moments."""
    begins: Begin
    verb: Verb
    mend: Verb

    @property
    def ends(self) -> Begin:
        return "applied" if self.mend == "apply" else "bare"


STORIES = (
    Story("apply", "apply", "bare", "apply", "apply"),
    Story("apply a change", "change", "applied", "apply", "apply"),
    Story("teardown, then apply", "teardown", "applied", "teardown", "apply"),
    Story("teardown twice", "teardown", "applied", "teardown", "teardown"),
)


@dataclass(frozen=True)
class Case:
    """One fault.

    Args:
        room: which kind of room it needs: ``cheap``, ``ray`` or ``environment``.
        story: the run.
        kind: of the fault.
        moment: when it happens.
    """

    room: str
    story: Story
    kind: str
    moment: Moment

    def __str__(self) -> str:
        return f"{self.room}: {self.story.name}: {self.kind} at {self.moment}"

    @property
    def host(self) -> int:
        """The host that is hurt: the head, at a moment that is of none."""
        return max(self.moment.host, 0)


def all_cases(room: str, recorded: Mapping[str, Sequence[Moment]]) -> list[Case]:
    """Return every fault at every moment of every story, as far as there is something to hurt then.

    In the same order each time: which host is quicker than another one differs from run to run.
    """
    by_host = {name: sorted(moments, key=lambda each: each.host) for name, moments in recorded.items()}
    return [
        Case(room, story, kind, moment)
        for story in STORIES
        for kind in KINDS
        for moment in by_host.get(story.recorded, ())
        if kind != "program" or _talks(moment, recorded[story.recorded])
    ]


def _talks(moment: Moment, moments: Sequence[Moment]) -> bool:
    """Tell whether our program runs on the moment's host then."""
    if moment.host == RUN:
        return False
    mine = [each.what for each in moments if each.host == moment.host]
    if CONNECTED not in mine or FINISHED not in mine:
        return False
    return mine.index(CONNECTED) <= mine.index(moment.what) < mine.index(FINISHED)


def bites(case: Case) -> bool:
    """Tell whether a fault comes in time to break the run: a sample is for these."""
    if case.kind == "refuse":  # a run logs in to each host once
        return case.moment.what in ("the run begins", "is connecting")
    return case.moment.what not in (FINISHED, "the run ends", "ends 'Remove everything'")


def spread(cases: Sequence[Case], most: int) -> list[Case]:
    """Return at most so many cases: as many of each kind in each story, and each kind at other moments than the next.

    The same each time for the same cases.
    """
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.story.name, case.kind), []).append(case)
    shares = _shares([len(group) for group in groups.values()], min(most, len(cases)))
    chosen: list[Case] = []
    for number, (group, share) in enumerate(zip(groups.values(), shares, strict=True)):
        begin = number * 0.618 % 1.0
        chosen += [group[int((step + begin) * len(group) / share)] for step in range(share)]
    return chosen


def _shares(sizes: Sequence[int], most: int) -> list[int]:
    """Share out so many among groups, one each in turn; small groups give what they can't take to the others.

    When there are fewer than groups, they go to groups that are far from each other.
    """
    order = sorted(range(len(sizes)), key=lambda number: (number * 7) % len(sizes) if len(sizes) % 7 else number)
    shares = [0] * len(sizes)
    left = min(most, sum(sizes))
    while left:
        for number in order:
            if left and shares[number] < sizes[number]:
                shares[number] += 1
                left -= 1
    return shares


def _alternating(cases: Sequence[Case]) -> list[Case]:
    """Return cases of every kind in turn."""
    by_kind = [[case for case in cases if case.kind == kind] for kind in KINDS]
    return [case for row in itertools.zip_longest(*by_kind) for case in row if case is not None]


def in_order(cases: Sequence[Case]) -> list[Case]:
    """Return cases so that most begin where the one before ended, and each kind comes soon."""
    waiting = {story.name: _alternating([case for case in cases if case.story == story]) for story in STORIES}
    found: list[Case] = []
    state: Begin = "bare"
    while any(waiting.values()):
        ready = [story for story in STORIES if waiting[story.name]]
        fitting = [story for story in ready if story.begins == state] or ready
        # a long line goes first: what is left over at the end would need a reset each
        story = max(fitting, key=lambda each: len(waiting[each.name]))
        found.append(waiting[story.name].pop(0))
        state = story.ends
    return found
