"""The engine's small parts: gates, consent, the switchboard, and how a run is judged."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.engine.consent import Consent
from provisioner.engine.conversation import worth_telling
from provisioner.engine.gates import Gate, Gates
from provisioner.engine.outcome import Outcome, exit_code
from provisioner.engine.switchboard import Switchboard
from provisioner.errors import HostFailed, Unreachable
from provisioner.events import Difference, Verb

HOSTS = [f"h{number}" for number in range(4)]
PLAYS = [f"p{number}" for number in range(5)]
Plan = tuple[dict[str, set[str]], dict[str, tuple[str, ...]]]


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Plays over hosts; each may need earlier ones, also such that no host of the run has."""
    plays = PLAYS[: draw(st.integers(1, len(PLAYS)))]
    hosts = {play: draw(st.sets(st.sampled_from(HOSTS), min_size=1)) for play in plays if draw(st.integers(0, 5))}
    needs = {play: tuple(draw(st.sets(st.sampled_from(plays[:index]))) if index else ())
             for index, play in enumerate(plays) if play in hosts}  # fmt: skip
    return hosts, needs


@settings(max_examples=40)
@given(plan=plans(), order=st.randoms(use_true_random=False), good=st.randoms(use_true_random=False))
def test_a_gate_opens_when_all_are_through_and_one_went_well(plan: Plan, order: Any, good: Any) -> None:
    hosts, needs = plan
    gates = Gates(hosts, needs, reverse=False)
    steps = [(play, host) for play, names in hosts.items() for host in sorted(names)]
    order.shuffle(steps)
    through: dict[str, dict[str, bool]] = {play: {} for play in hosts}
    for play, host in steps:
        expect(gates, hosts, needs, through)
        through[play][host] = good.random() < 0.5
        gates.through(play, host, through[play][host])
    expect(gates, hosts, needs, through)


def expect(gates: Gates, hosts: dict[str, set[str]], needs: Any, through: dict[str, dict[str, bool]]) -> None:
    for play in hosts:
        needed = [name for name in needs[play] if name in hosts]
        ended = [name for name in needed if len(through[name]) == len(hosts[name])]
        lost = [name for name in ended if not any(through[name].values())]
        state = Gate.SHUT if lost else Gate.OPEN if len(ended) == len(needed) else Gate.WAITING
        assert gates.state(play) is state
        if lost:
            assert any(name in gates.refuse(play)[0] for name in lost)


@settings(max_examples=40)
@given(plan=plans(), order=st.randoms(use_true_random=False))
def test_backwards_a_play_waits_for_those_that_need_it(plan: Plan, order: Any) -> None:
    hosts, needs = plan
    gates = Gates(hosts, needs, reverse=True)
    waiting = {play: set(names) for play, names in hosts.items()}
    steps = [(play, host) for play, names in hosts.items() for host in sorted(names)]
    order.shuffle(steps)
    for play, host in [*steps, ("", "")]:
        for each in hosts:
            open_ = not any(waiting[other] for other in hosts if each in needs[other])
            assert gates.state(each) is (Gate.OPEN if open_ else Gate.WAITING)
        if play:
            waiting[play].discard(host)
            gates.through(play, host, good=False)


@pytest.mark.parametrize("reverse", [False, True])
@settings(max_examples=40)
@given(plan=plans())
def test_walks_never_wait_for_each_other_for_ever(reverse: bool, plan: Plan) -> None:
    """Whoever may go on does; all arrive."""
    hosts, needs = plan
    gates = Gates(hosts, needs, reverse)
    plays = list(reversed(hosts)) if reverse else list(hosts)
    left = {host: [play for play in plays if host in hosts[play]] for host in HOSTS}
    while any(left.values()):
        ready = [host for host in HOSTS if left[host] and gates.state(left[host][0]) is Gate.OPEN]
        assert ready, left
        for host in ready:
            gates.through(left[host].pop(0), host, good=True)


def test_a_host_that_is_gone_is_through_with_everything_badly() -> None:
    gates = Gates({"a": {"h1", "h2"}, "b": {"h1"}, "c": {"h2"}}, {"a": (), "b": (), "c": ("a", "b")}, reverse=False)
    woken: list[int] = []
    gates.listen(lambda: woken.append(1))
    gates.gone("h1")
    assert woken
    assert gates.state("c") is Gate.SHUT
    assert gates.refuse("c")[0] == "'b' did not succeed on h1"
    gates.gone("h2")
    gates.gone("h2")
    assert gates.refuse("c")[0] == "'a' did not succeed on any of its hosts"


def chain() -> Gates:
    """Three plays that need nothing, as of three hosts."""
    return Gates({"a": {"h1", "h2", "h3"}, "b": {"h1"}, "c": {"h2", "h3"}}, {}, reverse=False)


