"""The wire against whatever a host may send, the program's archive, and errors in words."""

from __future__ import annotations

import io
import json
import threading
import time
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fabric import Config
from hypothesis import given
from hypothesis import strategies as st
from paramiko import SSHException

from provisioner.artifacts.slice import Slice
from provisioner.errors import HostFailed, ProvisionError, Unreachable
from provisioner.transport import connect, program, wire
from provisioner.transport.shell import Said, Shell
from provisioner.transport.starter import Refusal, Starter
from provisioner.transport.systems import Posix
from provisioner.transport.target import Target
from provisioner.transport.wire import Wire


class Channel:
    """A channel whose other end has said something already."""

    out_max_packet_size = 1064

    def __init__(self, *said: bytes, broken: bool = False, pace: float = 0.0) -> None:
        self.said = list(said)
        self.broken = broken
        self.pace = pace
        self.sent = b""
        self.breaks: Exception | None = None
        """Raised by the next write, after half of it."""
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def recv(self, size: int) -> bytes:
        return self.said.pop(0) if self.said else b""

    def sendall(self, data: bytes) -> None:
        if self.broken:
            raise OSError("Socket is closed")
        assert len(data) <= self.out_max_packet_size - 64
        if self.breaks:
            self.sent += data[: len(data) // 2]
            raise self.breaks
        if self.pace:
            time.sleep(self.pace)
        self.sent += data

    def recv_stderr_ready(self) -> bool:
        return False


def hear(*said: bytes) -> list[Any]:
    """Everything that is received from these pieces, up to the end or an error, which comes last."""
    end = Wire(Channel(*said), "w1")  # type: ignore[arg-type]
    found: list[Any] = []
    try:
        while (message := end.receive()) is not None:
            found.append(message)
    except ProvisionError as error:
        assert error.host == "w1"
        found.append(error)
    return found


A, B = b'{"type":"a"}\n', b'{"type":"b","x":[1]}\n'
BOTH = [{"type": "a"}, {"type": "b", "x": [1]}]


@given(cuts=st.lists(st.integers(1, len(A + B) - 1), max_size=6))
def test_messages_may_come_in_any_pieces(cuts: list[int]) -> None:
    edges = [0, *sorted(set(cuts)), len(A + B)]
    assert hear(*[(A + B)[low:high] for low, high in pairwise(edges)]) == BOTH


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ([], []),
        ([b'{"type":"cut'], []),
        ([b"Welcome!\n\n\x1b[1mhello\x1b[0m\n", A + B], BOTH),
        ([b"no line end" + A, B], BOTH[1:]),
        ([b'{"json": "but not ours"}\n', A, B], BOTH),
    ],
    ids=["nothing", "half a line", "greeting", "greeting without an end", "JSON of others"],
)
def test_what_a_login_prints_before_is_passed_over(said: list[bytes], heard: list[Any]) -> None:
    assert hear(*said) == heard


@pytest.mark.parametrize(
    "garbage", [b"noise\n", b"[]\n", b'{"type": 5}\n', b'{"type":"x"\n', b"\xff\xfe\n", b"[" * 100_000 + b"\n"]
)
def test_garbage_after_the_first_message_ends_the_conversation(garbage: bytes) -> None:
    *messages, error = hear(A, garbage, B)
    assert messages == BOTH[:1]
    assert isinstance(error, HostFailed)
    assert error.message.startswith("the host sends what is no message of ours")
    assert len(error.message) < 400


def test_a_login_that_never_stops_talking() -> None:
    (error,) = hear(*[b"x" * 1000 + b"\n"] * 70)
    assert isinstance(error, HostFailed)


def test_a_line_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LONGEST_LINE", 1000)
    (error,) = hear(b'{"type":"', *[b"x" * 600] * 3)
    assert isinstance(error, HostFailed) and "a line without end" in error.message


@given(st.lists(st.binary(max_size=30), max_size=6))
def test_whatever_comes_ends_in_words(said: list[bytes]) -> None:
    for each in hear(*said):
        assert isinstance(each, (dict, ProvisionError))


def test_messages_are_lines_of_ascii() -> None:
    channel = Channel()
    Wire(channel, "w1").send({"type": "x", "text": "é\n€"})  # type: ignore[arg-type]
    assert channel.sent == b'{"type":"x","text":"\\u00e9\\n\\u20ac"}\n'


