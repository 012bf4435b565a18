"""Files on their way to the remote program, in its own process: whole or not there, whatever happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from .remote_talk import CONTENT, SHA256, Talk, lay, soon, talk, touch, unpacked

__all__ = ["talk", "unpacked"]


def begin(talk: Talk, path: Path) -> int:
    """Have a file asked for; returns the number of the request."""
    talk.hello(lay(path))
    talk.hear("observed")
    talk.send({"type": "play", "index": 0, "changed": False})
    need = talk.hear("need")
    assert need["sha256"] == SHA256
    return int(need["id"])


TRANSFERS = {"right": CONTENT, "other": b"y" + CONTENT[1:], "short": CONTENT[:-1], "empty": b""}


@pytest.mark.parametrize("content", TRANSFERS.values(), ids=TRANSFERS)
def test_a_transfer_counts_only_with_its_hash(content: bytes, talk: Talk, tmp_path: Path) -> None:
    number = begin(talk, tmp_path / "file")
    talk.blob(number, content)
    played = talk.hear("played")
    assert played["ok"] is (content == CONTENT)
    assert (tmp_path / "file").exists() is (content == CONTENT)
    left = [path for path in (tmp_path / "root" / "store").rglob("*") if path.is_file()]
    assert len(left) == (content == CONTENT)
    talk.send({"type": "end"})
    talk.hear("bye")


def test_a_transfer_that_was_refused(talk: Talk, tmp_path: Path) -> None:
    number = begin(talk, tmp_path / "file")
    talk.send({"type": "answer", "id": number, "error": "it is gone", "remedy": "look"})
    assert talk.hear("task")["message"] == "it is gone"


def test_a_blob_that_nobody_asked_for_is_swallowed(talk: Talk, tmp_path: Path) -> None:
    talk.send({"type": "blob", "id": 7, "size": 100_000, "last": True})
    talk.raw(b"\n{}" * 33_333 + b"z")
    talk.hello(touch(tmp_path / "made"))
    talk.hear("observed")


def test_the_connection_may_end_in_the_middle_of_a_transfer(talk: Talk, tmp_path: Path) -> None:
    number = begin(talk, tmp_path / "file")
    talk.send({"type": "blob", "id": number, "size": len(CONTENT), "last": True})
    talk.raw(CONTENT[:1000])
    code, _, errors = talk.end()
    assert (code, errors) == (1, "")
    assert not (tmp_path / "file").exists()


def part(folder: Path) -> Path:
    return folder / "root" / "store" / SHA256 / ".part"


def test_what_had_arrived_when_the_connection_ended_is_not_sent_again(
    unpacked: Path, talk: Talk, tmp_path: Path
) -> None:
    number = begin(talk, tmp_path / "file")
    half = len(CONTENT) // 2
    talk.blob(number, CONTENT[:half], last=False)
    assert soon(lambda: part(tmp_path).exists() and part(tmp_path).stat().st_size >= half - 8192)
    talk.end()
    there = part(tmp_path).stat().st_size
    assert there > half - 8192
    again = Talk(unpacked, tmp_path)
    again.hello(lay(tmp_path / "file"))
    again.hear("observed")
    again.send({"type": "play", "index": 0, "changed": False})
    need = again.hear("need")
    assert need["offset"] == there
    again.blob(need["id"], CONTENT[there:])
    assert again.hear("played")["ok"] is True
    assert (tmp_path / "file").read_bytes() == CONTENT
    again.process.kill()
    again.end()


def test_other_messages_may_come_between_the_slices_of_a_file(talk: Talk, tmp_path: Path) -> None:
    number = begin(talk, tmp_path / "file")
    for start in range(0, len(CONTENT), 1_000_000):
        talk.blob(number, CONTENT[start : start + 1_000_000], last=False)
        talk.send(
            {"type": "query", "id": start, "what": "nodes", "args": {"dashboard": ["127.0.0.1", 1], "max_age": 0}}
        )
        assert talk.hear("reply") == {"type": "reply", "id": start, "value": {"nodes": None, "token": ""}}
    talk.blob(number, b"")
    assert talk.hear("played")["ok"] is True


def test_a_full_disk_ends_a_transfer(talk: Talk, tmp_path: Path) -> None:
    part(tmp_path).parent.mkdir(parents=True)
    part(tmp_path).symlink_to("/dev/full")
    number = begin(talk, tmp_path / "file")
    talk.blob(number, CONTENT[:2_000_000], last=False)
    assert talk.hear("enough") == {"type": "enough", "id": number}
    talk.blob(number, CONTENT[2_000_000:])
    told = talk.hear("task")["message"]
    assert told.startswith("the disk became full while content arrived")
    assert talk.hear("played")["ok"] is False
