"""Both ends of the protocol against anything the other may send."""

from __future__ import annotations

import io
import json
import queue
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.engine import conversation
from provisioner.engine.census import Census
from provisioner.engine.options import RunOptions
from provisioner.engine.remarks import about_clock, about_leaving
from provisioner.engine.run import Run
from provisioner.errors import HostFailed, ProvisionError
from provisioner.events import Event, HostFinished
from provisioner.inventory.model import Host, Inventory, RayOptions
from provisioner.playbook.load import load_playbook
from provisioner.remote import main
from provisioner.remote.failure import Failure, from_exception
from provisioner.remote.host import Host as Machine
from provisioner.remote.wire import Wire as ProgramWire
from provisioner.report import Reports
from provisioner.report.jsondoc import JsonReport
from provisioner.report.plain import PlainReport
from provisioner.transport.wire import Wire
from tests.unit.test_engine_manners import GOOD, anything, manners, mixed, sayings
from tests.unit.test_engine_manners import Host as Channel
from tests.unit.test_report_hostile import harmless

from .profile import bounded, fuzzed

pieces = st.one_of(
    (mixed | sayings).map(lambda said: json.dumps(said).encode() + b"\n"),
    st.sampled_from([json.dumps({"type": kind, **GOOD[kind]}).encode() + b"\n" for kind in GOOD]),
    st.binary(max_size=40),
    st.just(b"\n"),
    st.just(b"[" * 50_000),
    st.just(b'{"type":"ask","id":1e400}\n'),
)


@fuzzed("wire")
@given(said=st.lists(pieces, max_size=12))
def test_any_bytes_of_a_host(said: list[bytes]) -> None:
    end, judge = Wire(Channel(*said), "w1"), manners()  # type: ignore[arg-type]
    with bounded():
        try:
            while (message := end.receive()) is not None:
                judge.check(message)
        except HostFailed as error:
            assert error.message


FACTS = {"os": "linux", "arch": "x86_64", "libc": "glibc", "libc_version": "2.36", "python": "3.11.9"}
WELL = [
    {"type": "facts", "facts": FACTS},
    {"type": "observed", "tasks": [{"play": 0, "task": "T", "differences": []}], "dropped": None, "cannot": None},
    {"type": "bye"},
]
PLAYBOOK = "- {play: P, hosts: all, tasks: [{name: T, variable: {name: X, value: a}}]}"


class Scripted(Channel):
    """A host that says what it was given, one piece after the other, and goodbye when it is told to end."""

    def __init__(self, said: list[bytes], polite: bool) -> None:
        super().__init__(*said, ends=not polite)
        self.polite = polite
        self.ended = threading.Event()

    def recv(self, size: int) -> bytes:
        if not self.pieces and self.polite and self.ended.wait(20):
            self.polite = False
            return json.dumps(WELL[2]).encode() + b"\n"
        return super().recv(size)

    def sendall(self, data: bytes) -> None:
        super().sendall(data)
        if b'"type":"end"' in data:
            self.ended.set()


def opened(said: dict[str, list[bytes]], wells: set[str]) -> Any:
    """What opens a session with a scripted host."""

    def open_session(connector: Any, target: Any, become: Any, hello: Any, choice: Any, doing: Any) -> Any:
        channel = Scripted(said[target.name], target.name in wells)
        wire = Wire(channel, target.name)  # type: ignore[arg-type]
        first = wire.receive()
        if first is None:
            raise HostFailed("the program did not start")
        return SimpleNamespace(wire=wire, first=first, close=channel.close, sweep=lambda left: None)

    return open_session


@fuzzed("conversation")
@given(said=st.lists(pieces, max_size=8), greets=st.booleans(), verb=st.sampled_from(["apply", "check", "teardown"]))
def test_any_host_beside_a_good_one(said: list[bytes], greets: bool, verb: Any, tmp_path: Path) -> None:
    file = tmp_path / "playbook.yml"
    file.write_text(PLAYBOOK)
    names = ("h", "w1")
    hosts = tuple(
        Host(
            name,
            "worker" if name == "w1" else "head",
            "127.0.0.1",
            "3.11.9",
            (),
            RayOptions(),
            os="linux",
            arch="x86_64",
        )
        for name in names
    )
    well = [json.dumps(each).encode() + b"\n" for each in WELL]
    script = {"h": well[:2], "w1": (well[:2] if greets else []) + said}
    plain, document, events = io.StringIO(), io.StringIO(), list[Event]()
    reports = Reports([PlainReport(plain, 2), JsonReport(document)])

    def emit(event: Event) -> None:
        events.append(event)
        reports.emit(event)

    with bounded(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversation, "open_session", opened(script, {"h"}))
        patch.setattr(threading, "excepthook", lambda args: pytest.fail(f"a thread died of {args.exc_value!r}"))
        run = Run(Inventory("lab", "2.60.0", hosts, file), load_playbook(file), RunOptions(verb, yes=True), None, 0.0)  # type: ignore[arg-type]
        code = run.execute(emit, lambda stopping: True)
    reports.close()
    ends = {each.host: each for each in events if isinstance(each, HostFinished)}
    assert set(ends) == set(names)
    assert ends["h"].status in ("ok", "changed"), ends["h"]
    assert "unexpected" not in ends["w1"].message, ends["w1"].message
    assert code in (0, 2, 3, 4)
    harmless(plain.getvalue())
    json.loads(document.getvalue())


