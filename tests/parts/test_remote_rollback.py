"""From one version back to another by `rollback`: what nodes return to, and when they do not."""

from __future__ import annotations

import pytest

from provisioner.remote import service
from provisioner.remote.failure import Failure
from provisioner.remote.resources import ray_history, ray_state
from tests.unit.ray_stage import dashboard
from tests.unit.remote_host import shown

from .ray_life import Life, head, no_patience, worker

__all__ = ["dashboard", "head", "no_patience", "worker"]


@pytest.mark.parametrize(
    ("limit", "state", "left"),
    [(["w1"], "ALIVE", True), (["w1"], "DEAD", False), (["w1", "w2"], "ALIVE", False), ([], "ALIVE", False)],
    ids=["left out", "gone already", "takes part", "everybody takes part"],
)
def test_a_head_that_goes_back_alone_says_whom_it_leaves(limit: list[str], state: str, left: bool, head: Life) -> None:
    head.apply("e1")
    head.apply("e2")
    head.others = [("m2", "w2", "c", state)]
    head.dashboard.nodes(("n9", "w1", "e2", "ALIVE"), *head.others)
    head.world.controller.answers["controller", "limit"] = limit or (lambda args: [])
    ray_state._cache.clear()
    found = head.resource().former(head.world.host())
    what = "the nodes on w2, which take no part in this run"
    stops = [each["stops"] for each in found if each["what"] == what]
    assert stops == ([what] if left else [])
    said = head.rollback()
    assert ("; left out: w2, which `provision rollback` without --limit takes along" in said) is left
    assert head.runs() == ("e1", "e1")
    assert head.resource().former(head.world.host()) == [], "a second time there is nothing to leave"


def test_a_head_goes_back_and_stays_there(head: Life) -> None:
    assert head.rollback() == "no Ray of ours is on this host"
    head.apply("e1")
    first = "there is nothing to go back to: Ray 2.58.0, Python 3.11.9 is the first that ran here"
    assert head.rollback() == first
    head.apply("e1", "e1b")
    assert head.rollback() == first, "another configuration is no other environment"
    head.begin(5)
    head.apply("e2")
    head.begin(6)
    head.apply("e2", "e2b")
    assert ray_history.told(head.world.host(), rollback=True) == {
        "versions": {"ray": "2.58.0", "python": "3.11.9"},
        "gcs": head.params["gcs"], "dashboard": head.params["dashboard"], "env": {}, "since": 5,
    }  # fmt: skip
    assert (ray_history.told(head.world.host(), rollback=False) or {})["since"] == 0
    ray_state._cache.clear()
    found = shown(head.resource().former(head.world.host()))
    assert ("change", "Ray", "2.60.0", "2.58.0") in found and (
        "change",
        "ray environment",
        "3.11.9-e2",
        "3.11.9-e1",
    ) in found
    assert head.rollback().startswith("Ray 2.60.0, Python 3.11.9 -> Ray 2.58.0, Python 3.11.9: in the cluster after")
    assert head.runs() == ("e1", "e1b")
    for _ in range(2):
        assert head.rollback() == "nothing to do", "going back twice is going back once"
        assert (ray_history.told(head.world.host(), rollback=True) or {})["since"] == 5, "late workers still follow"
    head.service.active = False
    assert "in the cluster" in head.rollback(), "what was interrupted goes on"
    assert head.runs() == ("e1", "e1b")
    assert ("change", "Ray", "2.58.0", "2.60.0") in head.differences(), "check tells what the inventory declares"
    head.apply("e2")
    assert head.rollback().startswith("Ray 2.60.0")


def test_a_rollback_that_does_not_come_up_returns_to_what_ran(head: Life) -> None:
    head.apply("e1")
    head.apply("e2")
    head.broken = {"e1"}
    with pytest.raises(Failure, match=r"Ray 2.58.0 did not come up: .*; went back to the former one \(2.60.0\)"):
        head.rollback()
    assert head.runs() == ("e2", "e2")


def test_nothing_is_stopped_for_an_environment_that_does_not_work(head: Life) -> None:
    head.apply("e1")
    head.apply("e2")
    python = head.world.root / "env" / "3.11.9-e1" / "bin" / "python"
    for script, message in (
        ("echo oops; exit 1", "the installed packages can't be imported: oops"),
        ("""echo '{"ray": "2.9.3", "python": "3.11.9"}'""", "ray 2.9.3 in place of 2.58.0"),
    ):
        python.write_text(f"#!/bin/sh\n{script}\n")
        with pytest.raises(Failure, match=message):
            head.rollback()
    python.unlink()
    assert "nothing to go back to" in head.rollback()
    assert head.runs() == ("e2", "e2") and head.service.active


def test_a_worker_follows_its_head(worker: Life) -> None:
    worker.world.controller.answers["ctl", "destination"] = lambda args: None
    assert worker.rollback() == "nothing to do"
    worker.apply("e1")
    worker.apply("e2")
    worker.apply("e3")
    assert worker.rollback() == "nothing to do", "a head that can't go back keeps its workers"
    worker.head_says("e1")
    assert "-> Ray 2.58.0" in worker.rollback()
    assert worker.rollback() == "nothing to do"
    worker.head_says("e3", gcs="192.0.2.1:6379")
    with pytest.raises(Failure, match=r"Ray 2.61.0, Python 3.11.9, to which the head goes back, is not on this host"):
        worker.rollback()


@pytest.mark.parametrize(
    ("since", "goes"),
    [(0, True), (5, True), (6, False)],
    ids=["the head stays", "it came with what the head leaves", "it was there before that"],
)
def test_a_worker_with_other_packages_of_the_same_version(since: int, goes: bool, worker: Life) -> None:
    worker.begin(4)
    worker.apply("e1")
    worker.begin(5)
    worker.apply("e1b")
    worker.head_says("e1", since=since)
    for _ in range(2):
        said = worker.rollback()
        assert worker.runs()[0] == ("e1" if goes else "e1b")
    assert said == "nothing to do"


@pytest.mark.parametrize(
    ("env", "python", "fits"),
    [({}, "3.11.9", True), ({}, "3.11.8", False), ({"RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL": "minor"}, "3.11.8", True),
     ({"RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL": "minor"}, "3.12.8", False)],
)  # fmt: skip
def test_which_pythons_can_be_in_one_cluster(env: dict[str, str], python: str, fits: bool, worker: Life) -> None:
    worker.apply("e1", env=env)
    worker.apply("e2", env=env)
    worker.head_says("e1", versions={"ray": "2.58.0", "python": python})
    if fits:
        assert "-> Ray 2.58.0" in worker.rollback()
    else:
        with pytest.raises(Failure, match="is not on this host"):
            worker.rollback()


def test_secrets_of_either_configuration_stay_hidden(head: Life) -> None:
    head.apply("e1", env={"X": "old-secret"}, secret=["env X"])
    assert shown(head.resource(env={"X": "y"}, secret=[]).observe(head.world.host())) == [
        ("change", "ray env X", "another secret", "a secret")
    ]
    assert service.read_spec(head.world.host(), "ray-lab") is not None
