"""Conversations with hosts that are played: who goes when, who waits for whom, and what a lost head does to the run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from provisioner.engine import turn
from provisioner.engine.gates import Gates
from provisioner.engine.outcome import Outcome
from provisioner.engine.seen import Seen
from provisioner.engine.walk import Walk
from provisioner.events import Difference, Event, HostFinished, HostObserved
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
    run = scene(PLAYBOOK, h1=Played(ALL), w1=Played(ALL), w2=Played(ALL))
    head, *workers = run.hosts.values()
    for each in workers:
        each.works.clear()
    going = run.start(concurrency=1)
    assert soon(lambda: any(each.told("play") for each in workers) and len(head.told("play")) == 1, 10)
    worker, other = sorted(workers, key=lambda each: not each.told("play"))
    other.works.set()
    time.sleep(0.5)  # it waits for the slot
    head.last_heard = time.monotonic() - turn.CERTAIN - 1
    assert soon(lambda: worker.told("pause"), 10), "it begins no further task of its play either"
    worker.works.set()
    time.sleep(2)
    assert (len(worker.told("play")), len(other.told("play"))) == (1, 0)
    head.last_heard = time.monotonic() + 60
    ended(going)
    assert (run.code, len(worker.told("play")), len(other.told("play"))) == (0, 2, 2)
    assert [each["on"] for each in worker.told("pause")] == [True, False]


def test_a_head_whose_task_takes_too_long_stays_for_the_others(scene: Make) -> None:
    """It fails alone: its program ends what it does, and keeps other runs out until the others are done."""
    run = scene(PLAYBOOK, h1=Played(ALL), w1=Played(ALL))
    head, worker = run.hosts["h1"], run.hosts["w1"]
    head.works.clear()
    worker.looks.clear()
    going = run.start(task_timeout=3.0)
    assert soon(lambda: head.told("play"), 10)
    time.sleep(1.5)
    worker.works.clear()
    worker.looks.set()
    assert soon(lambda: head.told("cut"), 10)
    assert not head.closed.is_set() and worker.told("play")
    worker.works.set()
    ended(going)
    assert (run.code, run.statuses()) == (3, {"h1": "failed", "w1": "changed"})
    assert "'First' did not end within 3 s" in run.finished()["h1"].message
    assert head.closed.is_set() and worker.told("halt") == []


def test_nobody_goes_on_before_a_host_that_looks_again(scene: Make) -> None:
    """It had nothing to do; another run has worked there meanwhile."""
    run = scene(PLAYBOOK, h1=Played(ALL), w1=Played([], [differs(0, "First")]))
    head, worker = run.hosts["h1"], run.hosts["w1"]
    worker.looks.clear()
    head.answers.clear()
    head.turn = [{"stale": True}]
    going = run.start()
    assert soon(lambda: head.told("query"), 10)
    worker.looks.set()
    time.sleep(0.5)
    worker.looks.clear()
    head.answers.set()
    assert soon(lambda: worker.told("observe") and head.told("play"), 10)
    time.sleep(1)
    assert [each["index"] for each in head.told("play")] == [0]
    worker.looks.set()
    ended(going)
    assert (run.code, ("w1", "First") in run.done()) == (0, True)


def test_who_keeps_redis_stays_until_the_head_is_through(scene: Make) -> None:
    run = scene(PLAYBOOK, h1=Played(), w1=Played(), w2=Played())
    run.keeper = "w1"
    run.hosts["h1"].looks.clear()
    going = run.start("check")
    assert soon(lambda: "w2" in run.finished(), 10)
    time.sleep(0.5)
    assert "w1" not in run.finished(), "the head may ask it yet"
    run.hosts["h1"].looks.set()
    ended(going)
    assert run.code == 0


def test_a_report_that_breaks_keeps_nobody_waiting(scene: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    broken: list[object] = []
    monkeypatch.setattr(threading, "excepthook", broken.append)
    run = scene(PLAYBOOK, h1=Played(), w1=Played())

    def breaks(event: Event) -> None:
        run.events.append(event)
        if isinstance(event, HostFinished) and event.host == "w1":
            raise OSError("no space left on device")

    run.take = breaks
    assert run.run() == 0
    assert soon(lambda: len(broken) == 1, 10)


def test_what_a_shut_gate_kept_back_is_counted_once() -> None:
    tasks = [{"name": "First", "resource": "command", "when": {}}]
    declaration: Any = SimpleNamespace(
        host=SimpleNamespace(name="w1"), plays=["Two"], hello={"plays": [{"tasks": tasks}]}
    )
    run: Any = SimpleNamespace(stopping=threading.Event(), changed=threading.Event(), why_stopping="")
    gates = Gates({"One": {"h1"}, "Two": {"w1"}}, {"Two": ("One",)}, reverse=False)
    gates.gone("h1")
    ear: Any = SimpleNamespace(done=set())
    walk = Walk(run, declaration, "apply", gates, ear, Outcome(), threading.Semaphore())
    walk.seen = Seen("w1", {"tasks": [differs(0, "First")]})
    walk.walk()
    walk.note_undone()
    assert walk._outcome.counts["skipped"] == 1


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
