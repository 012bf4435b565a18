"""The store of received files: whole and verified or not there, resumed where a transfer was cut off."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from provisioner.remote.failure import Failure
from provisioner.remote.store import Store, shown

from .remote_host import Controller, Sent

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Room:
    """A store, and the controller that fills it."""

    def __init__(self, folder: Path) -> None:
        self.controller = Controller()
        self.folder = folder / "store"
        self.said: list[str] = []
        self.offer(CONTENT)

    def offer(self, content: bytes, name: str = "") -> dict[str, Any]:
        """Have a file to send; returns what is asked for."""
        sha256 = self.controller.offer(content)
        return {"sha256": sha256, "filename": name or f"{sha256[:6]}.whl", "size": len(content)}

    def store(self) -> Store:
        """The store as a new conversation sees it."""
        return Store(str(self.folder), self.controller, self.said.append)  # type: ignore[arg-type]

    def fetch(self) -> Path:
        return Path(self.store().fetch(SHA256, "a.whl", len(CONTENT)))

    def lay(self, name: str, content: bytes) -> Path:
        """Have something in the folder of the file."""
        path = self.folder / SHA256 / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def test_a_file_is_sent_once(room: Room) -> None:
    store = room.store()
    path = store.fetch(SHA256, "a.whl", len(CONTENT))
    assert Path(path) == room.folder / SHA256 / "a.whl"
    assert store.fetch(SHA256, "a.whl", len(CONTENT)) == path
    assert room.fetch().read_bytes() == CONTENT
    assert room.controller.sent == [(SHA256, 0)]
    assert room.files() == ["a.whl"]


def test_many_are_asked_for_at_once(room: Room) -> None:
    """Before the first of them has come: the way to the controller is paid for once."""
    wanted = [room.offer(b"%d" % number * 1000) for number in range(60)]
    asked: list[int] = []

    class Later(Sent):
        def wait(self) -> None:
            asked.append(len(room.controller.sent))

    send = room.controller.need

    def need(sha256: str, offset: int, sink: Callable[[bytes], None]) -> Sent:
        send(sha256, offset, sink)
        return Later()

    room.controller.need = need  # type: ignore[method-assign]
    paths = room.store().fetch_all(wanted, "packages")
    assert asked == [60] * 60
    assert all(Path(paths[each["sha256"]]).stat().st_size == each["size"] for each in wanted)


NOTHING, HALF = b"", CONTENT[: len(CONTENT) // 2]
PARTS = {
    "nothing": (NOTHING, [0]),
    "half": (HALF, [len(HALF)]),
    "all but the name": (CONTENT, [len(CONTENT)]),
    "another half": (b"x" + HALF[1:], [len(HALF), 0]),
    "zeros after a power cut": (HALF + bytes(1000), [len(HALF) + 1000, 0]),
    "more than all": (CONTENT + b"x", [0]),
}


@pytest.mark.parametrize(("part", "offsets"), PARTS.values(), ids=PARTS)
def test_a_transfer_goes_on_where_it_ended(part: bytes, offsets: list[int], room: Room) -> None:
    room.lay(".part", part)
    assert room.fetch().read_bytes() == CONTENT
    assert room.controller.sent == [(SHA256, offset) for offset in offsets]
    assert room.files() == ["a.whl"]


STORED = {"of another size": CONTENT[:-1], "empty": b"", "of the right size": bytes(len(CONTENT))}


@pytest.mark.parametrize("content", STORED.values(), ids=STORED)
def test_a_stored_file_that_was_damaged_is_not_used(content: bytes, room: Room) -> None:
    """As after a power cut: the name is there, the content is not."""
    room.lay("a.whl", content)
    assert room.fetch().read_bytes() == CONTENT
    assert room.controller.sent == [(SHA256, 0)]


@pytest.mark.parametrize("part", [b"", HALF, b"x"], ids=["fresh", "resumed", "resumed from nonsense"])
def test_what_always_arrives_damaged_is_told(part: bytes, room: Room) -> None:
    room.controller.files[SHA256] = bytes(len(CONTENT))
    room.lay(".part", part)
    with pytest.raises(Failure, match=r"a\.whl arrived damaged"):
        room.fetch()
    assert room.files() == []
    assert len(room.controller.sent) == 2 if part else 1


def test_an_empty_file(room: Room) -> None:
    empty = room.offer(b"", "empty")
    assert Path(room.store().fetch_all([empty], "it")[empty["sha256"]]).read_bytes() == b""


def test_what_one_thread_receives_the_others_wait_for(room: Room) -> None:
    others, go = [room.offer(b"%d" % number * 5000) for number in range(4)], threading.Event()
    send = room.controller.need

    def slow(sha256: str, offset: int, sink: Callable[[bytes], None]) -> Sent:
        go.wait(5)
        return send(sha256, offset, sink)

    room.controller.need = slow  # type: ignore[method-assign]
    store, got = room.store(), []
    threads = [
        threading.Thread(target=lambda some=some: got.append(store.fetch_all(some, "x")))
        for some in (others, others[:2], others[2:], others)
    ]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(10)
    assert sorted(map(len, got)) == [2, 2, 4, 4]
    assert len(room.controller.sent) == 4


def test_when_one_thread_fails_it_is_the_turn_of_another(room: Room) -> None:
    waiting, failed = threading.Event(), threading.Event()
    send = room.controller.need

    def fails_first(sha256: str, offset: int, sink: Callable[[bytes], None]) -> Sent:
        if failed.is_set():
            return send(sha256, offset, sink)
        waiting.wait(5)
        failed.set()
        raise Failure("the controller does not have it")

    room.controller.need = fails_first  # type: ignore[method-assign]
    store, said = room.store(), []

    def first() -> None:
        with pytest.raises(Failure, match="does not have it"):
            store.fetch(SHA256, "a.whl", len(CONTENT))
        said.append("told")

    thread = threading.Thread(target=first)
    thread.start()
    threading.Timer(0.2, waiting.set).start()
    while not store._coming:
        pass
    assert Path(store.fetch(SHA256, "a.whl", len(CONTENT))).read_bytes() == CONTENT
    thread.join(5)
    assert said == ["told"]


def test_too_little_room_is_told_before_anything_is_sent(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all files together, without what is there already."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=3 << 20))
    wanted = [room.offer(bytes([number]) * (1 << 20), f"{number}") for number in range(5)]
    store = room.store()
    store.fetch_all(wanted[:1], "packages")
    room.controller.sent.clear()
    with pytest.raises(Failure) as caught:
        store.fetch_all(wanted, "packages")
    there = f"{room.folder} has 3 MiB free, 4 MiB more are needed"
    assert caught.value.message == f"there is no room for packages: {there}"
    assert "free some space there" in caught.value.remedy
    assert room.controller.sent == []
    assert len(store.fetch_all(wanted[:3], "packages")) == 3


def test_a_disk_that_becomes_full_is_told_and_not_kept_full(room: Room) -> None:
    """/dev/full is a disk without room."""
    part = room.folder / SHA256 / ".part"
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    with pytest.raises(Failure) as caught:
        room.fetch()
    assert caught.value.message.startswith(f"the disk became full while a.whl arrived: {room.folder} has ")
    assert caught.value.message.endswith("free, 500 KiB more are needed")
    assert not part.is_symlink(), "what had arrived would only keep the disk full"
    assert room.fetch().read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("sha256", "filename"),
    [(SHA256, "../a"), (SHA256, ".part"), (SHA256, ""), (SHA256, "a/b"), (SHA256, "c:a"), (SHA256, "a\\b"),
     ("../" + SHA256[3:], "a"), (SHA256[:-1], "a"), (SHA256.upper(), "a")],
)  # fmt: skip
def test_nothing_is_written_elsewhere(sha256: str, filename: str, room: Room) -> None:
    with pytest.raises(Failure, match="is no name for a file in the store"):
        room.store().fetch(sha256, filename, 5)
    assert not room.folder.exists()


def test_progress_is_told_in_bytes_and_not_too_often(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [room.offer(bytes([number]) * 3_000_000) for number in range(4)]
    room.lay(".part", b"")
    clock = iter(range(100, 100_000))
    monkeypatch.setattr("provisioner.remote.store.time", SimpleNamespace(monotonic=lambda: next(clock) / 100))
    room.store().fetch_all(wanted, "packages")
    assert room.said[0] == "receiving packages, 0 of 12 MB"
    assert all(said.startswith("receiving packages, ") and said.endswith(" of 12 MB") for said in room.said)
    megabytes = [int(said.split()[2]) for said in room.said]
    assert megabytes == sorted(megabytes)
    assert 3 <= len(megabytes) <= 8, "a look at each of 180 pieces, a word at every fiftieth"


def test_small_files_are_not_worth_a_word(room: Room) -> None:
    room.fetch()
    assert room.said == []


@pytest.mark.parametrize(("size", "text"), [(0, "0 KiB"), (1, "1 KiB"), (1 << 20, "1 MiB"), (5 << 30, "5120 MiB")])
def test_sizes(size: int, text: str) -> None:
    assert shown(size) == text
