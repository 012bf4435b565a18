"""Conversations with hosts that are played: who goes when, who waits for whom, and what a lost head does to the run."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from provisioner.engine import turn
from provisioner.events import Difference, HostObserved
from tests.waiting import soon

from .scripted_hosts import Played, Scene, differs, ended

Make = Callable[..., Scene]
PLAYBOOK = """
- play: One
  hosts: all
  tasks:
    - name: First
      command: {argv: [/bin/true], creates: /one}
- play: Two
  hosts: all
  needs: One
  tasks:
    - name: Second
      command: {argv: [/bin/true], creates: /two}
"""
ALL = [differs(0, "First"), differs(1, "Second")]
CALM = """
- play: Head
  hosts: head
  tasks:
    - name: First
      command: {argv: [/bin/true], creates: /one}
- play: Workers
  hosts: workers
  needs: Head
  tasks:
    - name: Second
      command: {argv: [/bin/true], creates: /two}
- play: Afterwards
  hosts: head
  needs: [Head, Workers]
  tasks:
    - name: Third
      command: {argv: [/bin/true], creates: /three}
      when: {changed: true}
"""


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    return lambda playbook, **hosts: Scene(tmp_path, monkeypatch, playbook, **hosts)


def test_who_has_nothing_to_do_waits_for_nobody(scene: Make) -> None:
    slow = Played()
    slow.looks.clear()
    run = scene(CALM, h1=Played(), w1=Played(), w2=slow)
    going = run.start()
    assert soon(lambda: "w1" in run.finished(), 10), "it need not know what the slow one has to do"
    assert "h1" not in run.finished(), "others may still need the head"
    slow.looks.set()
    ended(going)
    assert (run.code, run.statuses()) == (0, dict.fromkeys(("h1", "w1", "w2"), "ok"))
    assert run.hosts["h1"].told("query") == [], "nobody wanted the turn"


def test_what_follows_a_change_is_done_by_a_head_that_had_nothing_to_do(scene: Make) -> None:
    late = Played([differs(0, "Second")])
    late.looks.clear()
    run = scene(CALM, h1=Played(), w1=Played(), w2=late)
    going = run.start()
    assert soon(lambda: "w1" in run.finished(), 10)
    late.looks.set()
    ended(going)
    assert run.code == 0
    assert run.done() == [("h1", "Third"), ("w2", "Second")]


def test_whoever_left_is_named_if_another_run_came_in_between(scene: Make) -> None:
    late = Played([differs(0, "Second")])
    late.looks.clear()
    run = scene(CALM, h1=Played(), w1=Played(), w2=late)
    run.hosts["h1"].turn = [{"stale": True}]
    going = run.start()
    assert soon(lambda: "w1" in run.finished(), 10)
    late.looks.set()
    ended(going)
    assert len(late.told("observe")) == len(run.hosts["h1"].told("observe")) == 1, "they look again"
    assert "the other run may have changed w1 after it was seen" in run.notices()
    again = [event for event in run.events if isinstance(event, HostObserved) and event.again]
    assert again == [], "nothing of it is news"


def test_a_lost_head_ends_the_run_in_good_order(scene: Make) -> None:
    run = scene(PLAYBOOK, h1=Played(ALL), w1=Played(ALL), w2=Played(ALL))
    workers = [run.hosts["w1"], run.hosts["w2"]]
    for each in workers:
        each.works.clear()
    going = run.start()
    assert soon(lambda: all(each.told("play") for each in workers), 10)
    run.hosts["h1"].close()
    assert soon(lambda: all(each.told("halt") and each.told("stop") for each in workers), 10)
    for each in workers:
        each.works.set()
    ended(going)
    assert (run.code, run.statuses()) == (4, {"h1": "unreachable", "w1": "skipped", "w2": "skipped"})
    told = run.finished()["w1"]
    assert told.message == "stopped before 'Second' was done: h1, which kept other runs out, was lost"
    assert told.counts["changed"] == 1 and told.counts["skipped"] == 1
    assert all([each["index"] for each in worker.told("play")] == [0] for worker in workers), "no other was begun"
    assert "stopping: h1, which keeps other runs out, is lost (the connection broke off)" in run.notices()


def test_nobody_is_asked_when_the_head_is_lost(scene: Make) -> None:
    late = Played([differs(0, "First", stops="Ray on w2")])
    late.looks.clear()
    run = scene(PLAYBOOK, h1=Played(ALL), w1=Played(ALL), w2=late)
    run.hosts["w1"].works.clear()
    asked: list[int] = []

    def confirm(stopping: tuple[Difference, ...]) -> bool:
        asked.append(len(stopping))
        return True

    going = run.start(confirm=confirm)
    assert soon(lambda: run.hosts["w1"].told("play"), 10)
    run.hosts["h1"].close()
    assert soon(lambda: "is lost" in run.notices(), 10)
    late.looks.set()
    run.hosts["w1"].works.set()
    ended(going)
    assert (run.code, asked) == (4, [])
    assert late.told("play") == []


def test_a_silent_head_has_nothing_begun(scene: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have given up the turn; once it is heard again, it has not."""
    run = scene(PLAYBOOK, h1=Played(ALL), w1=Played(ALL))
    head, worker = run.hosts["h1"], run.hosts["w1"]
    worker.works.clear()
    going = run.start()
    assert soon(lambda: worker.told("play") and len(head.told("play")) == 1, 10)
    head.last_heard = time.monotonic() - turn.CERTAIN - 1
    worker.works.set()
    time.sleep(2)
    assert len(worker.told("play")) == 1
    head.last_heard = time.monotonic() + 60
    ended(going)
    assert (run.code, len(worker.told("play"))) == (0, 2)