class Ended(Exception):
    """The controller is gone."""


class Heard(ProgramWire):
    """The program's end of the conversation, with what a controller sends in place of stdin."""

    said: list[bytes]

    def __init__(self, answer: Any, lost: Any, *others: Any) -> None:
        super().__init__(answer, self._gone, *others)
        self._out = self.output = io.BytesIO()
        self._inbox: queue.Queue[Any] = queue.Queue()
        self._left = list(self.said)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _gone(self) -> None:
        self._inbox.put(Ended())

    def receive(self) -> Any:
        message = super().receive()
        if isinstance(message, Ended):
            raise message
        return message

    def _fill(self) -> bool:
        piece = self._left.pop(0) if self._left else b""
        self._buffer += piece
        return bool(piece)

    def told(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.getvalue().splitlines()]


HELLO = {
    "type": "hello", "protocol": 1, "mode": "apply", "cluster": "lab", "host": "w1", "service": "process",
    "plays": [{"name": "P", "tasks": [{"name": "T", "resource": "nonsense", "params": {}, "when": {}}]}],
}  # fmt: skip
kinds = st.sampled_from(["hello", "play", "end", "blob", "answer", "moving", "query", "beat", "broken", "x"])
names = st.sampled_from(["id", "size", "last", "index", "changed", "clean", "purge", "what", "args", "value", "error"])
orders = st.builds(lambda kind, rest: {**rest, "type": kind}, kinds, st.dictionaries(names, anything, max_size=5))
hellos = st.dictionaries(
    st.sampled_from(["mode", "cluster", "host", "service", "plays", "account", "python", "run", "node_ip"]),
    anything,
    max_size=3,
).map(lambda rest: {**HELLO, **rest})
asked = st.one_of(
    orders.map(lambda each: json.dumps(each).encode() + b"\n"),
    hellos.map(lambda each: json.dumps(each).encode() + b"\n"),
    st.binary(max_size=30),
    st.just(b"\n"),
    st.just(b"[" * 50_000 + b"\n"),
    anything.map(lambda each: json.dumps(each).encode() + b"\n"),
)


@fuzzed("program")
@given(said=st.lists(asked, max_size=6), greeted=st.booleans())
def test_any_controller(said: list[bytes], greeted: bool, tmp_path: Path) -> None:
    """No task is ever begun here: what it would do is not what is tried."""
    hello = json.dumps({**HELLO, "plays": [], "root": str(tmp_path / "root")}).encode() + b"\n"
    with bounded(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Heard, "said", [*([hello] if greeted else []), *said], raising=False)
        patch.setattr(main, "Wire", Heard)
        patch.setattr(main, "ANSWER_WAIT", 0.0)
        patch.setattr(Machine, "folder", lambda self, *names: str(tmp_path))
        patch.setenv("HOME", str(tmp_path))
        patch.setenv("PROVISION_SANDBOX", "1")
        talk = main.Conversation()
        heard: Any = talk.wire
        try:
            talk.run()
        except Ended:
            pass
        except Exception as error:
            failure = from_exception(error)
            assert isinstance(error, Failure) or not failure.message.startswith("unexpected"), failure.message
            talk.refuse(failure)
        heard._thread.join(20)
        assert not heard._thread.is_alive()
        told = heard.told()
    assert told[0]["type"] in ("ready", "error", "reply")
    for message in told:
        assert "\n" not in message.get("message", "").strip()


words = st.sampled_from(
    ["linux", "windows", "macos", "x86_64", "aarch64", "glibc", "musl", "2.36", "2.5", "9" * 300, "15.1", "\x1b[2J"]
)
facts = st.dictionaries(
    st.sampled_from(
        ["os", "arch", "libc", "libc_version", "macos_version", "clock", "root", "python", "hostname", "x"]
    ),
    anything | words,
    max_size=8,
)


@fuzzed("facts")
@given(told=facts)
def test_any_facts(told: dict[str, Any]) -> None:
    with bounded():
        try:
            manners().check({"type": "facts", "facts": told})
        except HostFailed:
            return
        host = Host("w1", "worker", "10.0.0.1", "3.11.9", (), RayOptions())
        inventory = Inventory("lab", "2.60.0", (host,), Path("x.yml"))
        census = Census(inventory)
        for verb in ("apply", "teardown"):
            about_clock(told)
            about_leaving(told, verb, "apply")
        try:
            census.take(host, told)
            census.unsupported(told)
        except ProvisionError as error:
            assert error.message
