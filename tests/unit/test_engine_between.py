"""What one host may ask another, and that a secret is hidden before anybody gets it."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.engine.between import Between
from provisioner.errors import HostFailed
from provisioner.events import Notice
from provisioner.inventory.model import Host, RayOptions
from provisioner.report.redact import HIDDEN, Redactor

ANSWERS: dict[str, Any] = {"nodes": [1], "destination": {"gcs": "x"}, "secret": "0123456789abcdef"}


def host(role: Any) -> Host:
    return Host("w1", role, "10.0.0.11", "3.11.9", (), RayOptions())


def between(hidden: list[str], asked: list[tuple[str, str, Any]], **answers: Any) -> Between:
    def ask(to: str, what: str, args: Any, timeout: float) -> Any:
        asked.append((to, what, args))
        assert hidden == []
        return {**ANSWERS, **answers}[what]

    return Between(ask, hidden.extend)


@pytest.mark.parametrize("what", ["nodes", "destination"])
def test_what_is_no_secret_is_just_carried(what: str) -> None:
    hidden: list[str] = []
    assert between(hidden, []).carry("ctl", what, {"x": 1}, host("worker")) == ANSWERS[what]
    assert hidden == []


def test_a_secret_is_hidden_before_it_is_handed_on() -> None:
    redactor = Redactor()
    between = Between(lambda *_: "0123456789abcdef", redactor.add)
    assert between.carry("ctl", "secret", "token", host("worker")) == "0123456789abcdef"
    told = redactor.event(Notice(0.0, "w1", "its token is 0123456789abcdef"))
    assert told.message == f"its token is {HIDDEN}"


REFUSED = [
    ("a question of ours", "hold", None, "worker"),
    ("a secret nobody needs", "secret", "authority", "worker"),
    ("no name", "secret", None, "worker"),
    ("several", "secret", ["token"], "worker"),
    ("somebody without a part in it", "secret", "token", "stranger"),
]


@pytest.mark.parametrize(("what", "args", "role"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_hosts_may_not_ask(what: str, args: Any, role: Any) -> None:
    asked: list[tuple[str, str, Any]] = []
    with pytest.raises(HostFailed, match=r"do not ask each other|has no use for"):
        between([], asked).carry("ctl", what, args, host(role))
    assert asked == [], "nobody was asked"


@pytest.mark.parametrize("value", [None, "", 7, ["0123456789abcdef"]])
def test_an_answer_that_is_no_secret(value: Any) -> None:
    with pytest.raises(HostFailed, match="did not say"):
        between([], [], secret=value).carry("ctl", "secret", "token", host("worker"))
