"""Who is sent where for files, and what the user hears when that does not work."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.engine import mirror
from provisioner.engine.mirror import Mirror
from provisioner.errors import HostFailed, NoTurn

MEMBERS = {"h1": "10.0.0.1", "h2": "10.0.0.2", "h3": "10.0.0.3"}
FILES: list[dict[str, Any]] = [{"sha256": letter * 64, "filename": f"{letter}.whl", "size": 5} for letter in "abc"]
A, B, C = (each["sha256"] for each in FILES)


class Room:
    """A mirror whose host answers as told."""

    def __init__(self, name: str | None = "h1", port: int = 0) -> None:
        self.orders: list[tuple[str, str, Any]] = []
        self.told: list[tuple[str, str, str]] = []
        self.answer: Any = 4711
        self.mirror = Mirror(name, MEMBERS, port, self.ask, self.tell)
        self.mirror.offer(FILES[:2])

    def tell(self, host: str, message: str, remedy: str) -> None:
        self.told.append((host, message, remedy))

    def ask(self, host: str, what: str, args: Any, *limits: float) -> Any:
        self.orders.append((host, what, args))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_a_host_is_told_where_files_are() -> None:
    room = Room(port=7000)
    source = room.mirror.source("h2", [A, C, B])
    assert source is not None
    token = source.pop("token")
    assert source == {"name": "h1", "address": "10.0.0.1", "port": 4711, "files": [A, B]}
    assert len(token) == 64
    order = {"port": 7000, "token": token, "members": sorted(MEMBERS.values()), "files": FILES[:2]}
    assert room.orders == [("h1", "hold", order)]


def test_a_run_that_may_change_nothing_sends_nothing() -> None:
    """It is no failure of the mirror, nor a reason to send all from here."""
    room = Room()
    room.answer = NoTurn("nothing was done: it is the turn of kim@desk")
    with pytest.raises(NoTurn):
        room.mirror.source("h2", [A])
    assert room.told == []


def test_every_run_has_a_token_of_its_own() -> None:
    tokens = {(Room().mirror.source("h2", [A]) or {})["token"] for _ in range(5)}
    assert len(tokens) == 5


@pytest.mark.parametrize(
    ("name", "asker", "wanted"),
    [
        (None, "h2", [A]),
        ("h1", "h1", [A]),
        ("h1", "dropped", [A]),
        ("h1", "h2", [C]),
        ("h1", "h2", []),
        ("h1", "h2", ["../../etc/shadow"]),
    ],
    ids=[
        "no mirror",
        "the mirror itself",
        "no member",
        "a file for one host only",
        "nothing",
        "what was never offered",
    ],
)
def test_the_rest_comes_from_here(name: str | None, asker: str, wanted: list[str]) -> None:
    room = Room(name)
    assert room.mirror.source(asker, wanted) is None
    assert (room.orders, room.told) == ([], [])


def test_a_mirror_that_fails_is_told_once_and_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room()
    room.answer = HostFailed("it can't listen on 10.0.0.1 port 7000")
    assert room.mirror.source("h2", [A]) is None
    assert room.mirror.source("h3", [A]) is None
    ((host, message, remedy),) = room.told
    assert host == "h1"
    assert message.endswith("they get them from here: it can't listen on 10.0.0.1 port 7000")
    assert "`artifacts: {mirror: none}`" in remedy
    assert len(room.orders) == 1
    monkeypatch.setattr(mirror, "RECOVERY", 0.0)
    room.answer = 5
    assert room.mirror.source("h2", [A]) is not None


def test_hosts_that_can_not_get_through_are_told_once() -> None:
    room = Room()
    room.mirror.detour("h2", "10.0.0.1 port 4711: Connection refused")
    room.mirror.detour("h3", "it does not answer")
    ((host, message, remedy),) = room.told
    assert host == "h2"
    assert message == "its files come from here and not from h1: 10.0.0.1 port 4711: Connection refused"
    assert remedy.startswith("open a TCP port of h1 to the other hosts (`artifacts: {port: 7000}`)")


def test_every_kind_of_trouble_is_told_once() -> None:
    room = Room()
    for host in ("h2", "h3"):
        room.mirror.detour(host, "it has neither curl nor wget", "install curl there")
        room.mirror.detour(host, "10.0.0.1 port 4711: Connection refused")
    (_, _, tool), (_, _, port) = room.told
    assert tool == "install curl there, or set `artifacts: {mirror: none}`"
    assert port.startswith("open a TCP port of h1")
