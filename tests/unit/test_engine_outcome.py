"""How a run is judged, and what is said of a host beside that."""

from __future__ import annotations

import time

import pytest

from provisioner.engine.outcome import Outcome, exit_code
from provisioner.engine.remarks import about_clock, worth_telling
from provisioner.errors import HostFailed, Unreachable
from provisioner.events import Verb


def outcome(state: str) -> Outcome:
    made = Outcome()
    if state == "failed":
        made.fail(HostFailed("it broke", remedy="mend it"))
    elif state == "unreachable":
        made.fail(Unreachable("nobody there"))
    elif state == "skipped":
        made.skip("its turn never came")
    elif state == "refused":
        made.refused = True
        made.skip("no")
    elif state == "pending":
        made.pending = True
    elif state == "changed":
        made.count("changed")
    return made


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ("ok", 0),
        ("ok changed", 0),
        ("ok pending", 2),
        ("pending unreachable", 4),
        ("ok unreachable skipped", 4),
        ("unreachable failed", 3),
        ("ok skipped", 3),
        ("refused failed", 1),
        ("", 0),
    ],
)
def test_exit_codes(states: str, code: int) -> None:
    assert exit_code([outcome(state) for state in states.split()]) == code


@pytest.mark.parametrize(
    ("state", "status"),
    [("ok", "ok"), ("changed", "changed"), ("pending", "changed"), ("failed", "failed"),
     ("unreachable", "unreachable"), ("skipped", "skipped"), ("refused", "skipped")],
)  # fmt: skip
def test_statuses(state: str, status: str) -> None:
    assert outcome(state).status == status


def test_the_first_cause_stays() -> None:
    made = outcome("failed")
    made.fail(Unreachable("later"))
    made.skip("even later")
    assert (made.status, made.message, made.remedy) == ("failed", "it broke", "mend it")
    skipped = outcome("skipped")
    skipped.fail(Unreachable("worse"))
    assert (skipped.status, skipped.message) == ("unreachable", "worse")


@pytest.mark.parametrize(
    ("verb", "told"),
    [
        ("apply", ["fine", "notice", "needs elevation"]),
        ("check", ["fine", "notice", "needs elevation"]),
        ("rollback", ["needs elevation"]),
        ("teardown", ["needs elevation"]),
    ],
)
def test_which_findings_are_told(verb: Verb, told: list[str]) -> None:
    found = [{"severity": each, "message": "m", "remedy": ""} for each in ("fine", "notice", "needs elevation")]
    assert [each["severity"] for each in worth_telling(found, verb)] == told


@pytest.mark.parametrize(
    ("off", "told"),
    [(None, ""), (0.0, ""), (29.0, ""), (90.4, "its clock is 90 s ahead of"), (-3600.0, "its clock is 3600 s behind")],
)
def test_a_clock_that_is_off(off: float | None, told: str) -> None:
    said = about_clock({} if off is None else {"clock": time.time() + off})
    assert (said is None) if not told else (said is not None and said[0].startswith(told))
