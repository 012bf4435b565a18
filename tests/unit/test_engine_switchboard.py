"""The switchboard: questions of hosts to each other, while some come late, go, or say nothing."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import Any

import pytest

from provisioner.engine.switchboard import Switchboard
from provisioner.errors import HostFailed
from tests.waiting import soon


class Line:
    """A host at the other end, which answers when told to."""

    def __init__(self, board: Switchboard, name: str = "ctl") -> None:
        self.board = board
        self.heard: list[dict[str, Any]] = []
        board.expect(name)
        board.connect(name, self.heard.append)

    def answer(self, **reply: Any) -> None:
        limit = time.monotonic() + 5
        while not self.heard:
            assert time.monotonic() < limit
            time.sleep(0.005)
        self.board.reply({"type": "reply", "id": self.heard[0]["id"], **reply})


def ask(board: Switchboard, count: int, what: str = "nodes") -> tuple[list[threading.Thread], list[Any]]:
    """Ask from several threads; returns them and the list that gets the answers."""
    answers: list[Any] = []

    def one() -> None:
        try:
            answers.append(board.ask("ctl", what, {"x": 1}, 5.0))
        except HostFailed as error:
            answers.append(error.message)

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, answers


def join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_equal_questions_at_once_are_asked_once() -> None:
    board = Switchboard()
    line = Line(board)
    threads, answers = ask(board, 5)
    time.sleep(0.1)
    line.answer(value=[1])
    join(threads)
    assert answers == [[1]] * 5
    assert len(line.heard) == 1
    assert (line.heard[0]["what"], line.heard[0]["args"]) == ("nodes", {"x": 1})
    line.heard.clear()
    threads, answers = ask(board, 1)
    line.answer(value=[2])
    join(threads)
    assert answers == [[2]], "a later question is asked anew"


def test_other_questions_are_other_questions() -> None:
    board = Switchboard()
    line = Line(board)
    threads, answers = ask(board, 1, "a")
    more, others = ask(board, 1, "b")
    limit = time.monotonic() + 5
    while len(line.heard) < 2 and time.monotonic() < limit:
        time.sleep(0.005)
    for heard in line.heard:
        board.reply({"id": heard["id"], "value": heard["what"]})
    join(threads + more)
    assert (answers, others) == (["a"], ["b"])


def test_errors_are_passed_on() -> None:
    board = Switchboard()
    line = Line(board)
    threads, answers = ask(board, 2)
    line.answer(error="no idea")
    join(threads)
    assert answers == ["no idea"] * 2


def test_whoever_waits_for_a_host_that_goes_is_told() -> None:
    board = Switchboard()
    line = Line(board)
    threads, answers = ask(board, 2)
    limit = time.monotonic() + 5
    while not line.heard and time.monotonic() < limit:
        time.sleep(0.005)
    board.gone("ctl")
    join(threads)
    assert answers == ["ctl is not there to answer"] * 2
    assert ask_now(board) == "ctl is not there to answer"


def test_an_answer_that_comes_in_the_moment_the_host_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was faster has said it: the other one must not fail for it."""
    board = Switchboard()
    line = Line(board)
    threads, answers = ask(board, 1)
    assert soon(lambda: line.heard, 5)
    _, future = board._pending[line.heard[0]["id"]]
    future.set_result("an answer")
    monkeypatch.setattr(Future, "done", lambda self: False)
    board.gone("ctl")
    monkeypatch.undo()
    join(threads)
    assert answers == ["an answer"]


def ask_now(board: Switchboard, timeout: float = 5.0) -> str:
    with pytest.raises(HostFailed) as caught:
        board.ask("ctl", "nodes", None, timeout)
    return caught.value.message


def test_a_host_that_never_came() -> None:
    board = Switchboard()
    assert ask_now(board) == "ctl takes no part in this run"
    board.expect("ctl")
    threads, answers = ask(board, 1)
    time.sleep(0.05)
    board.gone("ctl")
    join(threads)
    assert answers == ["ctl is not there to answer"]


def test_a_host_that_is_long_in_coming() -> None:
    """All who ask the same wait for it, however late they ask; when it is there their time to be answered begins."""
    board = Switchboard()
    board.expect("ctl")
    threads, answers = ask(board, 3)
    time.sleep(0.1)
    heard: list[dict[str, Any]] = []
    board.connect("ctl", heard.append)
    limit = time.monotonic() + 5
    while not heard and time.monotonic() < limit:
        time.sleep(0.005)
    time.sleep(0.05)
    board.reply({"type": "reply", "id": heard[0]["id"], "value": 1})
    join(threads)
    assert (answers, len(heard)) == ([1, 1, 1], 1)
    board.expect("other")
    with pytest.raises(HostFailed, match="other did not connect within 0 s"):
        board.ask("other", "nodes", None, 5.0, 0.05)


def test_a_host_is_waited_for_while_something_goes_on_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is being brought an interpreter; there is a limit all the same."""
    board = Switchboard()
    board.expect("ctl")
    stop = threading.Event()

    def progress() -> None:
        while not stop.wait(0.05):
            board.moved("ctl")

    threading.Thread(target=progress, daemon=True).start()
    begun = time.monotonic()
    threading.Timer(1.0, stop.set).start()
    with pytest.raises(HostFailed, match="ctl did not connect within 1 s"):
        board.ask("ctl", "hold", None, 5.0, 0.4)
    assert 1.0 < time.monotonic() - begun < 5.0
    stop.clear()
    threading.Thread(target=progress, daemon=True).start()
    monkeypatch.setattr("provisioner.engine.switchboard.CONNECT_MOST", 0.5)
    with pytest.raises(HostFailed, match="ctl did not connect"):
        board.ask("ctl", "hold", None, 5.0, 60.0)
    stop.set()


def test_a_host_that_says_nothing() -> None:
    board = Switchboard()
    line = Line(board)
    assert ask_now(board, 0.05) == "ctl did not answer within 0 s"
    line.answer(value="too late")
    board.reply({"id": 99})
    board.reply({})


@pytest.mark.parametrize("goes", [False, True])
def test_nobody_is_asked_more_at_once_than_they_answer(goes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisioner.engine.switchboard.MOST", 2)
    board = Switchboard()
    line = Line(board)
    asked = [ask(board, 1, what) for what in ("a", "b", "c", "c")]
    assert soon(lambda: len(line.heard) == 2)
    time.sleep(0.1)
    assert len(line.heard) == 2, "the others wait"
    if goes:
        board.gone("ctl")
    else:
        line.answer(value=1)
        assert soon(lambda: len(line.heard) == 3), "equal ones are asked once"
        for heard in line.heard[1:]:
            board.reply({"id": heard["id"], "value": 1})
    join([thread for threads, _ in asked for thread in threads])
    wanted = ["ctl is not there to answer"] if goes else [1]
    assert [answers for _, answers in asked] == [wanted] * 4


def test_a_line_that_breaks_while_asking() -> None:
    board = Switchboard()

    def broken(message: Any) -> None:
        raise HostFailed("the connection broke off")

    board.expect("ctl")
    board.connect("ctl", broken)
    assert ask_now(board) == "the connection broke off"