def test_a_head_that_must_not_be_touched_stays_for_the_others(scene: Make) -> None:
    """Its user says no; until the others are done, nobody else may begin."""
    run = scene(PLAYBOOK, h1=Played([differs(0, "First", stops="Ray on h1")]), w1=Played([differs(0, "First")]))
    run.hosts["w1"].works.clear()
    going = run.start(confirm=lambda stopping: False)
    assert soon(lambda: run.hosts["w1"].told("play"), 10)
    time.sleep(1)
    assert run.hosts["h1"].told("end") == [] and not run.hosts["h1"].closed.is_set()
    run.hosts["w1"].works.set()
    ended(going)
    assert (run.code, run.statuses()) == (1, {"h1": "skipped", "w1": "changed"})
    assert run.hosts["h1"].told("end") == [{"type": "end", "clean": False, "purge": False}]


def test_what_was_changed_while_a_host_waited_is_not_done_again(scene: Make) -> None:
    run = scene(PLAYBOOK, h1=Played(), w1=Played(ALL, [differs(1, "Second")]))
    run.hosts["w1"].again = True
    assert run.run() == 0
    assert run.done() == [("w1", "Second")]
    assert [each["index"] for each in run.hosts["w1"].told("play")] == [0, 1]


@pytest.mark.parametrize("yes", [False, True])
def test_what_would_be_stopped_now_must_have_been_agreed_to(yes: bool, scene: Make) -> None:
    run = scene(PLAYBOOK, h1=Played(), w1=Played(ALL, [differs(0, "First", stops="Ray on w1")]))
    run.hosts["w1"].again = True
    assert run.run(confirm=None if yes else lambda stopping: True) == (0 if yes else 3)
    assert bool(run.done()) is yes
    assert yes or "Ray on w1 would be stopped now, which you were not asked" in run.finished()["w1"].message


def test_a_host_that_comes_when_it_was_given_up_is_let_go(scene: Make) -> None:
    run = scene(PLAYBOOK, h1=Played(ALL), w1=Played(ALL))
    late = run.hosts["w1"]
    late.reachable.clear()
    run.hosts["h1"].works.clear()
    going = run.start()
    assert soon(lambda: run.hosts["h1"].told("play"), 10)
    run.hosts["h1"].close()
    ended(going)
    assert run.finished()["w1"].message == "stopped before it was reached"
    late.reachable.set()
    assert late.closed.wait(10)
    assert late.heard == [] and "unexpected" not in run.finished()["w1"].message


def test_another_run_has_the_turn(scene: Make) -> None:
    run = scene(PLAYBOOK, h1=Played(), w1=Played(ALL))
    run.hosts["h1"].turn = [{"holder": {"who": "kim@desk", "from": "10.0.0.7", "age": 5.0, "silent": 1.0}}]
    assert run.run(lock_timeout=0.0) == 5
    assert set(run.statuses().values()) == {"skipped"}
    assert run.hosts["w1"].told("play") == []
