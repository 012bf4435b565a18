"""Everything that a host may say, and whatever else it might: told apart in a sentence, in bounded time and memory."""

from __future__ import annotations

import json
import threading
import time
import tracemalloc
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.engine.ear import Ear
from provisioner.engine.line import Line
from provisioner.engine.manners import FIELDS, LONGEST, Manners
from provisioner.engine.mirror import Mirror
from provisioner.engine.questions import MOST, Questions
from provisioner.engine.supplies import Supplies
from provisioner.errors import HostFailed, ProvisionError
from provisioner.transport import wire
from provisioner.transport.wire import Wire

SHA = "0" * 64
DIFFERENCE = {"action": "add", "what": "x", "before": "", "after": "y", "stops": ""}
GOOD: dict[str, dict[str, Any]] = {
    "ready": {},
    "beat": {},
    "facts": {"facts": {"os": "linux", "clock": 1e9, "privileged": True, "x": {"y": [1]}}},
    "observed": {
        "tasks": [{"play": 0, "task": "T", "differences": [DIFFERENCE]}],
        "dropped": {"w9": {"address": "10.0.0.9", "port": 22, "user": None, "become": True}},
        "findings": [{"message": "m", "remedy": "", "severity": "fine"}], "purged": [DIFFERENCE], "cannot": ["a", "b"],
        "untidy": False,
    },
    "doing": {"text": "x"},
    "task": {"play": 0, "task": "T", "state": "started"},
    "played": {"index": 0, "ok": True},
    "proven": {"host": "w1", "hostname": "h", "os": "Linux", "ray": "2", "python": "3", "seconds": 0.5},
    "ask": {"id": 1, "to": "controller", "what": "lock", "args": {"a": [None]}},
    "reply": {"id": 7, "value": {"x": 1}},
    "piece": {"id": 7, "data": "YQ=="},
    "need": {"id": 1, "sha256": SHA, "offset": 0},
    "enough": {"id": 1},
    "detour": {"reason": "r"},
    "error": {"message": "m", "remedy": "r", "task": ""},
    "bye": {"left": [".provision/program/x"]},
    "stopped": {"cut": "", "ray": "runs"},
}  # fmt: skip
BEGUN = {"type": "task", "play": 0, "task": "T", "state": "started"}
MAY_LACK = {
    "observed": {"dropped", "findings", "purged", "cannot", "untidy"}, "task": {"seconds", "message", "remedy"},
    "ask": {"args"}, "reply": {"value", "error", "remedy"}, "error": {"remedy", "task"}, "bye": {"left"},
    "proven": {"error"}, "played": {"again"},
}  # fmt: skip


def manners(role: str = "head") -> Manners:
    """Those of a host that was asked question 7, and is told to play 0 and to end."""
    made = Manners(role, frozenset({"h", "w1"}), 1)
    for message in ({"type": "query", "id": 7}, {"type": "play", "index": 0}, {"type": "end"}, {"type": "stop"}):
        made.sent(message)
    return made


@pytest.mark.parametrize("kind", FIELDS)
def test_what_a_program_of_ours_says_is_heard(kind: str) -> None:
    manners().check({"type": kind, **GOOD[kind]})


DEEP: Any = json.loads("[" * 40 + "]" * 40)
WRONG = [
    None,
    True,
    -1,
    1 << 60,
    0.5,
    "",
    "x\x1b",
    [],
    {},
    [[[]]],
    {"a": {"b": 1}},
    "x" * (LONGEST + 1),
    [1],
    float("inf"),
    DEEP,
]
CASES = [(kind, field) for kind, fields in FIELDS.items() for field in fields]


@pytest.mark.parametrize(("kind", "field"), CASES)
def test_a_field_that_is_missing_or_of_another_type_is_named(kind: str, field: str) -> None:
    message = {"type": kind, **GOOD[kind]}
    lacking = {name: value for name, value in message.items() if name != field}
    if field in MAY_LACK.get(kind, ()):
        manners().check(lacking)
    else:
        with pytest.raises(HostFailed, match=f"cut off: it told us .*{kind}.*{field}|proven"):
            manners().check(lacking)
    refused = 0
    for value in WRONG:
        try:
            manners().check({**message, field: value})
        except HostFailed as error:
            refused += 1
            assert "\n" not in error.message and len(error.message) < 200
    assert refused >= 1


