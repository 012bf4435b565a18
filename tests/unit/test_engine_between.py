"""What one host may ask another, and that a secret is hidden before anybody gets it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from provisioner.engine.between import Between
from provisioner.engine.options import RunOptions
from provisioner.engine.run import Run
from provisioner.errors import HostFailed
from provisioner.events import Notice, Verb
from provisioner.inventory.model import Host, Inventory, RayOptions
from provisioner.playbook.load import load_playbook
from provisioner.report.redact import HIDDEN, Redactor

ANSWERS: dict[str, Any] = {
    "nodes": [1], "destination": {"gcs": "x"}, "secret": "0123456789abcdef", "compared": "a fingerprint",
}  # fmt: skip
COMPARED = {"name": "redis", "key": "k"}


HEAD = Host("ctl", "head", "10.0.0.10", "3.11.9", (), RayOptions())
WORKER = Host("w1", "worker", "10.0.0.11", "3.11.9", (), RayOptions())
STORE = Host("db", "worker", "10.0.0.12", "3.11.9", (), RayOptions(), keeps_redis=True)
DROPPED = Host("w9", "worker", "10.0.0.19", "3.11.9", (), RayOptions())
HOSTS = (HEAD, WORKER, STORE)


def between(hidden: list[str], asked: list[tuple[str, str, Any]], **answers: Any) -> Between:
    def ask(to: str, what: str, args: Any, timeout: float) -> Any:
        asked.append((to, what, args))
        assert hidden == []
        return {**ANSWERS, **answers}[what]

    return Between(HOSTS, ask, hidden.extend)


@pytest.mark.parametrize("what", ["nodes", "destination"])
def test_what_is_no_secret_is_just_carried(what: str) -> None:
    hidden: list[str] = []
    assert between(hidden, []).carry("ctl", what, {"x": 1}, WORKER) == ANSWERS[what]
    assert hidden == []


def test_a_secret_is_hidden_before_it_is_handed_on() -> None:
    redactor = Redactor()
    between = Between(HOSTS, lambda *_: "0123456789abcdef", redactor.add)
    assert between.carry("ctl", "secret", "token", WORKER) == "0123456789abcdef"
    told = redactor.event(Notice(0.0, "w1", "its token is 0123456789abcdef"))
    assert told.message == f"its token is {HIDDEN}"


def test_a_secret_that_can_not_be_hidden_is_not_handed_on() -> None:
    def hide(_: list[str]) -> None:
        raise RuntimeError("no report listens")

    with pytest.raises(RuntimeError, match="no report listens"):
        Between(HOSTS, lambda *_: "0123456789abcdef", hide).carry("ctl", "secret", "token", WORKER)


def test_to_compare_a_secret_it_is_not_fetched() -> None:
    asked: list[tuple[str, str, Any]] = []
    assert between([], asked).carry("db", "compared", COMPARED, HEAD) == "a fingerprint"
    assert asked == [("db", "compared", COMPARED)]


def test_the_head_gets_the_password_of_the_host_that_keeps_redis() -> None:
    hidden: list[str] = []
    assert between(hidden, []).carry("db", "secret", "redis", HEAD) == hidden[0] == ANSWERS["secret"]


REFUSED: list[tuple[str, str, str, Any, Host]] = [
    ("a question of ours", "ctl", "hold", None, WORKER),
    ("a secret nobody needs", "ctl", "secret", "authority", WORKER),
    ("no name", "ctl", "secret", None, WORKER),
    ("several", "ctl", "secret", ["token"], WORKER),
    ("a host that was dropped", "ctl", "secret", "token", DROPPED),
    ("one that was dropped and kept its name", "ctl", "secret", "token", replace(WORKER, address="10.0.0.66")),
    ("of a host that keeps no token", "w1", "secret", "token", STORE),
    ("a worker has nothing to do with Redis", "db", "secret", "redis", WORKER),
    ("Redis is elsewhere", "ctl", "secret", "redis", HEAD),
    ("to compare what it has no use for", "db", "compared", COMPARED, WORKER),
    ("to compare, dropped", "db", "compared", COMPARED, replace(HEAD, address="10.0.0.66")),
    ("to compare nothing", "db", "compared", None, HEAD),
    ("to compare several", "db", "compared", {"name": ["redis"], "key": "k"}, HEAD),
    ("to compare the authority", "ctl", "compared", {"name": "authority", "key": "k"}, HEAD),
]


@pytest.mark.parametrize(("to", "what", "args", "asker"), [row[1:] for row in REFUSED],
                         ids=[row[0] for row in REFUSED])  # fmt: skip
def test_what_hosts_may_not_ask(to: str, what: str, args: Any, asker: Host) -> None:
    asked: list[tuple[str, str, Any]] = []
    with pytest.raises(HostFailed, match=r"do not ask each other|has no use for"):
        between([], asked).carry(to, what, args, asker)
    assert asked == [], "nobody was asked"


@pytest.mark.parametrize("value", [None, "", 7, ["0123456789abcdef"]])
def test_an_answer_that_is_no_secret(value: Any) -> None:
    with pytest.raises(HostFailed, match="did not say"):
        between([], [], secret=value).carry("ctl", "secret", "token", WORKER)


@pytest.mark.parametrize(("verb", "given"), [(verb, verb in ("apply", "rollback")) for verb in get_args(Verb)])
def test_the_token_is_handed_on_only_where_nodes_are_started(verb: Verb, given: bool) -> None:
    asked: list[Any] = []

    def ask(*question: Any) -> str:
        asked.append(question)
        return "a" * 64

    between = Between(HOSTS, ask, lambda hidden: None, verb)
    if given:
        assert between.carry("ctl", "secret", "token", WORKER) == "a" * 64
        return
    with pytest.raises(HostFailed, match="has no use for the secret 'token'"):
        between.carry("ctl", "secret", "token", WORKER)
    assert asked == []


@pytest.mark.parametrize("verb", [verb for verb in get_args(Verb) if verb != "apply"])
def test_certificates_are_made_only_where_something_is_applied(verb: Verb, tmp_path: Path) -> None:
    """A host that is only looked at would get a new year out of every check."""
    playbook = tmp_path / "playbook.yml"
    playbook.write_text("- play: P\n  hosts: all\n  tasks: [{name: T, old_environments: {}}]\n")
    inventory = Inventory("lab", "2.60.0", HOSTS, playbook, tls=True)
    run = Run(inventory, load_playbook(playbook), RunOptions(verb), None, 0.0)  # type: ignore[arg-type]
    with pytest.raises(HostFailed, match="w1 gets no certificate"):
        run.answer("controller", "certificate", None, WORKER, lambda: None)
