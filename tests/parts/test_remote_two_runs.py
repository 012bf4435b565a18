"""Two runs that meet on one host, and what keeps the program on it listening."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from provisioner.remote.wire import QUESTIONS

from .remote_talk import LIMIT, Talk, talk, touch, unpacked

__all__ = ["talk", "unpacked"]


def test_what_another_run_has_changed_is_told_and_not_done_again(unpacked: Path, talk: Talk, tmp_path: Path) -> None:
    """Both saw that there is nothing yet; the second one had to wait, and decided on what is true no more."""
    tasks = [touch(tmp_path / "a"), touch(tmp_path / "b")]
    talk.hello(tasks[0])
    talk.hear("observed")
    other = Talk(unpacked, tmp_path)
    other.hello(plays=[{"name": "P", "tasks": [tasks[0]]}, {"name": "Q", "tasks": [tasks[1]]}])
    assert [len(row["differences"]) for row in other.hear("observed")["tasks"]] == [1, 1]
    talk.send({"type": "play", "index": 0, "changed": False})
    talk.hear("played")
    other.send({"type": "play", "index": 0, "changed": False})
    time.sleep(0.3)
    talk.send({"type": "end"})
    talk.hear("bye")
    assert [len(row["differences"]) for row in other.hear("observed")["tasks"]] == [0, 1]
    assert other.hear("played") == {"type": "played", "index": 0, "ok": True, "again": True}
    other.send({"type": "play", "index": 1, "changed": True})
    assert "again" not in other.hear("played"), "only once"
    assert (tmp_path / "b").exists()
    other.process.kill()
    other.end()


def test_nothing_is_tidied_up_behind_another_run(unpacked: Path, talk: Talk, tmp_path: Path) -> None:
    """A teardown that saw nothing, and waited for a run that has made something meanwhile."""
    (tmp_path / "root" / "store").mkdir(parents=True)
    talk.hello(touch(tmp_path / "a"))
    talk.hear("observed")
    other = Talk(unpacked, tmp_path)
    other.hello(touch(tmp_path / "a"), mode="teardown")
    assert other.hear("observed")["untidy"]
    talk.send({"type": "play", "index": 0, "changed": False})
    talk.hear("played")
    other.send({"type": "end", "clean": True, "purge": True})
    time.sleep(0.3)
    talk.send({"type": "end"})
    talk.hear("bye")
    with pytest.raises(AssertionError, match="another run has worked here meanwhile"):
        other.hear("bye")
    assert (tmp_path / "root" / "store").exists()
    other.end()


def test_one_question_too_many_is_refused_and_ends_nothing(unpacked: Path, tmp_path: Path) -> None:
    talk = Talk(unpacked, tmp_path)
    for number in range(QUESTIONS + 5):  # none can be answered before the declaration
        talk.send({"type": "query", "id": number, "what": "nodes", "args": {"max_age": 0}})
    refused = [talk.hear("reply") for _ in range(5)]
    assert {each["error"] for each in refused} == {f"it was asked more than {QUESTIONS} questions at once"}
    talk.hello(touch(tmp_path / "a"))
    talk.hear("observed")
    talk.process.kill()
    talk.end()


@pytest.mark.parametrize(("stall", "ends"), [(2.5, False), (30.0, True)])
def test_a_disk_that_stands_still_is_no_silent_controller(
    stall: float, ends: bool, unpacked: Path, tmp_path: Path
) -> None:
    """Who writes what comes hears nothing meanwhile; there is a limit all the same."""
    code = (
        f"import sys, time; sys.path.insert(0, {str(unpacked)!r}); from provisioner.remote import wire;"
        "wire.SILENCE, wire.LOOK, wire.STALL = 1.0, 0.1, 6.0\n"
        "import os\n"
        "here = wire.Wire(lambda what, args: None, lambda: os._exit(7))\n"
        f"delivery = here.need('0' * 64, 0, lambda piece: time.sleep({stall}))\n"
        "here.start(); delivery.wait(); os._exit(0)"
    )
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b'{"type":"blob","id":1,"size":1,"last":true}\nx')
    process.stdin.flush()
    assert process.wait(LIMIT) == (7 if ends else 0)
    process.communicate()