def slices(said: bytes) -> list[tuple[dict[str, Any], bytes]]:
    """What was sent, as messages with the bytes that follow them."""
    found = []
    while said:
        line, _, said = said.partition(b"\n")
        message = json.loads(line)
        size = message.get("size", 0)
        found.append((message, said[:size]))
        said = said[size:]
    return found


@pytest.mark.parametrize("size", [0, 1, 1000, 5001])
@pytest.mark.parametrize("offset", [0, 1, 700, 5001])
def test_a_file_is_sent_in_slices(size: int, offset: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "SLICE", 1700)
    content = (bytes(range(256)) * 20)[:size]
    offset = min(offset, size)
    (tmp_path / "file").write_bytes(content)
    (tmp_path / "bundle").write_bytes(b"before" + content + b"after")
    for source in (content, tmp_path / "file", Slice(tmp_path / "bundle", 6, size)):
        channel = Channel()
        Wire(channel, "w1").send_blob(7, source, offset)  # type: ignore[arg-type]
        sent = slices(channel.sent)
        assert b"".join(piece for _, piece in sent) == content[offset:]
        assert all(len(piece) == message["size"] <= 1700 for message, piece in sent)
        assert {(message["type"], message["id"]) for message, _ in sent} == {("blob", 7)}
        assert [message["last"] for message, _ in sent] == [False] * (len(sent) - 1) + [True]


def test_a_file_that_is_shorter_than_the_host_knows() -> None:
    with pytest.raises(HostFailed, match="a file has 3 bytes here"):
        Wire(Channel(), "w1").send_blob(7, b"abc", 4)  # type: ignore[arg-type]


def test_a_file_that_nobody_wants_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "SLICE", 100)
    channel, asked = Channel(), iter([True, True, False, False])
    Wire(channel, "w1").send_blob(7, b"x" * 1000, 0, lambda: next(asked))  # type: ignore[arg-type]
    assert [message["last"] for message, _ in slices(channel.sent)] == [False, False]


def test_messages_go_between_the_slices_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the link is always busy: a message waits for one slice, not for the file."""
    monkeypatch.setattr(wire, "SLICE", 100)
    channel = Channel(pace=0.002)
    end = Wire(channel, "w1")  # type: ignore[arg-type]
    sending = threading.Thread(target=end.send_blob, args=(7, b"x" * 20_000))
    sending.start()
    for number in range(5):
        time.sleep(0.01)
        end.send({"type": "beat", "number": number})
    before = len(slices(channel.sent))
    sending.join()
    sent = slices(channel.sent)
    places = [place for place, (message, _) in enumerate(sent) if message["type"] == "beat"]
    assert len(places) == 5
    assert places[-1] < before < 100, "the file was still being sent"
    assert len(sent) == 205


def test_a_connection_that_broke_off() -> None:
    end = Wire(Channel(broken=True), "w1")  # type: ignore[arg-type]
    with pytest.raises(Unreachable, match="broke off"):
        end.send({"type": "x"})


@pytest.mark.parametrize("error", [TimeoutError(), OSError("Socket is closed"), EOFError(), SSHException("rekey")])
def test_after_half_a_message_nothing_more_is_sent(error: Exception) -> None:
    channel = Channel()
    end = Wire(channel, "w1")  # type: ignore[arg-type]
    channel.breaks = error
    with pytest.raises(Unreachable, match="broke off"):
        end.send_blob(1, b"x" * 5000)
    sent, channel.breaks = channel.sent, None
    assert channel.closed
    with pytest.raises(Unreachable, match="broke off"):
        end.send({"type": "x"})
    with pytest.raises(Unreachable, match="broke off"):
        end.send_blob(2, b"y")
    assert channel.sent == sent


def test_the_archive_is_the_same_every_time_and_complete() -> None:
    assert program.archive() == program.archive()
    with zipfile.ZipFile(io.BytesIO(program.archive())) as bundle:
        names = bundle.namelist()
        assert bundle.testzip() is None
        assert {entry.date_time for entry in bundle.infolist()} == {program.ALWAYS}
    remote = Path(program.__file__).parents[1] / "remote"
    wanted = {f"provisioner/remote/{path.relative_to(remote).as_posix()}" for path in remote.rglob("*.py")}
    assert {*names} == wanted | {"provisioner/__init__.py", "__main__.py", "run.py"}


def test_the_name_changes_with_the_content(monkeypatch: pytest.MonkeyPatch) -> None:
    before, changed = program.identity(), {**program.files(), "run.py": b"#"}
    monkeypatch.setattr(program, "files", lambda: changed)
    assert program._identity.__wrapped__() != before
    assert len(before) == 20


def test_commands_mean_the_same_in_every_shell() -> None:
    first, again = (program.first_command("python3", program.archive_path()) for _ in range(2))
    assert first != again, "hosts may share a home folder"
    assert first.startswith("python3 -I -S .provision/program/")
    for command in (first, Posix().start(program.cached_folder()), *commands_of_a_bare_host()):
        assert not set(command) & set("\"'\\$&|;<>*?%!^`(){}[]#\n")


def commands_of_a_bare_host() -> list[str]:
    """What first contact says to a host's shell."""
    said: list[str] = []

    class Listening(Shell):
        def run(self, command: str, limit: float = 0.0) -> Said:
            said.append(command)
            return Said(0, "Linux x86_64\n" if command.startswith("uname") else "", "")

    shell, system = Listening(Connection(), False), Posix()
    assert system.facts(shell) == {"os": "linux", "arch": "x86_64", "libc": "glibc", "libc_version": "2.17"}
    assert (system.free(shell, "a"), system.sha256(shell, "a")) == (None, None)
    system.unpack(shell, "a.tar.gz", "b")
    system.remove(shell, "a")
    assert len(said) == 8
    return said


