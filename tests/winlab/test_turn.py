"""The turn where the head is a Windows machine: who has it is said, it goes with its program, a stuck one is ended."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from ..lab.cluster import Cluster
from ..lab.command import Provision, Running
from ..lab.shell import wait_until
from .fixtures import StandInFactory
from .stand_in import StandIn

LIMIT = 280
"""Seconds for a command: it may begin with a bare interpreter, and wait for another."""
LOCK = r"C:\provision\lab\lock"
PLAYBOOK = r"""
- play: Work
  hosts: all
  tasks:
    - name: Take a while
      command:
        argv: ['C:\Program Files\Python311\python.exe', -c, "import os, time, pathlib; pathlib.Path('C:/data/begun').touch(); [time.sleep(0.2) for _ in iter(lambda: os.path.exists('C:/data/wait'), False)]; pathlib.Path('C:/data/one').touch()"]
        creates: 'C:\data\one'
        undo: [cmd, /c, del, 'C:\data\one', 'C:\data\begun']
"""  # noqa: E501


class Place:
    """A stand-in that is a cluster's head, alone."""

    def __init__(self, provision: Provision, folder: Path, stand_in: StandIn) -> None:
        self.stand_in, self._playbook = stand_in, folder / "playbook.yml"
        self._playbook.write_text(PLAYBOOK, encoding="utf-8")
        self.cluster = Cluster(provision, folder / "lab.yml", [stand_in], python=stand_in.python)
        self.cluster.declare(**stand_in.declared)

    def start(self, *flags: str) -> Running:
        return self.cluster.start("apply", "--yes", "--playbook", str(self._playbook), *flags)

    def at_work(self) -> Running:
        self.stand_in.path(r"C:\data\begun").unlink(missing_ok=True)
        self.stand_in.write(r"C:\data\wait", "")
        running = self.start()
        wait_until(lambda: self.stand_in.path(r"C:\data\begun").exists(), "it to begin", 90)
        return running

    def waiting(self) -> Running:
        running = self.start()
        wait_until(lambda: "waiting for the turn of" in running.err, "the second run to wait", 90)
        return running

    def programs(self) -> set[int]:
        """Return our programs, with Linux's numbers: the first one is the archive that was sent."""
        ours = (each for each in self.stand_in.processes() if "python" in each.command.lower())
        return {each.pid for each in ours if "run.py" in each.command or ".zip" in each.command}

    def let_go(self) -> None:
        self.stand_in.path(r"C:\data\wait").unlink(missing_ok=True)

    def note(self) -> dict[str, Any]:
        """Return what is noted in the lock that somebody else holds: it can be read all the same."""
        found: dict[str, Any] = json.loads(self.stand_in.path(LOCK).read_text())
        return found


@pytest.fixture
def place(provision: Provision, tmp_path: Path, stand_ins: StandInFactory) -> Place:
    return Place(provision, tmp_path, stand_ins(1)[0])


def test_the_turn_on_a_windows_head(place: Place) -> None:
    first = place.at_work()
    note = place.note()
    assert (note["verb"], note["ended"]) == ("apply", None) and int(note["born"]) > 0
    refused = place.cluster.answer(place.start("--lock-timeout", "0").wait(LIMIT), code=5)
    assert "nothing was done: it is the turn of" in refused.said("w1")
    second = place.waiting()
    place.let_go()
    assert place.cluster.answer(first.wait(LIMIT)).changed() == [("w1", "Take a while")]
    after = place.cluster.answer(second.wait(LIMIT))
    assert (after.changed(), after.differences()) == ([], []), "it has looked again"
    assert place.note()["ended"]


def test_a_killed_controller_and_a_program_that_hangs(place: Place) -> None:
    """What it leaves behind keeps nobody out; one that hangs is ended by whoever waits, which is certain who it is."""
    first = place.at_work()
    first.signal(signal.SIGKILL)
    first.wait()
    killed = time.monotonic()
    before = place.programs()
    second = place.at_work()
    print(f"the next run had the turn after {time.monotonic() - killed:.1f} s")
    (holder,) = place.programs() - before
    place.stand_in.inside(["kill", "-STOP", str(holder)])
    aged = {**place.note(), "alive": place.note()["alive"] - 1000.0}
    with place.stand_in.path(LOCK).open("r+b") as file:
        file.write(json.dumps(aged).encode().ljust(512))
    third = place.waiting()
    begun = time.monotonic()
    place.let_go()
    assert place.cluster.answer(third.wait(LIMIT)).code == 0
    print(f"a program that hung was ended, and the run done after {time.monotonic() - begun:.1f} s")
    assert second.wait(LIMIT).code in (3, 4)
