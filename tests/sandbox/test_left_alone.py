"""Hosts that have neither a Python nor anything of ours: `check` and `teardown` answer for them and leave no trace."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from provisioner.engine.options import RunOptions
from provisioner.engine.run import Run
from provisioner.events import Difference, Event, HostFinished, HostObserved
from provisioner.inventory.model import Host, Interpreter, Inventory
from provisioner.playbook.load import load_playbook
from provisioner.transport import program
from tests import interpreters

from .bare import USUAL, Bare, Make, whole

PLAYBOOK = """
- play: Prepare
  hosts: all
  tasks:
    - name: Note
      command: {argv: [/bin/true], creates: /nonexistent/then}
"""
SYSTEM = shutil.which("python3", path="/usr/bin:/usr/local/bin") or ""


class Packages:
    """Has one interpreter; counts how often it is wanted."""

    fixed = True

    def __init__(self, archive: interpreters.Archive) -> None:
        self._archive = archive
        self.asked = 0

    def interpreter(self, *args: Any, **more: Any) -> Any:
        self.asked += 1
        return self._archive

    def path(self, sha256: str) -> Path:
        return self._archive.path


class Room:
    """Runs over bare hosts."""

    def __init__(self, folder: Path, archive: interpreters.Archive) -> None:
        self._folder = folder
        self.packages = Packages(archive)
        self.events: list[Event] = []
        (folder / "playbook.yml").write_text(PLAYBOOK)

    def run(self, verb: Any, *hosts: Host) -> int:
        inventory = Inventory("lab", "2.60.0", hosts, self._folder / "inventory.yml")
        packages: Any = self.packages
        playbook = load_playbook(self._folder / "playbook.yml")
        run = Run(inventory, playbook, RunOptions(verb, yes=True), packages, time.monotonic())
        self.events = []
        return run.execute(self.events.append, lambda stopping: True)

    def differences(self) -> tuple[Difference, ...]:
        return tuple(each for event in self.events if isinstance(event, HostObserved) for each in event.differences)

    def ends(self) -> list[tuple[str, str, str]]:
        return sorted((e.host, e.status, e.message) for e in self.events if isinstance(e, HostFinished))


@pytest.fixture
def room(tmp_path: Path, archive: interpreters.Archive) -> Room:
    return Room(tmp_path, archive)


def everything(host: Bare) -> list[Path]:
    return list(host.home.rglob("*"))


def test_check_says_that_everything_is_to_be_added(bare: Make, room: Room) -> None:
    host = bare()
    for _ in range(2):
        assert room.run("check", host.declared()) == 2
        told = "the host is bare; `apply` brings Python 3.11.9 first"
        added = Difference("w1", "First contact", "add", "everything that is declared", after=told)
        assert room.differences() == (added,)
        assert [each[1] for each in room.ends()] == ["changed"]
        assert (everything(host), room.packages.asked) == ([], 0)


def test_teardown_has_nothing_to_do(bare: Make, room: Room) -> None:
    host, other = bare(), bare(("rm",))
    for source in ("managed", "system"):
        python = Interpreter(source=source)
        assert (
            room.run("teardown", host.declared(interpreter=python), other.declared("worker", interpreter=python)) == 0
        )
        told = "nothing of this cluster is there"
        assert room.ends() == [("w1", "ok", told), ("w2", "ok", told)]
        assert room.differences() == ()
        assert (everything(host), everything(other), room.packages.asked) == ([], [], 0)


def test_not_even_rm_is_needed_to_leave_no_trace(bare: Make, room: Room) -> None:
    host = bare(("uname",))
    assert room.run("check", host.declared()) == 2
    assert everything(host) == []


def test_check_refuses_a_host_that_is_not_what_was_declared(bare: Make, room: Room) -> None:
    host = bare()
    assert room.run("check", host.declared(os="windows")) == 3
    ((_, status, message),) = room.ends()
    assert status == "failed"
    assert "the inventory says `os: windows`" in message
    assert everything(host) == []


def test_check_says_what_is_missing_if_nothing_is_to_be_brought(bare: Make, room: Room) -> None:
    assert room.run("check", bare(("rm",)).declared(interpreter=Interpreter(source="system"))) == 3
    assert "there is no Python on the host that the program can run on" in room.ends()[0][2]


@pytest.mark.parametrize("verb", ["check", "teardown"])
@pytest.mark.parametrize("trace", ["root", ".provision"], ids=["root folder", "home folder"])
def test_where_something_is_ours_the_program_looks_at_it(
    trace: str, verb: str, bare: Make, room: Room, archive: interpreters.Archive
) -> None:
    host = bare()
    (host.home / trace).mkdir()
    room.run(verb, host.declared(root=str(host.home / "root"), python=archive.version))
    assert room.packages.asked == 1
    assert set(whole(archive)) <= set(host.left())


@pytest.mark.skipif(not SYSTEM, reason="no Python of the system here")
def test_a_host_with_a_python_is_asked_itself(bare: Make, room: Room) -> None:
    host = bare()
    host.script("python3", f'exec {SYSTEM} "$@"')
    assert room.run("check", host.declared(root=str(host.home / "root"))) == 2
    assert [each.task for each in room.differences()] == ["Note"]
    assert host.left() == [f"program/{program.identity()}"]


def test_one_bare_host_keeps_no_other_from_being_asked(bare: Make, room: Room, archive: interpreters.Archive) -> None:
    first, second = bare(), bare(USUAL)
    (second.home / "root").mkdir()
    worker = second.declared("worker", root=str(second.home / "root"), python=archive.version)
    assert room.run("check", first.declared(), worker) == 2
    assert [each.task for each in room.differences()] == ["First contact", "Note"] or \
        [each.task for each in room.differences()] == ["Note", "First contact"]  # fmt: skip
    assert everything(first) == []
