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
from provisioner.errors import HostFailed, ProvisionError, Unreachable

HOLDER = {"who": "kim@desk", "from": "10.0.0.7", "verb": "apply", "age": 65.0, "silent": 2.0}


@dataclass
class Scene:
    """A head that answers in turn, and what the user was told."""

    answers: list[Any]
    told: list[str] = field(default_factory=list)
    decided: threading.Event = field(default_factory=threading.Event)

    def ask(self, host: str, what: str, args: Any, limit: float, connect: float) -> Any:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def turn(self, timeout: float = 300.0, head: str | None = "h1") -> Turn:
        return Turn(head, ["h1", "w1"], timeout, self.ask, lambda *words: self.told.append(words[0]), self.decided.set)


def settle(here: Turn, scene: Scene) -> None:
    here.observed("h1", wants=False)
    here.observed("w1", wants=True)
    assert scene.decided.wait(10)
    assert here.is_settled()


CASES: list[tuple[str, list[Any], bool, bool, str, str]] = [
    ("free", [{}], True, False, "", ""),
    ("another run came first", [{"holder": HOLDER}, {}], True, True, "", "waiting for the turn of kim@desk (from 10"),
    ("changed since", [{"stale": True}], True, True, "", ""),
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
    with pytest.raises(ProvisionError, match="its disk is full"):
        here.take()


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

    def all(self) -> tuple[Talk, ...]:
        return self.talks

    def begin_to_stop(self) -> None:
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
