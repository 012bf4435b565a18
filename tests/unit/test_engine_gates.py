"""What the hosts of a run wait for: gates between plays, and the user's consent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.engine.consent import Consent
from provisioner.engine.gates import Gate, Gates
from provisioner.events import Difference

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


def test_a_host_that_looks_again_is_waited_for_again_but_not_one_that_is_gone() -> None:
    gates = Gates({"a": {"h1", "h2"}, "b": {"h1"}}, {"b": ("a",)}, reverse=False)
    for host in ("h1", "h2"):
        gates.through("a", host, good=True)
    gates.again("h1")
    assert gates.state("b") is Gate.WAITING
    gates.through("a", "h1", good=False)
    assert gates.state("b") is Gate.OPEN
    gates.gone("h2")
    gates.again("h2")
    assert gates.state("b") is Gate.OPEN


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
    consent.settle("h1", (STOP,))
    consent.expect("dropped")
    consent.settle("h2")
    consent.settle("h2", (STOP,))
    assert not consent.ready.is_set()
    consent.settle("dropped", (STOP,))
    assert consent.ready.is_set()
    assert consent.question() == (STOP, STOP)


def test_everybody_is_told_the_decision() -> None:
    consent = Consent({"h1"}, given=False)
    told: list[bool | None] = []
    consent.listen(lambda: told.append(consent.decision))
    consent.listen(lambda: told.append(consent.decision))
    assert consent.decision is None
    consent.decide(False)
    assert told == [False, False]
    assert Consent(set(), given=True).decision is True
