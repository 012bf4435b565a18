"""A host's marker, lock and root; errors in sentences; the kinds of resources."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from provisioner.remote import resource
from provisioner.remote.failure import Failure, from_exception
from provisioner.remote.marker import Marker, write_atomically
from provisioner.remote.turn import Busy

from .remote_host import World, file, make


def test_the_marker_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "root" / "marker.json"
    marker = Marker(str(path))
    marker.drop("a")
    marker.put("a", {"x": 1})
    marker.put("b", {"y": "é"})
    assert Marker(str(path)).entries == {"a": {"x": 1}, "b": {"y": "é"}}
    assert path.stat().st_mode & 0o777 == 0o600
    written = path.stat().st_mtime_ns
    marker.put("a", {"x": 1})
    assert path.stat().st_mtime_ns == written
    marker.drop("a")
    marker.drop("b")
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"entries": []}', '{"entries": {"a": 3}}', '{"version": 2}'])
def test_a_damaged_marker_says_nothing(text: str, tmp_path: Path) -> None:
    path = tmp_path / "marker.json"
    path.write_text(text)
    marker = Marker(str(path))
    assert marker.entries == {}
    marker.put("a", {})
    assert Marker(str(path)).entries == {"a": {}}


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError):
        write_atomically(str(path), b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"


def test_what_a_killed_run_left_beside_a_file_goes(tmp_path: Path) -> None:
    for name in ("file.part12", "file.part7-a0b1", "other.part12", "file.party", "file.part"):
        (tmp_path / name).write_text("half")
    write_atomically(str(tmp_path / "file"), b"whole")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "file.part", "file.party", "other.part12"]
    Marker(str(tmp_path / "marker.json")).forget()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "file.part", "file.party"]


@pytest.mark.parametrize(
    ("error", "message", "remedy"),
    [
        (OSError(28, "x", "/f"), "the disk is full (/f)", "free some space"),
        (OSError(13, "x", "/f"), "no permission (/f)", "become: true"),
        (OSError(30, "x"), "the file system is read-only", "remount"),
        (OSError(5, "Input/output error"), "Input/output error", ""),
        (Failure("as it is", "do"), "as it is", "do"),
        (KeyError("x"), "unexpected KeyError in test_remote_host.py", "report"),
    ],
)
def test_errors_are_sentences(error: Exception, message: str, remedy: str) -> None:
    try:
        raise error
    except Exception as caught:
        failure = from_exception(caught)
    assert failure.message.startswith(message)
    assert remedy in failure.remedy


@pytest.mark.parametrize("kind", sorted(resource.KINDS))
def test_every_kind_can_be_made_and_knows_its_name(kind: str) -> None:
    made = make(kind, name="x", path="x", argv=["x"])
    assert made.kind == kind
    assert made.key


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(Failure, match="no resource 'nonsense'"):
        make("nonsense")


def test_two_runs_do_not_work_on_one_host_at_once(tmp_path: Path) -> None:
    machine = World(tmp_path).host().platform
    path = str(tmp_path / "lock")
    held = machine.lock(path, 0.0)
    with pytest.raises(Busy, match="another run works on this host"):
        machine.lock(path, 0.0)
    Path(path).unlink()  # a teardown does, while it holds it
    again = machine.lock(path, 0.0)
    with pytest.raises(Failure):
        machine.lock(path, 0.0)
    del held, again


@pytest.mark.parametrize("purge", [False, True])
def test_the_root_goes_when_nothing_else_is_in_it(purge: bool, tmp_path: Path) -> None:
    world = World(tmp_path)
    (world.root / "env" / "abc").mkdir(parents=True)
    for name in ("lock", "members.json", "python.json"):  # the second as a former head has it
        (world.root / name).touch()
    world.host().platform.clean(str(world.root), purge)
    assert world.root.exists() is not purge
    assert purge or [path.name for path in world.root.iterdir()] == ["env"]


def test_purge_leaves_what_is_not_ours(tmp_path: Path) -> None:
    """A root may be a folder that others use: `root: /data`."""
    world = World(tmp_path)
    (world.root / "env").mkdir(parents=True)
    (world.root / "theirs").mkdir()
    world.host().platform.clean(str(world.root), purge=True)
    assert [path.name for path in world.root.iterdir()] == ["theirs"]


def test_the_marker_holds_no_more_than_it_must(tmp_path: Path) -> None:
    world = World(tmp_path)
    file()(world).ensure(world.host())
    text = json.loads((world.root / "marker.json").read_text())
    (entry,) = text["entries"].values()
    assert set(entry) == {"kind", "params", "before", "folders"}
