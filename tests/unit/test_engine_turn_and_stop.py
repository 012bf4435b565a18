"""The run's turn on the cluster, and its end when the user wants that: what is decided by what is heard."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from provisioner.engine import turn
from provisioner.engine.stop import Stop
from provisioner.engine.turn import Turn
from provisioner.errors import HostFailed, NoTurn, SaysNothing, Unreachable
from tests.waiting import soon

HOLDER = {"who": "kim@desk", "from": "10.0.0.7", "verb": "apply", "age": 65.0, "silent": 2.0}


@dataclass
class Scene:
    """A head that answers in turn, and what the user was told."""

    answers: list[Any]
    told: list[str] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    decided: threading.Event = field(default_factory=threading.Event)

    def ask(self, host: str, what: str, args: Any, limit: float, connect: float) -> Any:
        self.asked.append(args() if callable(args) else args)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def turn(self, timeout: float = 300.0, head: str | None = "h1") -> Turn:
        tell, wake = (lambda *words: self.told.append(words[0])), self.decided.set
        return Turn(head, ["h1", "w1"], timeout, self.ask, tell, wake, self.lost.append)


def settle(here: Turn, scene: Scene) -> None:
    for name in ("h1", "w1"):
        here.looking(name)
    here.observed("h1", wants=False)
    here.observed("w1", wants=True)
    assert scene.decided.wait(10)
    assert here.is_settled()


CASES: list[tuple[str, list[Any], bool, bool, str, str]] = [
    ("free", [{}], True, False, "", ""),
    ("another run came first", [{"holder": HOLDER}, {}], True, True, "", "waiting for the turn of kim@desk (from 10"),
    ("changed since", [{"stale": True}], True, True, "", ""),
    ("the head still looks at itself", [{"looking": True}, {}], True, False, "", ""),
    ("the head is slow", [SaysNothing("no answer"), SaysNothing("no answer"), {}], True, False, "", ""),
    ("the head can't", [HostFailed("its disk is full")], False, False, "h1 can't keep other runs out: its disk", ""),
    ("its link breaks", [Unreachable("the connection broke off")], True, False, "", "no other run is kept out"),
    ("our own mistake", [KeyError("x")], False, False, "unexpected KeyError", ""),
]


@pytest.mark.parametrize(("answers", "ours", "outdated", "refused", "told"), [case[1:] for case in CASES],
                         ids=[case[0] for case in CASES])  # fmt: skip
def test_whose_turn_it_is(answers: list[Any], ours: bool, outdated: bool, refused: str, told: str) -> None:
    scene = Scene(answers)
    here = scene.turn()
    settle(here, scene)
    assert here.is_ours is ours
    assert [here.is_outdated("h1"), here.is_outdated("h1")] == [outdated, False], "told once"
    assert refused in (here.refusal or ("",))[0] and bool(refused) == bool(here.refusal)
    assert told in "".join(scene.told) and bool(told) == bool(scene.told)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("LOOK_PAUSE", 0.01), ("LOOK_LIMIT", 0.3), ("TAKE_LIMIT", 5.0)):
        monkeypatch.setattr(turn, name, seconds)


@pytest.mark.parametrize(("answer", "refused"), [
    (SaysNothing("h1 did not answer within 60 s"), "h1 can't keep other runs out: h1 did not answer within 60 s"),
    ({"looking": True}, "h1 can't keep other runs out: it looked at itself for more than 0 s"),
])  # fmt: skip
def test_a_head_that_never_answers_is_not_asked_for_ever(answer: Any, refused: str) -> None:
    scene = Scene([answer])
    here = scene.turn(timeout=0.2)
    settle(here, scene)
    assert here.refusal is not None and here.refusal[0] == refused
    assert len(scene.asked) < 100


def test_whoever_can_not_know_waits_no_longer_than_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr(turn, "TAKE_LIMIT", 0.1)
    here = Turn("h1", ["h1"], 0.1, lambda *about: never.wait(20), lambda *words: None, lambda: None)
    begun = time.monotonic()
    with pytest.raises(NoTurn, match="it is not known after 0 s whose turn it is"):
        here.take()
    never.set()
    assert time.monotonic() - begun < 10


def test_a_terminal_that_breaks_keeps_nobody_waiting() -> None:
    def breaks(*words: str) -> None:
        raise OSError("no space left on device")

    here = Turn("h1", ["h1", "w1"], 300.0, Scene([{"holder": HOLDER}, {}]).ask, breaks, lambda: None)
    with pytest.raises(NoTurn, match="unexpected OSError"):
        here.take()


def test_what_was_seen_gets_older_until_the_head_can_be_asked() -> None:
    ages: list[float] = []

    def ask(host: str, what: str, args: Any, limit: float, connect: float) -> Any:
        time.sleep(0.5)  # it connects
        ages.append(args()["age"])
        return {}

    here = Turn("h1", ["h1", "w1"], 300.0, ask, lambda *words: None, lambda: None)
    here.looks()
    here.take()
    assert ages[0] >= 0.5


def test_who_is_looked_at_again_is_waited_for_before_anybody_may_begin() -> None:
    anew: list[tuple[set[str], bool]] = []
    scene = Scene([{"stale": True}])
    here = Turn("h1", ["h1", "w1"], 300.0, scene.ask, lambda *words: None, lambda: None,
                anew=lambda hosts: anew.append((hosts, here.is_ours)))  # fmt: skip
    here.looking("w1")
    here.take()
    assert anew == [({"w1"}, False)]


def test_nobody_waits_longer_than_they_want() -> None:
    scene = Scene([{"holder": HOLDER}])
    here = scene.turn(timeout=0.0)
    settle(here, scene)
    assert (here.is_ours, here.busy) == (False, True)
    assert here.refusal is not None
    assert "it is the turn of kim@desk (from 10.0.0.7): `apply` since" in here.refusal[0]
    assert "(1 min 5 s), last sign of life 2 s ago" in here.refusal[0]


@pytest.mark.parametrize("head", ["h1", None])
def test_who_has_nothing_to_do_asks_nobody(head: str | None) -> None:
    here = Scene([AssertionError("asked")]).turn(head=head)
    here.observed("h1", wants=False)
    assert here.is_settled() is (head is None)
    here.observed("w1", wants=False)
    assert here.is_settled() and not here.is_ours and here.refusal is None


def test_what_is_refused_can_not_be_taken() -> None:
    here = Scene([HostFailed("its disk is full", remedy="make room")]).turn()
    with pytest.raises(NoTurn, match="its disk is full"):
        here.take()


def test_whoever_is_being_looked_at_when_the_turn_comes_is_outdated_too() -> None:
    scene = Scene([{"stale": True}])
    here = scene.turn()
    here.looking("w1")
    here.take()
    here.looking("h1")
    assert [here.is_outdated(name) for name in ("w1", "h1")] == [True, False]


def test_who_has_nothing_to_do_leaves_as_long_as_nobody_asks() -> None:
    scene = Scene([{"stale": True}])
    here = scene.turn()
    here.looking("h1")
    here.observed("h1", wants=False)
    assert here.may_leave("h1")
    here.take()
    assert not here.may_leave("w1")
    assert not here.is_outdated("h1"), "it is not there to be looked at"
    assert soon(lambda: "the other run may have changed h1" in "".join(scene.told), 5)


GONE: list[tuple[str, list[Any], bool, list[str]]] = [
    ("while it holds the turn", [{}], False, ["the host has been silent for 45 s"]),
    ("before it was asked", [HostFailed("h1 is not there to answer")], True, []),
    ("without ever having held it", [Unreachable("the connection broke off")], False, []),
]


@pytest.mark.parametrize(("answers", "before", "lost"), [case[1:] for case in GONE], ids=[case[0] for case in GONE])
def test_the_head_goes(answers: list[Any], before: bool, lost: list[str]) -> None:
    scene = Scene(answers)
    here = scene.turn()
    if before:
        here.gone("h1", "the host has been silent for 45 s")
    here.take()
    if not before:
        here.gone("h1", "the host has been silent for 45 s")
    assert here.is_ours and scene.lost == lost


@pytest.mark.parametrize(("answer", "silence", "certain"), [
    ({}, 0.0, True), ({}, 21.0, False), (Unreachable("the connection broke off"), 21.0, True),
])  # fmt: skip
def test_whether_the_turn_is_still_ours(answer: Any, silence: float, certain: bool) -> None:
    here = Scene([answer]).turn()
    here.take()
    assert here.is_certain(silence) is certain


def test_a_holder_that_hangs_is_named_by_its_process() -> None:
    scene = Scene([{"holder": {**HOLDER, "silent": 900.0, "pid": 711, "asks": True}}])
    here = scene.turn(timeout=0.0)
    settle(here, scene)
    assert here.refusal is not None
    assert "and waits for its user's answer, last sign of life 15 min 0 s ago" in here.refusal[0]
    assert here.refusal[1].startswith("end process 711 on h1, which hangs")


def test_others_are_told_that_the_user_is_asked() -> None:
    scene = Scene([{}])
    here = scene.turn()
    here.tell(asks=True)
    assert scene.asked == [], "nobody waits for a turn that nobody has"
    here.take()
    here.tell(asks=True)
    assert soon(lambda: len(scene.asked) == 2, 5) and scene.asked[1]["asks"] is True


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3700, "1 h 1 min")])
def test_times_in_words(seconds: float, words: str) -> None:
    assert turn.lasting(seconds) == words


class Talk:
    """A conversation, as far as it is ended."""

    def __init__(self, role: str = "worker", reached: bool = True, ends: bool = False) -> None:
        self.host = SimpleNamespace(role=role)
        self.reached = reached
        self.ends = ends
        self.finished = threading.Event()

    def abandon(self) -> None:
        self.finished.set()


class Running:
    """A run of such conversations."""

    def __init__(self, *talks: Talk) -> None:
        self.talks, self.told = talks, []  # type: ignore[var-annotated]
        self.stopping = threading.Event()

    def all(self) -> tuple[Talk, ...]:
        return self.talks

    def begin_to_stop(self) -> None:
        self.stopping.set()
        for talk in self.talks:
            if talk.ends:
                talk.finished.set()

    def tell_now(self, message: str, remedy: str) -> None:
        self.told.append(message)


def stop(run: Running, interruptions: Callable[[], int]) -> Stop:
    return Stop(run, interruptions)  # type: ignore[arg-type]


def test_nobody_interrupts() -> None:
    run = Running(Talk())
    run.talks[0].finished.set()
    here = stop(run, lambda: 0)
    here.wait_for_all()
    assert not here.begun and run.told == []


def test_once_ends_in_good_order_and_gives_up_who_was_never_reached() -> None:
    run = Running(Talk(ends=True), Talk(reached=False))
    here = stop(run, lambda: 1)
    here.wait_for_all()
    assert here.begun and len(run.told) == 1
    assert all(talk.finished.is_set() for talk in run.talks)


def test_a_run_that_lost_its_turn_gives_them_up_too_and_was_not_interrupted() -> None:
    run = Running(Talk(ends=True), Talk(reached=False))
    here = stop(run, lambda: 0)
    run.begin_to_stop()
    here.wait_for_all()
    assert not here.begun and run.told == []
    assert all(talk.finished.is_set() for talk in run.talks)


def test_twice_waits_for_nobody() -> None:
    run, begun = Running(Talk()), time.monotonic()
    here = stop(run, lambda: 2)
    here.wait_for_all()
    assert here.begun and not run.talks[0].finished.is_set()
    assert time.monotonic() - begun < 2


def test_an_interrupt_in_the_last_moment_is_seen() -> None:
    """What was waited for is there, and so is Ctrl-C: nobody is asked a question any more."""
    ready = threading.Event()
    ready.set()
    here = stop(Running(Talk()), lambda: 1)
    assert here.wait(ready)
    assert here.begun
