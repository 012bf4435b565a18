"""What hosts ask for is sent in order, beside everything else, and every request is answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioner.engine.deliveries import Deliveries
from provisioner.errors import ProvisionError, Unreachable
from tests.waiting import soon


class Wire:
    """Takes what is sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.broken = False
        self.go = threading.Event()
        self.go.set()

    def send(self, message: Any) -> None:
        self.sent.append(message)

    def send_blob(self, number: int, source: Any, offset: int, wanted: Callable[[], bool]) -> None:
        self.go.wait(5)
        if self.broken:
            raise Unreachable("the connection broke off")
        if isinstance(source, Path):
            source.read_bytes()
        if wanted():
            self.sent.append((number, source, offset))


def find(sha256: str) -> Any:
    if sha256 == "gone":
        raise ProvisionError("the file is not in the cache", remedy="run it again")
    return Path("/nonexistent") if sha256 == "unreadable" else sha256.encode()


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def deliveries(wire: Wire) -> Iterator[Deliveries]:
    made = Deliveries("w1", lambda: wire, find)  # type: ignore[arg-type,return-value]
    yield made
    made.close()


def need(number: int, sha256: str, offset: int = 0) -> dict[str, Any]:
    return {"type": "need", "id": number, "sha256": sha256, "offset": offset}


def test_in_order_and_every_request_is_answered(deliveries: Deliveries, wire: Wire) -> None:
    for number, sha256 in enumerate(("a", "gone", "b", "unreadable", "c")):
        deliveries.need(need(number, sha256, number))
    assert soon(lambda: len(wire.sent) == 5)
    a, gone, b, unreadable, c = wire.sent
    assert (a, b, c) == ((0, b"a", 0), (2, b"b", 2), (4, b"c", 4))
    assert gone == {"type": "answer", "id": 1, "error": "the file is not in the cache", "remedy": "run it again"}
    assert unreadable["error"].startswith("a file can't be sent: ")
    assert str(Path("/nonexistent")) in unreadable["error"]


def test_asking_does_not_wait_for_what_is_being_sent(deliveries: Deliveries, wire: Wire) -> None:
    wire.go.clear()
    for number in range(3):
        deliveries.need(need(number, "a"))
    deliveries.enough({"id": 1})
    assert wire.sent == []
    wire.go.set()
    assert soon(lambda: len(wire.sent) == 2)
    assert [sent[0] for sent in wire.sent] == [0, 2]


def test_a_connection_that_is_gone_ends_it(deliveries: Deliveries, wire: Wire) -> None:
    wire.broken = True
    deliveries.need(need(0, "a"))
    deliveries.need(need(1, "gone"))
    assert deliveries._thread is not None
    deliveries._thread.join(5)
    assert not deliveries._thread.is_alive()
    assert wire.sent == []


def test_nothing_is_sent_after_the_end(wire: Wire) -> None:
    deliveries = Deliveries("w1", lambda: wire, find)  # type: ignore[arg-type,return-value]
    wire.go.clear()
    deliveries.need(need(0, "a"))
    deliveries.close()
    wire.go.set()
    assert deliveries._thread is not None
    deliveries._thread.join(5)
    assert not deliveries._thread.is_alive()
    assert wire.sent == []


def test_a_host_that_asks_for_nothing_costs_no_thread(deliveries: Deliveries) -> None:
    assert deliveries._thread is None
