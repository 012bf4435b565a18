"""The remote program as hosts run it: unpacked from its archive, its own process, JSON lines over pipes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioner.remote import boot as boot_module
from provisioner.remote import main
from provisioner.remote.failure import Failure
from provisioner.remote.wire import Wire
from provisioner.transport import program
from tests import waiting

LIMIT = 20.0
Message = dict[str, Any]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program's folder."""
    archive = tmp_path_factory.mktemp("program") / "abc.zip"
    archive.write_bytes(program.archive())
    subprocess.run([sys.executable, "-I", "-S", archive], input=b"", stdout=subprocess.PIPE, timeout=LIMIT, check=False)
    return archive.with_suffix("")


class Talk:
    """A conversation with the program.

    Args:
        folder: holds the host's home and root.
    """

    def __init__(self, unpacked: Path, folder: Path, python: str = sys.executable) -> None:
        self.folder = folder
        environ = {**os.environ, "HOME": str(folder), "PROVISION_SANDBOX": "1", "PROVISION_TEST": str(folder)}
        self.process = subprocess.Popen(
            [python, "-I", "-S", unpacked / "run.py"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ, cwd=folder,
        )  # fmt: skip

    def send(self, message: Any) -> None:
        self.raw(json.dumps(message).encode() + b"\n")

    def raw(self, data: bytes) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(data)
            self.process.stdin.flush()

    def blob(self, number: int, content: bytes, last: bool = True) -> None:
        """Send a slice of a file."""
        self.send({"type": "blob", "id": number, "size": len(content), "last": last})
        self.raw(content)

    def hear(self, kind: str) -> Message:
        """Return the next message of that kind; no error may come before it."""
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            message: Message = json.loads(line)
            if message["type"] == kind:
                return message
            assert message["type"] != "error", message
        raise AssertionError(f"the program ended without {kind!r}: {self.end()}")

    def hello(self, *tasks: Message, mode: str = "apply", **changes: Any) -> None:
        message = {
            "type": "hello", "protocol": 1, "mode": mode, "cluster": "lab", "host": "w1", "service": "process",
            "root": str(self.folder / "root"), "account": None,
            "plays": [{"name": "Play", "tasks": list(tasks)}] if tasks else [],
        }  # fmt: skip
        self.send({**message, **changes})

    def end(self) -> tuple[int, list[Message], str]:
        """Close stdin and return exit code, remaining messages and errors."""
        out, err = self.process.communicate(timeout=LIMIT)
        return self.process.returncode, [json.loads(line) for line in out.splitlines()], err.decode()


@pytest.fixture
def talk(unpacked: Path, tmp_path: Path) -> Iterator[Talk]:
    made = Talk(unpacked, tmp_path)
    yield made
    made.process.kill()
    made.process.communicate()


def task(kind: str, task: str = "T", when: Message | None = None, /, **params: Any) -> Message:
    return {"name": task, "resource": kind, "params": params, "when": when or {}}


def touch(path: Path, name: str = "T", when: Message | None = None) -> Message:
    undo = ["/bin/rm", str(path)]
    return task("command", name, when, argv=["/bin/touch", str(path)], creates=str(path), undo=undo)


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


CONTENT = b"x" * 3_000_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def lay(path: Path) -> Message:
    return task("file", path=str(path), sha256=SHA256, size=len(CONTENT))


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
        assert talk.hear("reply") == {"type": "reply", "id": start, "value": None}
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


def test_questions_are_answered_while_a_task_runs(talk: Talk) -> None:
    talk.hello(task("command", argv=["/bin/sleep", "30"], creates="/nonexistent"))
    talk.hear("observed")
    talk.send({"type": "play", "index": 0, "changed": False})
    talk.hear("doing")
    talk.send({"type": "query", "id": 1, "what": "nodes", "args": {"dashboard": ["127.0.0.1", 1], "max_age": 0}})
    assert talk.hear("reply") == {"type": "reply", "id": 1, "value": None}
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


soon = partial(waiting.soon, limit=5.0)


def running(folder: Path) -> list[int]:
    from provisioner.remote.platforms.linux import Linux

    return Linux().processes_with(f"PROVISION_TEST={folder}")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"type": "hello", "protocol": 2}, "another protocol"),
        ({"type": "play"}, "another protocol"),
        ({"type": "hello", "protocol": 1}, "unexpected KeyError"),
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


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
kinds = st.sampled_from(["hello", "play", "end", "blob", "answer", "query", "beat", "broken", "x"])
fields = st.sampled_from(["id", "sha256", "size", "index", "changed", "protocol", "mode", "plays", "what", "args"])
messages = st.builds(lambda kind, rest: {**rest, "type": kind}, kinds, st.dictionaries(fields, json_values, max_size=5))
lines = st.one_of(
    json_values.map(lambda value: json.dumps(value).encode()),
    messages.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=40),
    st.just(b"[" * 100_000),
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


