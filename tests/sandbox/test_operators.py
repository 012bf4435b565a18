"""One operator at a time: runs that meet, wait for each other, and die with the turn in their hands."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.remote.turn import read
from provisioner.remote.wire import SILENCE
from tests.waiting import soon

from .command import Room
from .run_cluster import box
from .support import alive

__all__ = ["box"]

WORK = """
- play: Work
  hosts: workers
  tasks:
    - name: Take a while
      command: {argv: [/bin/sh, -c, "cd {{ vars.home }}; echo $$ >> begun; i=0; LOOP; touch done"],
                creates: "{{ vars.home }}/done", undo: [/bin/rm, -f, "{{ vars.home }}/done", "{{ vars.home }}/begun"]}
""".replace("LOOP", "while [ $i -lt $(cat seconds) ]; do sleep 1; i=$((i+1)); done")

THEN = """
- play: Then
  hosts: workers
  needs: Work
  tasks:
    - name: Go on
      command: {argv: [/bin/touch, "{{ vars.home }}/then"], creates: "{{ vars.home }}/then",
                undo: [/bin/rm, -f, "{{ vars.home }}/then"]}
"""


@pytest.fixture
def room(box: object, tmp_path: Path) -> Iterator[Room]:
    made = Room(box, 3, tmp_path)  # type: ignore[arg-type]
    takes(made, 0)
    yield made
    made.close(WORK + THEN)
    for home in made.homes.values():
        (home / "seconds").unlink()


def takes(room: Room, seconds: int) -> None:
    """Have work take so many seconds, also what has begun."""
    for home in room.homes.values():
        (home / "seconds").write_text(str(seconds))


def begun(room: Room) -> bool:
    return all((room.homes[name] / "begun").exists() for name in ("h2", "h3"))


def note(room: Room) -> dict[str, object] | None:
    return read(str(room.homes["h1"] / ".provision/clusters/lab/lock"))


def pids(room: Room) -> list[int]:
    """Return the pids of the programs that hold a host."""
    found = [read(str(home / ".provision/clusters/lab/lock")) for home in room.homes.values()]
    return [int(each["pid"]) for each in found if each]


def test_a_second_run_says_who_works_waits_and_looks_again(room: Room) -> None:
    takes(room, 90)
    first = room.start("apply", WORK)
    assert soon(lambda: begun(room), 40)
    second = room.start("apply", WORK, "--json")
    assert soon(lambda: "waiting for the turn of" in "".join(second.err), 40), second.said
    takes(room, 0)
    told = "".join(second.err)
    assert f"@{os.uname().nodename}" in told and "`apply` since" in told and "last sign of life" in told
    assert "(from 127.0.0.1)" in told
    assert (first.end(), second.end()) == (0, 0), second.said
    hosts = second.document()["hosts"]
    assert {host["status"] for host in hosts.values()} == {"ok"}, "the first one has done it all meanwhile"
    assert all((room.homes[name] / "begun").read_text().count("\n") == 1 for name in ("h2", "h3"))
    assert hosts["h2"]["differences"] == []
    left = note(room)
    assert left is not None and left["ended"]


@pytest.mark.parametrize("limit", ["0", "1"])
def test_who_does_not_want_to_wait_is_told_what_to_do(limit: str, room: Room) -> None:
    takes(room, 90)
    first = room.start("apply", WORK)
    assert soon(lambda: begun(room), 40)
    second = room.start("apply", WORK, "--lock-timeout", limit, "--json")
    assert second.end() == 5
    document = second.document()
    assert document["exit_code"] == 5
    assert {host["status"] for host in document["hosts"].values()} == {"skipped"}
    assert "nothing was done: it is the turn of" in document["hosts"]["h2"]["message"]
    assert "--lock-timeout" in document["hosts"]["h2"]["remedy"]
    assert document["next"][0]["explanation"] == "once the other run has ended"
    takes(room, 0)
    assert first.end() == 0


def test_a_run_that_changes_nothing_waits_for_nobody(room: Room) -> None:
    assert room.start("apply", WORK, "--limit", "h3").end() == 0
    takes(room, 90)
    first = room.start("apply", WORK, "--limit", "h2")
    assert soon((room.homes["h2"] / "begun").exists, 40)
    for verb, limit in (("check", "h2,h3"), ("apply", "h3")):
        other = room.start(verb, WORK, "--limit", limit)
        code = other.end()
        assert first.process.poll() is None, f"{verb} waited"
        assert code == (2 if verb == "check" else 0), other.said
    takes(room, 0)
    assert first.end() == 0


def test_a_limited_teardown_waits_as_well(room: Room) -> None:
    assert room.start("apply", WORK, "--limit", "h3").end() == 0
    takes(room, 90)
    first = room.start("apply", WORK, "--limit", "h2")
    assert soon((room.homes["h2"] / "begun").exists, 40)
    assert room.start("teardown", WORK, "--limit", "h3", "--lock-timeout", "0").end() == 5
    assert (room.homes["h3"] / "done").exists()
    takes(room, 0)
    assert first.end() == 0
    assert room.start("teardown", WORK, "--limit", "h3", "--lock-timeout", "0").end() == 0


def test_a_killed_controller_leaves_no_turn_behind(room: Room) -> None:
    takes(room, 60)
    first = room.start("apply", WORK)
    assert soon(lambda: begun(room), 40)
    first.signal(signal.SIGKILL)
    ended = time.monotonic()
    takes(room, 0)
    second = room.start("apply", WORK)
    assert second.end() == 0
    assert time.monotonic() - ended < 15


def test_a_silent_controller_loses_its_turn(room: Room) -> None:
    takes(room, 90)
    first = room.start("apply", WORK)
    assert soon(lambda: begun(room), 40)
    first.signal(signal.SIGSTOP)
    stopped = time.monotonic()
    try:
        second = room.start("apply", WORK)
        assert soon(lambda: "waiting for the turn of" in second.said, 40), second.said
        takes(room, 0)
        assert second.end() == 0, second.said
        assert SILENCE - 6 < time.monotonic() - stopped < SILENCE + 15
    finally:
        first.signal(signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_program_leaves_no_turn_behind(number: int, room: Room) -> None:
    takes(room, 60)
    first = room.start("apply", WORK)
    assert soon(lambda: begun(room), 40)
    for pid in pids(room):
        os.kill(pid, number)
    assert first.end(30) == 4
    takes(room, 0)
    assert room.start("apply", WORK, "--lock-timeout", "10").end() == 0


def test_a_program_that_hangs_is_ended_by_whoever_waits(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    takes(room, 60)
    first = room.start("apply", WORK)
    assert soon(lambda: begun(room), 40)
    holders = pids(room)
    for pid in holders:
        os.kill(pid, signal.SIGSTOP)
    lock = room.homes["h1"] / ".provision/clusters/lab/lock"
    for path in (lock, *(room.homes[name] / ".provision/clusters/lab/lock" for name in ("h2", "h3"))):
        if told := read(str(path)):
            aged = {**told, "alive": told["alive"] - 1000.0}
            with path.open("r+b") as file:
                file.write(json.dumps(aged).encode().ljust(512))
    second = room.start("apply", WORK)
    assert soon(lambda: not any(alive(pid) for pid in holders), 40), second.said
    takes(room, 0)
    assert second.end(60) == 0, second.said
    assert first.end(60) == 4


def test_the_head_is_away(room: Room, box: object) -> None:
    text = room.inventory.read_text()
    port = next(word for word in text.split("port: ")[1].split(","))
    room.inventory.write_text(text.replace(f"port: {port}", "port: 1", 1))
    run = room.start("apply", WORK, "--json")
    assert run.end() == 4
    notices = [each["message"] for each in run.document()["notices"]]
    assert any("no other run is kept out meanwhile: h1 can't hold the turn" in each for each in notices), notices
    assert run.document()["hosts"]["h2"]["status"] == "changed"
    room.inventory.write_text(text)


def test_nothing_more_is_begun_when_the_head_is_lost(room: Room) -> None:
    """Its program alone is killed: the other hosts finish their step, while the next run has the turn already."""
    takes(room, 90)
    first = room.start("apply", WORK + THEN, "--json")
    assert soon(lambda: begun(room), 40)
    holder = note(room)
    assert holder is not None
    os.kill(int(str(holder["pid"])), signal.SIGKILL)
    assert soon(lambda: "stopping: h1, which keeps other runs out, is lost" in first.said, 10), first.said
    second = room.start("apply", WORK + THEN, "--json")
    time.sleep(3)
    takes(room, 0)
    assert first.end(60) == 4, first.said
    hosts = first.document()["hosts"]
    assert {name: host["status"] for name, host in hosts.items()} == {
        "h1": "unreachable", "h2": "skipped", "h3": "skipped",
    }  # fmt: skip
    assert hosts["h2"]["message"] == "stopped before 'Go on' was done: h1, which kept other runs out, was lost"
    assert hosts["h2"]["remedy"] == "run the same command again"
    assert [task["status"] for task in hosts["h2"]["tasks"]] == ["changed"], "the step that had begun is done"
    assert not first.document()["interrupted"]
    assert second.end(60) == 0, second.said
    again = second.document()["hosts"]["h2"]
    assert [task["task"] for task in again["tasks"]] == ["Go on"], "it looked again once it had the host"
    assert all((room.homes[name] / "then").exists() for name in ("h2", "h3"))


@pytest.mark.parametrize("limit", ["h2", "h2,h3"])
def test_who_waited_for_one_host_does_what_is_still_to_be_done(limit: str, room: Room) -> None:
    """No head keeps the two apart: one waits for the other's program on the host itself, and looks again."""
    text = room.inventory.read_text()
    port = next(word for word in text.split("port: ")[1].split(","))
    room.inventory.write_text(text.replace(f"port: {port}", "port: 1", 1))
    takes(room, 90)
    first = room.start("apply", WORK, "--limit", limit)
    assert soon((room.homes["h2"] / "begun").exists, 40)
    second = room.start("apply", WORK, "--json", "--limit", "h2")
    assert soon(lambda: "no other run is kept out" in second.said, 40)
    time.sleep(3)
    takes(room, 0)
    assert first.end() == 4
    assert second.end() == 4
    assert (room.homes["h2"] / "begun").read_text().count("\n") == 1, "done once"
    told = second.document()["hosts"]["h2"]
    assert (told["status"], told["differences"], told["tasks"]) == ("ok", [], [])
    room.inventory.write_text(text)


def test_a_run_that_asks_its_user_says_so(room: Room) -> None:
    assert room.start("apply", WORK).end() == 0
    first = room.at_terminal("teardown", WORK)
    assert soon(lambda: "Go on?" in first.said, 40), first.said
    second = room.start("teardown", WORK, "--lock-timeout", "1", "--json")
    assert second.end() == 5
    assert "and waits for its user's answer" in second.document()["hosts"]["h2"]["message"]
    first.answer("n\n")
    assert first.end() == 1, first.said
    assert note(room) is None, "in good order: its folder was made for the lock alone"
