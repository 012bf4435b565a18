"""Old environments: which stay, which go, and what goes with them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote import service
from provisioner.remote.resources import environment, ray_history
from provisioner.remote.resources.old_environments import all_that_is_kept

from .remote_host import World, make, shown

SHA = {name: name * 64 for name in "abcdef"}


class Room:
    """A host with environments, interpreters and files in its store."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.root = self.world.root
        self.host = self.world.host()
        self.host.shared["python"] = "3.11.9"

    def environment(self, name: str, age: int, files: str = "", python: str = "3.11.9") -> None:
        """Have a finished environment, so many seconds old, that was made of files."""
        folder = self.root / "env" / name
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").write_text("")
        stamp = {"id": name.partition("-")[2], "python": python, "files": [SHA[file] for file in files]}
        (folder / "environment.json").write_text(json.dumps(stamp))
        os.utime(folder / "environment.json", (1e9 - age, 1e9 - age))

    def python(self, version: str, archive: str) -> None:
        folder = self.root / "python" / version
        (folder / "bin").mkdir(parents=True)
        (folder / "provision.json").write_text(json.dumps({"version": version, "archive": SHA[archive]}))

    def stock(self, files: str) -> None:
        for file in files:
            (self.root / "store" / SHA[file]).mkdir(parents=True)
            (self.root / "store" / SHA[file] / "file").write_text("x")

    def ran(self, *names: str) -> None:
        """Have these run, the newest last, which runs now."""
        for name in names:
            spec: dict[str, Any] = {
                "argv": [], "env": {}, "python": str(self.root / "env" / name / "bin" / "python"), "config": name,
                "environment": str(self.root / "env" / name), "versions": {}, "gcs": "", "dashboard": [],
                "temp_dir": str(self.root / "ray"),
            }  # fmt: skip
            ray_history.note(self.host, spec)
            service.write_spec(self.host, "ray-lab", spec)

    def resource(self, declared: str, keep: int) -> Any:
        return make("old_environments", environment=declared, keep=keep)

    def observe(self, declared: str, keep: int) -> list[str]:
        return [each["what"] for each in self.resource(declared, keep).observe(self.host)]

    def ensure(self, declared: str, keep: int) -> str:
        return str(self.resource(declared, keep).ensure(self.host))

    def left(self, what: str) -> set[str]:
        folder = self.root / what
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


@pytest.fixture
def room(tmp_path: Path) -> Room:
    made = Room(tmp_path)
    for age, name in enumerate("dcba"):
        made.environment(f"3.11.9-{name}", age)
    return made


@pytest.mark.parametrize(
    ("ran", "declared", "keep", "gone"),
    [
        ("d", "d", 2, "a"),
        ("d", "d", 3, ""),
        ("d", "d", 0, "abc"),
        ("ad", "d", 1, "bc"),
        ("bad", "d", 2, "c"),
        ("dba", "a", 1, "cd"),
        ("cab", "d", 1, "ac"),
        ("cab", "d", 2, "c"),
        ("", "d", 1, "ab"),
        ("d", "new", 1, "abc"),
        ("d", "new", 0, "abcd"),
    ],
)
def test_those_that_ran_last_stay(ran: str, declared: str, keep: int, gone: str, room: Room) -> None:
    room.ran(*(f"3.11.9-{name}" for name in ran))
    assert room.observe(declared, keep) == [f"environment 3.11.9-{name}" for name in gone]
    if declared != "new":
        room.ensure(declared, keep)
        left = {*"abcd"} - {*gone} | {*ran[-1:]}
        assert room.left("env") == {f"3.11.9-{name}" for name in left}


def test_what_runs_is_never_removed(room: Room) -> None:
    room.ran("3.11.9-c")
    assert room.ensure("d", 0).startswith("removed environment 3.11.9-a, environment 3.11.9-b")
    assert room.left("env") == {"3.11.9-c", "3.11.9-d"}


def test_what_is_unfinished_goes(room: Room) -> None:
    (room.root / "env" / "3.11.9-a" / "environment.json").write_text("{")
    (room.root / "env" / "3.11.9-x.work" / "cache").mkdir(parents=True)
    (room.root / "python" / "3.12.1.work").mkdir(parents=True)
    told = ["an unfinished environment", "an unfinished environment", "an unfinished Python"]
    assert room.observe("d", 5) == told
    room.ensure("d", 5)
    assert room.left("env") == {"3.11.9-b", "3.11.9-c", "3.11.9-d"}
    assert room.left("python") == set()
    assert room.observe("d", 5) == []


def test_interpreters_and_files_go_with_the_last_that_needs_them(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.environment("3.11.9-new", 0, "ab")
    room.environment("3.11.8-mid", 1, "ac", python="3.11.8")
    room.environment("3.10.4-old", 2, "d", python="3.10.4")
    for version, archive in (("3.11.9", "e"), ("3.11.8", "f"), ("3.10.4", "d")):
        room.python(version, archive)
    room.stock("abcdef")
    room.ran("3.10.4-old", "3.11.8-mid", "3.11.9-new")
    assert room.observe("new", 1) == ["environment 3.10.4-old", "Python 3.10.4"]
    assert room.ensure("new", 1) == "removed environment 3.10.4-old, Python 3.10.4"
    assert room.left("python") == {"3.11.8", "3.11.9"}
    assert room.left("store") == {SHA[name] for name in "abcef"}
    assert room.ensure("new", 0) == "removed environment 3.11.8-mid, Python 3.11.8"
    assert room.left("store") == {SHA[name] for name in "abe"}
    assert room.left("python") == {"3.11.9"}


def test_a_removal_that_is_interrupted_goes_on(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
    assert room.ensure("d", 2) == f"still in use: {room.root}/env/3.11.9-a"
    assert environment.read_stamp(str(room.root / "env" / "3.11.9-a")) is None, "nothing half removed is used"
    monkeypatch.undo()
    assert room.observe("d", 2) == ["an unfinished environment"]
    room.ensure("d", 2)
    assert room.left("env") == {"3.11.9-b", "3.11.9-c", "3.11.9-d"}


def test_what_a_purge_removes_is_told_with_its_size(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert all_that_is_kept(world.host()) == [], "nothing was ever made"
    for name, size in {"env/a/x": 2_000_000, "env/b/lib/y": 1_500_000, "store/c/z": 10, "log/ray.log": 9}.items():
        path = world.root / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"0" * size)
    assert shown(all_that_is_kept(world.host())) == [
        ("remove", "environments", "2 (3 MB)", ""), ("remove", "files that were sent", "1 (0 MB)", "")
    ]  # fmt: skip