def boot(archive: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", str(archive)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def first_words(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """Return the first line, and what came as errors until the end."""
    assert process.stdout is not None
    return process.stdout.readline(), process.communicate(timeout=LIMIT)[1]


READY = (b'{"type":"ready"}\n', b"")


def test_the_archive_unpacks_itself_and_goes(tmp_path: Path) -> None:
    (tmp_path / "abc.x.zip").write_bytes(program.archive())
    assert first_words(boot(tmp_path / "abc.x.zip")) == READY
    assert [path.name for path in tmp_path.iterdir()] == ["abc"]
    assert (tmp_path / "abc" / "provisioner" / "remote" / "main.py").is_file()


def test_several_may_unpack_at_once(tmp_path: Path) -> None:
    """Hosts may share a home folder: each has an archive of its own, and one folder comes of it."""
    archives = [tmp_path / f"abc.{number}.zip" for number in range(6)]
    for archive in archives:
        archive.write_bytes(program.archive())
    starts = [boot(archive) for archive in archives]
    assert [first_words(start) for start in starts] == [READY] * 6
    assert [path.name for path in tmp_path.iterdir()] == ["abc"]


def test_a_damaged_archive_is_never_used(tmp_path: Path) -> None:
    archive = bytearray(program.archive())
    archive[len(archive) // 2] ^= 0xFF
    (tmp_path / "abc.zip").write_bytes(archive)
    process = boot(tmp_path / "abc.zip")
    process.communicate(timeout=LIMIT)
    assert process.returncode != 0
    assert not (tmp_path / "abc").exists()


def test_a_system_without_a_starter_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "abc.zip"
    archive.write_bytes(program.archive())
    monkeypatch.setattr(boot_module, "STARTERS", {})
    monkeypatch.setattr(sys, "argv", [str(archive)])
    with pytest.raises(SystemExit, match=f"^hosts need Linux or macOS, and this one's Python says '{os.name}'$"):
        boot_module.main()
    assert [path.name for path in tmp_path.iterdir()] == ["abc.zip"], "nothing is unpacked"


OLD = Path("~/.pyenv/versions").expanduser()


def test_older_and_newer_pythons(unpacked: Path, tmp_path: Path) -> None:
    """From 3.8 on it works; what is older says so, and another is looked for."""
    for python in OLD.glob("3.*/bin/python"):
        version = python.parents[1].name
        talk = Talk(unpacked, tmp_path, str(python))
        if version.startswith(("3.6.", "3.7.")):
            code, messages, told = talk.end()
            assert (code, messages) == (1, [])
            assert told == f"it is Python {version[:3]}, and the program needs 3.8 or newer\n"
            continue
        talk.hello(touch(tmp_path / "made"), task("variable", name="X", value="1"), lay(tmp_path / "file"))
        assert talk.hear("facts")["facts"]["python"] == version
        assert len(talk.hear("observed")["tasks"]) == 3
        talk.send({"type": "end"})
        talk.hear("bye")
        assert talk.end()[2] == ""


def test_every_module_is_python_3_8(unpacked: Path) -> None:
    import ast

    for path in unpacked.rglob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 8))


def test_every_module_can_be_imported_without_anything_of_ours(unpacked: Path) -> None:
    python = OLD / "3.8.18" / "bin" / "python"
    names = [
        ".".join(path.relative_to(unpacked).with_suffix("").parts)
        for path in sorted((unpacked / "provisioner").rglob("*.py"))
        if path.name not in ("run.py", "boot.py")
    ]
    code = f"import sys; sys.path.insert(0, {str(unpacked)!r})\n" + "".join(f"import {name}\n" for name in names)
    command = [str(python if python.exists() else sys.executable), "-I", "-S", "-c", code]
    subprocess.run(command, check=True, timeout=LIMIT)


def test_few_modules_are_imported_to_start(unpacked: Path) -> None:
    """Starting is most of what a run without changes costs."""
    code = (
        f"import sys; sys.path.insert(0, {str(unpacked)!r}); from provisioner.remote.main import main;"
        "print(' '.join(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=LIMIT).stdout
    heavy = {"subprocess", "typing", "zipfile", "http", "ssl", "asyncio", "logging", "tempfile", "shutil", "inspect"}
    assert heavy.isdisjoint(out.split())


class Patience(Wire):
    """A wire to a controller that tells so many times that it gets on, before it answers or not."""

    def __init__(self, moves: int, answers: bool) -> None:
        super().__init__(lambda what, args: None, lambda: None)
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
