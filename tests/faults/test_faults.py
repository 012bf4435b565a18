"""A sample of the fault suite, over all kinds of faults and runs: each is healed by the next run. `make faults` does
all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.command import Provision
from tests.lab.machines import Lab

from .cases import all_cases, bites, in_order, spread
from .journal import Journal, table
from .kinds import KINDS
from .lane import Lane
from .room import Room

SAMPLE = 12


@pytest.fixture
def room(lab: Lab, provision: Provision, tmp_path: Path) -> Iterator[Room]:
    made = Room(lab, provision, tmp_path / "room")
    try:
        made.open()
        yield made
    finally:
        made.close()


def test_whatever_ends_a_run_the_next_one_mends_it(room: Room, tmp_path: Path) -> None:
    sample = spread([case for case in all_cases("cheap", room.record()) if bites(case)], SAMPLE)
    journal = Journal(tmp_path / "faults.json")
    Lane(room, journal).work(in_order(sample))
    found = list(journal.outcomes.values())
    print(table(found))
    assert [(each.case, each.why) for each in found if not each.converged] == []
    assert len(found) == SAMPLE
    assert {each.kind for each in found if each.met} == set(KINDS)
    assert sum(each.met for each in found) >= SAMPLE - 2, "the moments of a run are not those that were recorded"
    assert sum(each.code != 0 for each in found) >= SAMPLE // 2, "faults that break no run prove nothing"