@pytest.mark.parametrize(
    ("place", "split"),
    [("h", ("h", None)), ("h:22", ("h", 22)), ("10.0.0.1:2222", ("10.0.0.1", 2222)), ("[::1]:22", ("::1", 22)),
     ("[::1]", ("::1", None)), ("::1", ("::1", None))],
)  # fmt: skip
def test_places_with_ports(place: str, split: tuple[str, int | None]) -> None:
    assert connect._split_port(place) == split


class Connection:
    """Open, or not."""

    user = "kim"

    def __init__(self, is_connected: bool = True) -> None:
        self.is_connected = is_connected


def test_a_connection_that_is_made_changes_no_other_ones_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    connector, seen = connect.Connector(), []
    first = connector._build(Target("w1", "127.0.0.1"), None)
    merge = Config.merge

    def merged(config: Config) -> None:
        merge(config)
        config._config.clear()
        seen.append("authentication" in first.config)
        merge(config)

    monkeypatch.setattr(Config, "merge", merged)
    connector._build(Target("w2", "127.0.0.1"), None)
    assert set(seen) == {True}


def judge(refusal: Refusal, hangs: bool = False, connected: bool = True) -> ProvisionError | None:
    starter = Starter(Connection(connected), Target("w1", "h"), Posix(), None, {})
    try:
        starter._raise_if_final(refusal, hangs)
    except ProvisionError as error:
        assert error.host == "w1"
        return error
    return None


@pytest.mark.parametrize(
    ("said", "message", "remedy"),
    [
        ("sudo: a password is required", "sudo wants a password", "become_password"),
        ("Sorry, try again.\nsudo: 1 incorrect password attempt", "does not accept the password", "become_password"),
        ("kim is not in the sudoers file.", "may not use sudo", "another user"),
        ("bash: sudo: command not found", "there is no sudo", "install sudo"),
        ("OSError: [Errno 28] No space left on device", "the host's disk is full", "free some space"),
    ],
)
def test_why_no_command_would_start_the_program(said: str, message: str, remedy: str) -> None:
    error = judge(Refusal(1, said))
    assert error is not None
    assert message in error.message
    assert remedy in error.remedy


@pytest.mark.parametrize(
    ("code", "said", "last"),
    [
        (127, "sh: 1: python3: not found", "sh: 1: python3: not found"),
        (1, "sudo: python3: command not found", "sudo: python3: command not found"),
        (2, "sh: 0: cannot open .provision/program/x/start: No such file", "sh: 0: cannot open .provision/program"),
        (126, "", "exit code 126, and it said nothing"),
        (1, "line one\n  last line ", "last line"),
        (127, "fish: Unknown command: python3\npython3 -I\n^~~~~~^\n", "python3 -I"),
        (-1, "", "exit code -1"),
    ],
)
def test_when_another_interpreter_may_do_better(code: int, said: str, last: str) -> None:
    assert judge(Refusal(code, said)) is None
    assert Refusal(code, said).last.startswith(last)


def test_a_host_that_hangs_or_is_gone() -> None:
    hangs, gone = judge(Refusal(-1, ""), hangs=True), judge(Refusal(-1, ""), connected=False)
    assert isinstance(hangs, HostFailed) and "did not start within 45 s" in hangs.message
    assert isinstance(gone, Unreachable) and "broke off" in gone.message
