"""The head's node list: nothing that listens on the dashboard's port keeps anybody waiting, or fills the memory."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from provisioner.remote.resources import ray_state

Serve = Callable[[Callable[[socket.socket], None]], list[object]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Have one connection on loopback answered; returns the address and port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def start(answer: Callable[[socket.socket], None]) -> list[object]:
            def once() -> None:
                taken, _ = server.accept()
                with taken:
                    try:
                        answer(taken)
                    except OSError:
                        return

            threading.Thread(target=once, daemon=True).start()
            return ["127.0.0.1", server.getsockname()[1]]

        yield start


def drips(taken: socket.socket) -> None:
    for _ in range(1000):
        taken.sendall(b"x")
        time.sleep(0.05)


def pours(taken: socket.socket) -> None:
    while True:
        taken.sendall(b"x" * 65536)


@pytest.mark.parametrize("answer", [drips, pours, lambda taken: taken.sendall(b"HTTP/1.0 200 OK\r\n\r\n[[[")])
def test_what_is_no_list_of_nodes_is_given_up(
    answer: Callable[[socket.socket], None], serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_state, "MOST", 1 << 20)
    begun = time.monotonic()
    assert ray_state.fetch_nodes(serve(answer), timeout=0.3) is None
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("node_ip", "found"),
    [
        ("10.0.0.2", ["n1"]),
        ("10.0.0.9", []),
        ("fd00::2", ["n2"]),
        ("FD00:0:0::2", ["n2"]),
        ("127.0.0.1", ["n1", "n2"]),
        ("", ["n1", "n2"]),
    ],
)
def test_a_node_that_only_has_a_hosts_name_is_not_that_host(node_ip: str, found: list[str]) -> None:
    rows = [("n1", "w1", "10.0.0.2", True), ("n2", "w1", "fd00::2", True), ("n3", "w1", "10.0.0.2", False),
            ("n4", "w2", "10.0.0.2", True)]  # fmt: skip
    nodes = [{"id": id_, "host": host, "ip": ip, "alive": alive} for id_, host, ip, alive in rows]
    assert [node["id"] for node in ray_state.living(nodes, "w1", node_ip)] == found


def test_nothing_is_known_of_nodes_that_nobody_lists() -> None:
    assert ray_state.living(None, "w1", "10.0.0.2") == []
