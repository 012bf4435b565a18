"""The remote program as hosts run it: unpacked from its archive, its own process, JSON lines over pipes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioner.remote import main
from provisioner.remote.failure import Failure
from provisioner.remote.host import Host
from provisioner.remote.platforms import children
from provisioner.remote.platforms.linux import Linux
from provisioner.remote.wire import Wire

from .remote_talk import LIMIT, Message, Talk, json_values, lay, messages, soon, talk, task, touch, unpacked

__all__ = ["talk", "unpacked"]


def test_a_whole_conversation(talk: Talk, tmp_path: Path) -> None:
    assert talk.hear("ready") == {"type": "ready"}
    talk.hello(touch(tmp_path / "made"))
    facts = talk.hear("facts")["facts"]
    assert (facts["os"], facts["root"], facts["manager"]) == ("linux", str(tmp_path / "root"), "process")
    assert abs(facts["clock"] - time.time()) < 10
    (row,) = talk.hear("observed")["tasks"]
    assert (row["play"], row["task"], row["differences"][0]["action"]) == (0, "T", "add")
    assert not (tmp_path / "root").exists(), "nothing is written before the word"
    talk.send({"type": "play", "index": 0, "changed": False})
    assert talk.hear("task")["state"] == "started"
    done = talk.hear("task")
    assert (done["state"], done["play"], done["task"]) == ("changed", 0, "T")
    assert talk.hear("played") == {"type": "played", "index": 0, "ok": True}
    talk.send({"type": "end", "clean": False, "purge": False})
    assert talk.hear("bye") == {"type": "bye"}
    assert talk.end()[1:] == ([], "")
    assert (tmp_path / "made").exists()


def test_teardown_walks_backwards_and_cleans_up(unpacked: Path, tmp_path: Path) -> None:
    tasks = [touch(tmp_path / "a", "A"), touch(tmp_path / "b", "B")]
    for mode in ("apply", "teardown"):
        talk = Talk(unpacked, tmp_path)
        talk.hello(*tasks, mode=mode)
        talk.hear("observed")
        talk.send({"type": "play", "index": 0, "changed": False})
        order = [talk.hear("task")["task"] for _ in range(4)]
        assert order == (["A", "A", "B", "B"] if mode == "apply" else ["B", "B", "A", "A"])
        talk.send({"type": "end", "clean": True, "purge": True})
        talk.hear("bye")
        talk.end()
        assert (tmp_path / "a").exists() is (mode == "apply")
    assert list(tmp_path.iterdir()) == []


def test_conditions_and_skipping(talk: Talk, tmp_path: Path) -> None:
    talk.hello(
        touch(tmp_path / "a", "no", {"os": ["windows", "macos"]}),
        touch(tmp_path / "b", "changed", {"changed": True}),
        task("command", "bad", {"os": "linux"}, argv=["/bin/false"], creates="/nonexistent"),
        touch(tmp_path / "d", "after"),
    )
    rows = talk.hear("observed")["tasks"]
    assert [(row["task"], len(row["differences"])) for row in rows] == [("changed", 0), ("bad", 1), ("after", 1)]
    talk.send({"type": "play", "index": 0, "changed": False})
    told = [talk.hear("task") for _ in range(3)]
    assert [(each["task"], each["state"]) for each in told] == [
        ("bad", "started"), ("bad", "failed"), ("after", "skipped")
    ]  # fmt: skip
    assert told[1]["message"] == "/bin/false ended with exit code 1: it printed nothing"
    assert talk.hear("played")["ok"] is False
    assert not (tmp_path / "d").exists()


def test_orphans_come_last(unpacked: Path, tmp_path: Path) -> None:
    first = Talk(unpacked, tmp_path)
    first.hello(touch(tmp_path / "old", "Old"))
    first.hear("observed")
    first.send({"type": "play", "index": 0, "changed": False})
    first.hear("played")
    first.send({"type": "end"})
    first.hear("bye")
    second = Talk(unpacked, tmp_path)
    second.hello(touch(tmp_path / "new", "New"))
    rows = second.hear("observed")["tasks"]
    assert [row["task"] for row in rows] == ["New", "Remove what is no longer declared"]
    second.send({"type": "play", "index": 0, "changed": False})
    second.hear("played")
    assert (tmp_path / "new").exists() and not (tmp_path / "old").exists()
    first.end()
    second.process.kill()
    second.end()


def test_a_rollback_leaves_alone_what_can_not_go_back(talk: Talk, tmp_path: Path) -> None:
    tasks = [touch(tmp_path / "a"), touch(tmp_path / "b", "changed", {"changed": True})]
    node = task("ray_head", head="w1", dashboard=["127.0.0.1", 1])
    talk.hello(*tasks, node, mode="rollback")
    observed = talk.hear("observed")
    assert observed["tasks"] == [{"play": 0, "task": "T", "differences": []}]
    assert observed["cannot"][0] == "no Ray of ours is on this host"
    talk.send({"type": "query", "id": 1, "what": "destination", "args": None})
    reply = talk.hear("reply")
    assert (reply["id"], reply["value"]) == (1, None)
    talk.send({"type": "play", "index": 0, "changed": True})
    assert talk.hear("played") == {"type": "played", "index": 0, "ok": True}
    talk.send({"type": "end", "clean": False, "purge": False})
    talk.hear("bye")
    assert talk.end()[1] == []
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()


def test_questions_are_answered_while_a_task_runs(talk: Talk) -> None:
    talk.hello(task("command", argv=["/bin/sleep", "30"], creates="/nonexistent"))
    talk.hear("observed")
    talk.send({"type": "play", "index": 0, "changed": False})
    talk.hear("doing")
    talk.send({"type": "query", "id": 1, "what": "nodes", "args": {"dashboard": ["127.0.0.1", 1], "max_age": 0}})
    assert talk.hear("reply") == {"type": "reply", "id": 1, "value": {"nodes": None, "token": ""}}
    talk.send({"type": "query", "id": 2, "what": "secrets"})
    assert talk.hear("reply")["error"] == "this host knows nothing of 'secrets'"
    talk.send({"type": "query", "id": 3, "what": "nodes"})
    assert "error" in talk.hear("reply")


@pytest.mark.parametrize("what", ["hold", "destination"])
def test_a_question_before_the_declaration_is_answered_in_words(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "ANSWER_WAIT", 0.01)
    with pytest.raises(Failure, match=r"was not told within .* which cluster this is about") as caught:
        main.Conversation().answer(what, {})
    assert "run the command again" in caught.value.remedy


def test_when_the_controller_is_gone_so_is_everything(talk: Talk, tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/pid; sleep 60 & wait"
    talk.hello(task("command", argv=["/bin/sh", "-c", script], creates="/nonexistent"))
    talk.hear("observed")
    talk.send({"type": "play", "index": 0, "changed": False})
    talk.hear("doing")
    pid_file = tmp_path / "pid"
    assert soon(lambda: pid_file.exists() and bool(pid_file.read_text().strip()))
    code, _, errors = talk.end()
    assert (code, errors) == (1, "")
    assert soon(lambda: not running(tmp_path))


def running(folder: Path) -> list[int]:
    return Linux().processes_with(f"PROVISION_TEST={folder}")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"type": "hello", "protocol": 2}, "another protocol"),
        ({"type": "play"}, "another protocol"),
        ({"type": "hello", "protocol": 1}, "not as it should be: cluster, host, mode, plays"),
    ],
)
def test_a_hello_of_another_version(line: Any, message: str, talk: Talk) -> None:
    talk.send(line)
    assert message in talk.hear("error")["message"]
    assert talk.end()[1:] == ([], "")


def test_an_unknown_resource_or_platform_setting(talk: Talk) -> None:
    talk.hello(task("nonsense"))
    talk.hear("facts")
    assert talk.hear("error")["message"] == "this program knows no resource 'nonsense'"


def test_a_task_that_can_not_be_observed_is_named(talk: Talk, tmp_path: Path) -> None:
    talk.hello(task("python", "Find it", version="3.3.3", source="system", match="exact", mirror=None))
    talk.hear("facts")
    error = talk.hear("error")
    assert error["task"] == "Find it"
    assert error["message"].startswith("Python 3.3.3 is wanted")


def test_an_os_error_is_told_with_its_task(talk: Talk, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    talk.hello(lay(tmp_path / "file" / "x"), root=str(tmp_path / "file"))
    talk.hear("facts")
    talk.hear("observed")
    talk.send({"type": "play", "index": 0, "changed": False})
    assert talk.hear("error")["message"].startswith(("File exists", "Not a directory"))
    assert talk.end()[2] == ""


def test_another_run_on_the_host_is_named(unpacked: Path, talk: Talk, tmp_path: Path) -> None:
    """It is waited for, and what it made meanwhile is known."""
    talk.hello(touch(tmp_path / "a"))
    talk.hear("observed")
    talk.send({"type": "play", "index": 0, "changed": False})
    talk.hear("played")
    other = Talk(unpacked, tmp_path)
    other.hello(touch(tmp_path / "b"), plays=[{"name": "P", "tasks": [touch(tmp_path / "a"), touch(tmp_path / "b")]}])
    other.hear("observed")
    other.send({"type": "play", "index": 0, "changed": False})
    time.sleep(0.3)
    assert not (tmp_path / "b").exists()
    talk.send({"type": "end"})
    talk.hear("bye")
    assert other.hear("played")["ok"] is True
    assert (tmp_path / "b").exists()
    marker = json.loads((tmp_path / "root" / "marker.json").read_text())
    assert len(marker["entries"]) == 2
    other.process.kill()
    other.end()


lines = st.one_of(
    json_values.map(lambda value: json.dumps(value).encode()),
    messages.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=40),
    st.just(b"[" * 100_000),
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(garbage=st.lists(lines, min_size=1, max_size=4), greeted=st.booleans())
def test_whatever_is_sent_ends_in_a_sentence(
    garbage: list[bytes], greeted: bool, unpacked: Path, tmp_path: Path
) -> None:
    """Never a traceback, never a hang: the end of input ends the program."""
    talk = Talk(unpacked, tmp_path)
    if greeted:
        talk.hello(touch(tmp_path / "made"))
    talk.raw(b"\n".join(garbage) + b"\n")
    code, _, errors = talk.end()
    assert code in (0, 1)
    assert errors == ""


@pytest.mark.parametrize("line", [b"[]", b"5", b'{"a": 1}', b"\xff", b"[" * 100_000, b'{"type": "blob", "size": null}'])
def test_garbage_is_told(line: bytes, talk: Talk) -> None:
    talk.raw(line + b"\n")
    assert "the controller sent what is no message" in talk.hear("error")["message"]
    assert talk.process.wait(LIMIT) == 1


def test_a_silent_controller_is_given_up(unpacked: Path, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(unpacked)!r}); from provisioner.remote import wire, main;"
        "wire.BEAT = 0.1; wire.SILENCE = 0.5; main.main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.wait(LIMIT) == 1
    out, err = process.communicate()
    assert out.count(b'{"type":"beat"}') > 1
    assert err == b""


class Patience(Wire):
    """A wire to a controller that tells so many times that it gets on, before it answers or not."""

    def __init__(self, moves: int, answers: bool) -> None:
        super().__init__(lambda what, args, pieces: None, lambda: None)
        self.moves, self.answers = moves, answers

    def send(self, message: Message) -> None:
        threading.Thread(target=self._controller, args=(message["id"],), daemon=True).start()

    def _controller(self, number: int) -> None:
        for _ in range(self.moves):
            time.sleep(0.1)
            self._take({"type": "moving", "id": number})
        if self.answers:
            self._take({"type": "answer", "id": number, "value": "there"})


def test_who_is_told_that_it_gets_on_waits_on() -> None:
    begun = time.monotonic()
    assert Patience(8, answers=True).ask("controller", "lock", None, 0.6) == "there"
    assert time.monotonic() - begun > 0.6, "longer than the limit"
    with pytest.raises(Failure, match="no answer from controller within 0 s"):
        Patience(1, answers=False).ask("controller", "lock", None, 0.3)


def test_a_program_that_just_begins_does_not_outlive_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The controller may go away between the moment it begins and the one we know of it."""

    class Slow(set[int]):
        def add(self, pid: int) -> None:
            begun.set()
            time.sleep(0.3)
            super().add(pid)

    begun, ends = threading.Event(), []
    monkeypatch.setattr(children, "CHILDREN", Slow())
    monkeypatch.setattr(children, "STARTING", threading.Lock())
    thread = threading.Thread(target=lambda: ends.append(Linux().run(["/bin/sleep", "60"])[0]))
    thread.start()
    assert begun.wait(5)
    Linux().end_children()
    thread.join(5)
    assert ends == [-signal.SIGKILL]
    late = threading.Thread(target=lambda: ends.append(Linux().run(["/bin/true"])[0]), daemon=True)
    late.start()
    late.join(0.3)
    assert late.is_alive() and len(ends) == 1, "no other one is begun"
    children.STARTING.release()
    late.join(5)


class Odd(Linux):
    """A machine on which something is amiss, or can't even be found out."""

    def __init__(self, found: object) -> None:
        self._found = found

    def findings(self, host: Host) -> list[dict[str, str]]:
        if isinstance(self._found, Exception):
            raise self._found
        return [{"severity": "notice", "message": str(self._found), "remedy": ""}]


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ("it sleeps", "it sleeps"),
        (OSError(13, "Permission denied"), "could not be looked at: no permission"),
        (KeyError("x"), "could not be looked at: unexpected KeyError"),
    ],
)
def test_what_is_seen_on_a_machine_is_told_whatever_comes_of_it(found: object, told: str, tmp_path: Path) -> None:
    conversation = main.Conversation.__new__(main.Conversation)
    hello = {"cluster": "lab", "host": "w1", "root": str(tmp_path), "service": "process"}
    conversation.host = Host(Odd(found), Silent(), hello)  # type: ignore[arg-type]
    (finding,) = conversation._findings()
    assert told in finding["message"]
    assert finding["severity"] == "notice"


class Silent:
    """Hears nothing and says nothing."""


def test_a_machine_without_findings(talk: Talk) -> None:
    talk.hello()
    assert talk.hear("observed")["findings"] == []
