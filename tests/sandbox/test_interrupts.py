"""Runs that are ended by the user: in good order when asked once, at once when asked twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import soon

from .command import Room
from .run_cluster import box
from .support import alive

__all__ = ["box"]

STEPS = """
- play: Work
  hosts: workers
  tasks:
    - name: Step one
      command: {argv: [/bin/sh, -c, "cd {{ vars.home }}; echo $$ > pid; sleep $(cat seconds); touch one"],
                creates: "{{ vars.home }}/one", undo: [/bin/rm, -f, "{{ vars.home }}/one", "{{ vars.home }}/pid"]}
    - name: Step two
      command: {argv: [/bin/touch, "{{ vars.home }}/two"], creates: "{{ vars.home }}/two",
                undo: [/bin/rm, -f, "{{ vars.home }}/two"]}
- play: Afterwards
  hosts: all
  needs: Work
  tasks:
    - name: Step three
      command: {argv: [/bin/touch, "{{ vars.home }}/three"], creates: "{{ vars.home }}/three",
                undo: [/bin/rm, -f, "{{ vars.home }}/three"]}
"""


@pytest.fixture
def room(box: object, tmp_path: Path) -> Iterator[Room]:
    made = Room(box, 3, tmp_path)  # type: ignore[arg-type]
    takes(made, 0.1)
    yield made
    takes(made, 0.1)
    made.close(STEPS)
    for home in made.homes.values():
        (home / "seconds").unlink()


def takes(room: Room, seconds: float) -> None:
    for home in room.homes.values():
        (home / "seconds").write_text(str(seconds))


def at_work(room: Room) -> bool:
    return all((room.homes[name] / "pid").exists() for name in ("h2", "h3"))


def made(room: Room, name: str) -> list[str]:
    return [step for step in ("one", "two", "three") if (room.homes[name] / step).exists()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_once_finishes_the_step_and_begins_no_other(number: int, flags: tuple[str, ...], room: Room) -> None:
    takes(room, 4)
    run = room.start("apply", STEPS, *flags)
    assert soon(lambda: at_work(room), 40)
    run.signal(number)
    begun = time.monotonic()
    assert soon(lambda: "stopping: each host finishes or undoes its current step" in run.said, 3), "said at once"
    assert "once more Ctrl-C ends it at once" in run.said
    assert run.end() == 130
    assert time.monotonic() - begun < 25, run.said
    assert [made(room, name) for name in ("h1", "h2", "h3")] == [[], ["one"], ["one"]]
    if flags:
        document = run.document()
        assert (document["interrupted"], document["exit_code"]) == (True, 130)
        assert document["hosts"]["h2"]["message"] == "stopped before 'Step two' and 1 more was done"
        assert [task["status"] for task in document["hosts"]["h2"]["tasks"]] == ["changed"]
        assert document["next"][0]["explanation"] == "go on where it stopped"
    else:
        assert "PLAY RECAP" in run.said and "changed=1" in run.said and "Next:" in run.said
    takes(room, 0.1)
    assert room.start("apply", STEPS).end() == 0
    assert [made(room, name) for name in ("h1", "h2")] == [["three"], ["one", "two", "three"]]


def test_twice_ends_at_once(room: Room) -> None:
    takes(room, 60)
    run = room.start("apply", STEPS, "--json")
    assert soon(lambda: at_work(room), 40)
    pids = [int((room.homes[name] / "pid").read_text()) for name in ("h2", "h3")]
    run.signal()
    assert soon(lambda: "stopping" in run.said, 3)
    run.signal()
    begun = time.monotonic()
    assert run.end() == 130
    assert time.monotonic() - begun < 5
    document = run.document()
    assert (document["interrupted"], document["exit_code"]) == (True, 130)
    assert document["hosts"]["h2"]["status"] is None
    assert soon(lambda: not any(map(alive, pids)), 10), "what runs on the hosts ends with it"
    takes(room, 0.1)
    assert room.start("apply", STEPS, "--lock-timeout", "20").end() == 0


def test_a_step_that_does_not_end_is_broken_off(room: Room) -> None:
    takes(room, 300)
    run = room.start("apply", STEPS, "--json")
    assert soon(lambda: at_work(room), 40)
    pids = [int((room.homes[name] / "pid").read_text()) for name in ("h2", "h3")]
    run.signal()
    begun = time.monotonic()
    assert run.end() == 130
    assert 20 < time.monotonic() - begun < 40
    assert not any(map(alive, pids))
    assert "stopped before 'Step one'" in run.document()["hosts"]["h2"]["message"]


def test_who_waits_for_another_run_goes_at_once(room: Room) -> None:
    takes(room, 40)
    first = room.start("apply", STEPS)
    assert soon(lambda: at_work(room), 40)
    second = room.start("apply", STEPS)
    assert soon(lambda: "waiting for the turn" in second.said, 40)
    second.signal()
    begun = time.monotonic()
    assert second.end() == 130
    assert time.monotonic() - begun < 8
    first.signal(signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_question_is_ended_as_well(number: int, room: Room) -> None:
    """Nobody says no by wanting the run ended, and nothing is stopped."""
    assert room.start("apply", STEPS).end() == 0
    run = room.at_terminal("teardown", STEPS)
    assert soon(lambda: "Go on?" in run.said, 40), run.said
    run.signal(number)
    assert run.end(30) == 130, run.said
    assert "PLAY RECAP" in run.said and "stopping: each host finishes" in run.said
    assert made(room, "h2") == ["one", "two", "three"]


def test_an_end_before_any_host_was_contacted_is_told(room: Room) -> None:
    text = room.inventory.read_text()
    fifo = room.folder / "slow.yml"
    os.mkfifo(fifo)
    room.inventory.unlink()
    room.inventory.symlink_to(fifo)
    run = room.start("check", STEPS, "--json")
    time.sleep(1.5)  # it has begun, and reads the inventory
    run.signal(signal.SIGTERM)
    assert run.end(30) == 130, run.said
    assert (run.document()["exit_code"], run.document()["interrupted"]) == (130, True)
    room.inventory.unlink()
    room.inventory.write_text(text)