@pytest.mark.parametrize(
    ("role", "messages", "said"),
    [
        ("head", [{"type": "closed"}], "don't know: 'closed'"),
        ("head", [{"type": "wake"}], "don't know: 'wake'"),
        ("worker", [{"type": "observed", **GOOD["observed"]}], "only the head knows"),
        ("worker", [{"type": "proven", **GOOD["proven"]}], "what ran on 'w1', of which it can't know"),
        ("head", [{"type": "proven", **GOOD["proven"], "host": "stranger"}], "of which it can't know"),
        ("head", [{"type": "piece", "id": 8, "data": "YQ=="}], "what it was not asked"),
        ("head", [{"type": "proven", **GOOD["proven"]}] * 2, "of which it can't know"),
        ("head", [{"type": "reply", "id": 8, "value": 1}], "what it was not asked"),
        ("head", [{"type": "reply", "id": 7, "value": 1}] * 2, "what it was not asked"),
        ("head", [{"type": "task", "play": 1, "task": "T", "state": "started"}], "not its turn"),
        ("head", [BEGUN] * 2, "out of its turn"),
        ("head", [{"type": "task", "play": 0, "task": "T", "state": "changed", "seconds": 1}], "out of its turn"),
        ("head", [BEGUN, {"type": "played", "index": 0, "ok": True}], "has ended, out of its turn"),
        ("head", [{"type": "played", "index": 0, "ok": True}] * 2, "has ended, out of its turn"),
        ("head", [{"type": "observed", "tasks": [{"play": 1, "task": "T", "differences": []}]}], "was not told"),
        ("head", [{"type": "observed", "tasks": [], "dropped": {"x": {"address": "a; rm -rf /"}}}], "'dropped'"),
        ("head", [{"type": "observed", "tasks": [], "dropped": {"x": {"address": "-oProxyCommand=x"}}}], "'dropped'"),
        ("head", [{"type": "need", "id": 1, "sha256": "../../../etc/shadow", "offset": 0}], "'sha256'"),
    ],
)  # fmt: skip
def test_out_of_turn_or_about_others(role: str, messages: list[dict[str, Any]], said: str) -> None:
    judge = manners(role)
    with pytest.raises(HostFailed, match=said):
        for message in messages:
            judge.check(message)