@pytest.mark.parametrize(
    ("h2", "h3", "state"),
    [
        ("good", "good", Gate.OPEN),
        ("bad", "good", Gate.SHUT),
        ("lost", "good", Gate.SHUT),
        ("good", "away", Gate.OPEN),
        ("bad", "away", Gate.SHUT),
        ("good", "", Gate.WAITING),
        ("bad", "", Gate.WAITING),
    ],
)
def test_nothing_that_runs_is_stopped_before_all_are_prepared(h2: str, h3: str, state: Gate) -> None:
    gates = chain()
    gates.through("a", "h1", good=True)
    for host, fate in (("h2", h2), ("h3", h3)):
        if fate in ("good", "bad"):
            gates.through("a", host, fate == "good")
        elif fate:
            gates.gone(host, reached=fate == "lost")
    assert gates.state("b", stops=True) is state
    assert gates.state("b") is Gate.OPEN, "what is only started waits for nobody"
    if state is Gate.SHUT:
        reason, remedy = gates.refuse("b")
        assert reason == "nothing was restarted, because h2 did not get through 'a'"
        assert "mend h2" in remedy


def test_what_stops_waits_for_every_earlier_play_in_the_playbooks_order() -> None:
    gates = chain()
    for host in ("h1", "h2", "h3"):
        gates.through("a", host, good=True)
    assert gates.state("c", stops=True) is Gate.WAITING
    assert gates.state("b", stops=True) is Gate.OPEN, "a later play is no reason to wait"
    gates.through("b", "h1", good=False)
    assert gates.state("c", stops=True) is Gate.SHUT
    assert gates.refuse("c")[0] == "nothing was restarted, because h1 did not get through 'b'"
    gates = Gates({"a": {"h1", "h2"}, "b": {"h1"}, "c": {"h2"}}, {"c": ("b",)}, reverse=False)
    gates.through("a", "h1", good=True)
    gates.through("a", "h2", good=False)
    told = gates.refuse("b")
    gates.gone("h1")
    assert gates.state("c") is Gate.SHUT
    assert gates.refuse("c") == told, "who waits for one that was kept back is told why that was"
    assert Gates({"a": {"h1"}, "b": {"h1"}}, {}, reverse=True).state("b", stops=True) is Gate.OPEN


STOP = Difference("h1", "T", "change", "Ray", stops="Ray on h1")


def test_the_question_comes_when_all_have_settled() -> None:
    consent = Consent({"h1", "h2"}, given=False)
    asked: list[tuple[Difference, ...]] = []
    thread = threading.Thread(target=lambda: asked.append(consent.question()))
    thread.start()
    consent.settle("h1", (STOP,))
    consent.expect("dropped")
    consent.settle("h2")
    consent.settle("h2", (STOP,))
    thread.join(0.1)
    assert asked == []
    consent.settle("dropped", (STOP,))
    thread.join(5)
    assert asked == [(STOP, STOP)]


def test_everybody_is_told_the_decision() -> None:
    consent = Consent({"h1"}, given=False)
    told: list[bool | None] = []
    consent.listen(lambda: told.append(consent.decision))
    consent.listen(lambda: told.append(consent.decision))
    assert consent.decision is None
    consent.decide(False)
    assert told == [False, False]
    assert Consent(set(), given=True).decision is True


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


def test_a_line_that_breaks_while_asking() -> None:
    board = Switchboard()

    def broken(message: Any) -> None:
        raise HostFailed("the connection broke off")

    board.expect("ctl")
    board.connect("ctl", broken)
    assert ask_now(board) == "the connection broke off"


def outcome(state: str) -> Outcome:
    made = Outcome()
    if state == "failed":
        made.fail(HostFailed("it broke", remedy="mend it"))
    elif state == "unreachable":
        made.fail(Unreachable("nobody there"))
    elif state == "skipped":
        made.skip("its turn never came")
    elif state == "refused":
        made.refused = True
        made.skip("no")
    elif state == "pending":
        made.pending = True
    elif state == "changed":
        made.count("changed")
    return made


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ("ok", 0),
        ("ok changed", 0),
        ("ok pending", 2),
        ("pending unreachable", 4),
        ("ok unreachable skipped", 4),
        ("unreachable failed", 3),
        ("ok skipped", 3),
        ("refused failed", 1),
        ("", 0),
    ],
)
def test_exit_codes(states: str, code: int) -> None:
    assert exit_code([outcome(state) for state in states.split()]) == code


@pytest.mark.parametrize(
    ("state", "status"),
    [("ok", "ok"), ("changed", "changed"), ("pending", "changed"), ("failed", "failed"),
     ("unreachable", "unreachable"), ("skipped", "skipped"), ("refused", "skipped")],
)  # fmt: skip
def test_statuses(state: str, status: str) -> None:
    assert outcome(state).status == status


def test_the_first_cause_stays() -> None:
    made = outcome("failed")
    made.fail(Unreachable("later"))
    made.skip("even later")
    assert (made.status, made.message, made.remedy) == ("failed", "it broke", "mend it")
    skipped = outcome("skipped")
    skipped.fail(Unreachable("worse"))
    assert (skipped.status, skipped.message) == ("unreachable", "worse")


@pytest.mark.parametrize(
    ("verb", "told"),
    [
        ("apply", ["fine", "notice", "needs elevation"]),
        ("check", ["fine", "notice", "needs elevation"]),
        ("rollback", ["needs elevation"]),
        ("teardown", ["needs elevation"]),
    ],
)
def test_which_findings_are_told(verb: Verb, told: list[str]) -> None:
    found = [{"severity": each, "message": "m", "remedy": ""} for each in ("fine", "notice", "needs elevation")]
    assert [each["severity"] for each in worth_telling(found, verb)] == told
