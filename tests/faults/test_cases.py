"""The plan's own rules, and the table: which moments count, which cases make a sample, what is not done again."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from provisioner.events import Doing, Event, Finding, HostConnected, Notice, StillDoing, TaskFinished, TaskStarted

from .cases import STORIES, Case, all_cases, in_order, spread
from .journal import Journal, Outcome, figures, table, version
from .kinds import KINDS
from .moments import CONNECTED, FINISHED, RUN, Moment, moment

HOSTS = ["ctl", "w1", "w2"]


def moments() -> list[Moment]:
    """A run's: two of its own, and five of each host."""
    whats = ("is connecting", CONNECTED, "observed", "begins 'Greet'", "ends 'Greet'", FINISHED)
    return [Moment(RUN, "the run begins"), *(Moment(host, what) for what in whats for host in range(3))]


def cases() -> list[Case]:
    return all_cases("cheap", {"apply": moments(), "change": moments(), "teardown": moments()})


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (HostConnected(0.1, "w1", {}), Moment(1, CONNECTED)),
        (Doing(0.1, "ctl", "waiting for its turn: Lead"), None),
        (Doing(0.1, "ctl", "unpacking Python 3.11.9 for w2"), Moment(0, "is unpacking Python N for <2>")),
        (TaskStarted(0.1, "w2", "Prepare", "Greet"), Moment(2, "begins 'Greet'")),
        (TaskFinished(0.1, "w2", "Prepare", "Greet", "changed", 1.5), Moment(2, "ends 'Greet'")),
        (StillDoing(0.1, "w2", "Greet", "", 12.0), None),
        (Notice(0.1, "", "something"), None),
        (Finding(0.1, "w1", "something"), None),
    ],
)
def test_an_event_has_the_same_name_in_every_run(event: Event, told: Moment | None) -> None:
    assert moment(event, HOSTS) == told


def test_every_moment_meets_every_fault_in_every_story() -> None:
    found = cases()
    by_kind = {kind: sum(case.kind == kind for case in found) for kind in KINDS}
    every = len(moments()) * len(STORIES)
    talking = 3 * 4 * len(STORIES)  # from being connected to having finished
    assert by_kind == {kind: talking if kind == "program" else every for kind in KINDS}
    assert len({str(case) for case in found}) == len(found)


def test_which_host_was_quicker_changes_no_plan() -> None:
    slow = sorted(moments(), key=lambda each: -each.host)
    assert all_cases("cheap", {"apply": slow}) == all_cases("cheap", {"apply": moments()})


@pytest.mark.parametrize("most", [0, 1, 12, 24, 100, 10_000])
def test_a_sample_is_spread_evenly_and_the_same_each_time(most: int) -> None:
    sample = spread(cases(), most)
    assert sample == spread(cases(), most)
    assert len(set(map(str, sample))) == len(sample) == min(most, len(cases()))
    if most in (12, 24):
        assert {kind: sum(case.kind == kind for case in sample) for kind in KINDS} == dict.fromkeys(KINDS, most // 6)
        assert len({case.story.name for case in sample}) == len(STORIES)
        assert len({case.moment for case in sample}) > most // 2


def test_cases_follow_each_other_without_resets() -> None:
    order = in_order(spread(cases(), 100))
    assert sorted(map(str, order)) == sorted(map(str, spread(cases(), 100)))
    resets = sum(one.story.ends != two.story.begins for one, two in itertools.pairwise(order))
    assert resets < 5
    assert {case.kind for case in order[:30]} == set(KINDS), "whoever ends it early has seen each"


def outcome(case: Case, met: bool = True, code: int = 4, why: str = "", **more: Any) -> Outcome:
    more = {"version": version(), **more}
    return Outcome(str(case), case.room, case.story.name, case.kind, met, code, why, 2.0, **more)


def test_what_went_well_is_not_done_again(tmp_path: Path) -> None:
    first, second, third, fourth, fifth = cases()[:5]
    journal = Journal(tmp_path / "deep" / "faults.json", lambda line: None)
    journal.note(outcome(first))
    journal.note(outcome(second, why="a file was lost"))
    journal.note(outcome(fourth, met=False))
    journal.note(outcome(fifth, version="older code"))
    later = Journal(tmp_path / "deep" / "faults.json", lambda line: None)
    assert [later.is_done(case) for case in (first, second, third, fourth, fifth)] == [True, *[False] * 4]
    assert str(fifth) not in later.outcomes, "it would be told as today's"


def test_the_figures_count_faults_that_happened() -> None:
    mine = [case for case in cases() if case.story.name == "teardown twice" and case.kind == "cut"]
    one, two, three, four = mine[:4]
    late = outcome(four, code=0, bites=False)
    rows = figures([outcome(one, mended=3.0), outcome(two, why="lost"), outcome(three, met=False, code=0), late])
    assert rows[-1] == {
        "run": "all", "fault": "", "tried": 2, "broke the run": 2, "converged": 1, "lost": 1,
        "too late to hurt": 1, "did not happen": 1, "slowest mend": 3.0, "seconds": 8.0,
    }  # fmt: skip
    assert [row["tried"] for row in rows if row["run"] == "all of apply"] == [0]
    assert "teardown twice" in table([outcome(one)])