def test_goodbye_before_its_time() -> None:
    with pytest.raises(HostFailed, match="goodbye before its time"):
        Manners("head", frozenset(), 1).check({"type": "bye"})


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([SHA, "started", "h"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=10,
)
sayings = st.sampled_from([*FIELDS, "closed", "broken", "x"]).flatmap(
    lambda kind: st.fixed_dictionaries(
        {"type": st.just(kind)}, optional=dict.fromkeys(FIELDS.get(kind, ()), anything)
    ).map(lambda said: {**said, "type": kind})
)
mixed = st.builds(
    lambda said, keep: {**{k: v for k, v in GOOD.get(said["type"], {}).items() if k in keep}, **said},
    sayings,
    st.sets(st.sampled_from(sorted({field for fields in FIELDS.values() for field in fields}))),
)


@given(role=st.sampled_from(["head", "worker"]), said=st.lists(mixed | sayings, max_size=8))
def test_whatever_a_host_says_is_taken_or_refused(role: str, said: list[dict[str, Any]]) -> None:
    judge = manners(role)
    for message in said:
        try:
            assert judge.check(message) is message
        except HostFailed as error:
            assert error.message.startswith("the host was cut off")
            return


class Host:
    """A channel at whose other end somebody says what the test wants."""

    def __init__(self, *pieces: bytes, endless: bytes = b"", ends: bool = True, pace: float = 0) -> None:
        self.pieces, self.endless, self.ends = [piece for piece in pieces if piece], endless, ends
        self.given, self.pace = 0, pace
        self.closed = threading.Event()

    def recv(self, size: int) -> bytes:
        if self.closed.is_set():
            return b""
        piece = self.pieces.pop(0) if self.pieces else self.endless
        self.given += len(piece)
        time.sleep(self.pace)
        if not piece and not self.ends:
            self.closed.wait(20)
        return piece

    def sendall(self, data: bytes) -> None:
        if self.closed.is_set():
            raise OSError("closed")

    def close(self) -> None:
        self.closed.set()

    def recv_stderr_ready(self) -> bool:
        return bool(self.endless)

    def recv_stderr(self, size: int) -> bytes:
        return self.endless[:size]


READY = b'{"type":"ready"}\n'
FLOODS = {
    "one huge line": (b"", b"x" * 60_000),
    "one huge message": (b'{"type":"doing","text":"', b"x" * 60_000),
    "endless garbage": (b"", b"x" * 500 + b"\n"),
    "endless messages": (READY, b'{"type":"doing","text":"x"}\n' * 100),
    "endless signs of life": (READY, b'{"type":"beat"}\n' * 100),
    "huge messages": (READY, b'{"type":"doing","text":"' + b"x" * 1_000_000 + b'"}\n'),
    "brackets": (READY, b'{"type":"ask","args":[' + b"[]," * 1_300_000 + b"0]}\n"),
    "depth": (READY, b'{"type":"ask","args":' + b"[" * 900 + b"]" * 900 + b"}\n"),
    "too deep": (READY, b'{"type":"ask","args":' + b"[" * 200_000 + b"\n"),
    "no numbers": (READY, b'{"type":"task","seconds":Infinity}\n'),
    "long numbers": (READY, b'{"type":"task","seconds":' + b"9" * 10_000 + b"}\n"),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_host_without_end_is_cut_off_and_memory_stays_bounded(flood: str) -> None:
    first, endless = FLOODS[flood]
    channel = Host(first, endless=endless)
    end = Wire(channel, "w1")  # type: ignore[arg-type]
    judge = manners()
    tracemalloc.start()
    begun = time.monotonic()
    with pytest.raises(HostFailed, match=r"cut off|no message of ours"):
        while (message := end.receive()) is not None:
            judge.check(message)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 256 * 1024 * 1024, f"{taken >> 20} MiB"
    assert channel.given <= wire.BURST[1] + 2 * wire.LONGEST_LINE
    assert time.monotonic() - begun < 60
    assert len(end.stderr()) <= wire.ERRORS + 65536


def test_a_host_that_only_breathes_is_given_up() -> None:
    channel = Host(endless=b" ", pace=0.05)
    with pytest.raises(HostFailed, match="says nothing of use"):
        Wire(channel, "w1").receive(time.monotonic() + 0.2)  # type: ignore[arg-type]


def test_a_run_of_hours_is_no_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    end = Wire(Host(endless=b'{"type":"beat"}\n'), "w1")  # type: ignore[arg-type]
    for _ in range(10_000):
        clock[0] += 0.2
        assert end.receive() == {"type": "beat"}


def heard_by(*messages: Any, first: Any = None, judge: Manners | None = None) -> tuple[list[Any], ProvisionError]:
    """What a conversation hears of a host that says this, and how that ends."""
    heard: list[Any] = []
    channel = Host(*(json.dumps(each).encode() + b"\n" for each in messages), ends=False)
    session = SimpleNamespace(wire=Wire(channel, "w1"), first=first or {"type": "beat"}, close=channel.close)  # type: ignore[arg-type]
    line = Line("w1", judge or manners(), heard.append, lambda now: None)
    try:
        line.connect(session)  # type: ignore[arg-type]
        line.wait(lambda: any(each["type"] in ("error", "closed") for each in heard))
        return heard, HostFailed(next(each for each in heard if each["type"] == "error")["message"])
    except ProvisionError as error:
        return heard, error
    finally:
        channel.close()


def test_what_a_host_is_asked_for_is_no_flood() -> None:
    """A head answers for every worker that waits to be in its list, several times a second."""
    judge, number = manners(), 2 * wire.BURST[0]
    for each in range(number):
        judge.sent({"type": "query", "id": each})
    replies = [{"type": "reply", "id": each, "value": []} for each in range(number)]
    heard, error = heard_by(*replies, {"type": "reply", "id": 0, "value": []}, judge=judge)
    assert [each["type"] for each in heard].count("reply") == number
    assert "an answer to what it was not asked" in error.message


def test_nothing_of_a_message_that_breaks_the_rules_is_heard() -> None:
    heard, error = heard_by({"type": "doing", "text": "x"}, {"type": "doing"}, {"type": "doing", "text": "late"})
    assert [each["type"] for each in heard if each["type"] != "closed"] == ["beat", "doing", "error"]
    assert "'text' is not as it should be" in error.message
    heard, error = heard_by(first={"type": "facts", "facts": 5})
    assert heard == [] and "'facts' is not as it should be" in error.message


def test_questions_are_limited_and_always_answered() -> None:
    go = threading.Event()
    sent: list[Any] = []
    answers: dict[str, Any] = {"lock": {"wheels": [{"sha256": SHA}], "uv": {"sha256": "1" * 64}}}

    def answer(to: str, what: str, args: Any, asker: Any, moving: Any) -> Any:
        if what == "wait":
            go.wait(20)
        return answers[what] if what != "bad" else [][1]

    questions = Questions(answer, SimpleNamespace(name="w1"), sent.append)  # type: ignore[arg-type]
    for what in ("lock", "bad"):
        questions.take({"type": "ask", "id": 1, "to": "controller", "what": what})
    limit = time.monotonic() + 10
    while len(sent) < 2 and time.monotonic() < limit:
        time.sleep(0.01)
    assert {each.get("error", "").split(":")[0] for each in sent} == {"", "unexpected IndexError"}
    assert questions.offered(SHA) and questions.offered("1" * 64) and not questions.offered("2" * 64)
    with pytest.raises(HostFailed, match="more than 16 questions at once"):
        for number in range(MOST + 1):
            questions.take({"type": "ask", "id": number, "to": "controller", "what": "wait"})
    go.set()


def test_files_of_others_are_not_handed_out() -> None:
    talk = Ear.__new__(Ear)
    talk._declaration = SimpleNamespace(files={SHA: b"mine"})  # type: ignore[assignment]
    talk._questions = SimpleNamespace(offered=lambda sha256: sha256 == "1" * 64)  # type: ignore[assignment]
    mirror = Mirror("m", {"m": "10.0.0.1"}, 0, lambda *_: 0, lambda *_: None)
    mirror.offer([{"sha256": "2" * 64, "filename": "f", "size": 1}])
    talk._run = SimpleNamespace(artifacts=SimpleNamespace(open=lambda sha256: f"open {sha256[:1]}"), mirror=mirror)
    talk.name = "w1"
    assert (talk._content(SHA), talk._content("1" * 64)) == (b"mine", "open 1")
    for other in ("2" * 64, "3" * 64):
        with pytest.raises(HostFailed, match="none of its own"):
            talk._content(other)
    talk.name = "m"
    assert talk._content("2" * 64) == "open 2"


@pytest.mark.parametrize("port", [None, "7000", 0, 70000, [], {}])
def test_a_mirror_that_says_no_port_hands_out_nothing(port: Any) -> None:
    told: list[Any] = []
    mirror = Mirror("m", {"m": "10.0.0.1", "w": "10.0.0.2"}, 0, lambda *_: port, lambda *words: told.append(words))
    mirror.offer([{"sha256": SHA, "filename": "f", "size": 1}])
    assert mirror.source("w", [SHA]) is None
    assert "does not say on which port" in told[0][1]


@given(args=anything, what=st.sampled_from(["lock", "interpreter", "source"]))
def test_any_question_of_a_host_is_refused_in_words(args: Any, what: str) -> None:
    mirror = Mirror(None, {}, 0, lambda *_: 0, lambda *_: None)
    supplies = Supplies(SimpleNamespace(hosts=()), None, mirror, lambda *_: None, lambda *_: None)  # type: ignore[arg-type]
    asker: Any = SimpleNamespace(name="w1")
    ask = supplies.source if what == "source" else getattr(supplies, what)
    rest = () if what == "source" else (lambda: None,)
    if isinstance(args, dict) and {"facts", "files"} & set(args):
        return
    with pytest.raises(HostFailed):
        ask(args, asker, *rest)
