"""The head's node list: nothing that listens on the dashboard's port keeps anybody waiting, or fills the memory."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from provisioner.remote import dashboard, secrets, service
from provisioner.remote.platforms.listeners import is_held_by
from provisioner.remote.platforms.systemd import Systemd
from provisioner.remote.resources import ray_state

from .remote_host import World

Serve = Callable[[Callable[[socket.socket], None]], list[object]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Have one connection on loopback answered; returns the address and port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def start(answer: Callable[[socket.socket], None]) -> list[object]:
            def once() -> None:
                with suppress(OSError):  # nobody came before the test was over, or they hung up
                    taken, _ = server.accept()
                    with taken:
                        answer(taken)

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
    monkeypatch.setattr(dashboard, "MOST", 1 << 20)
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


linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


@linux
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("anywhere", [True, False])
def test_who_holds_the_other_end(family: socket.AddressFamily, anywhere: bool) -> None:
    local = "127.0.0.1" if family == socket.AF_INET else "::1"
    server = socket.create_server(("" if anywhere else local, 0), family=family)
    with server, socket.create_connection((local, server.getsockname()[1])) as connection:
        for take in (False, True):
            taken = server.accept()[0] if take else None
            assert is_held_by(connection, {os.geteuid()})
            assert not is_held_by(connection, {os.geteuid() + 1, 4711})
        assert taken is not None
        taken.close()


@linux
def test_one_who_listens_on_both_kinds_of_address() -> None:
    server = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    with server, socket.create_connection(("127.0.0.1", server.getsockname()[1])) as connection:
        assert is_held_by(connection, {os.geteuid()}) and not is_held_by(connection, {4711})


TABLE = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def table(*rows: tuple[str, str, str, int, int]) -> str:
    return TABLE + "".join(
        f"   {number}: {local} {remote} {state} 0:0 00:0 0 {uid} 0 {inode} 1 0\n"
        for number, (local, remote, state, uid, inode) in enumerate(rows)
    )


def hexadecimal(port: int) -> str:
    return f"{int.from_bytes(socket.inet_aton('127.0.0.1'), sys.byteorder):08X}:{port:04X}"


ANY = "00000000:0000"
HOLDERS: list[tuple[str, Callable[[str, str], list[tuple[str, str, str, int, int]]], bool]] = [
    ("ray listens", lambda own, peer: [(peer, ANY, "0A", 1000, 7)], True),
    ("a stranger listens", lambda own, peer: [(peer, ANY, "0A", 1001, 7)], False),
    ("ray here, a stranger elsewhere", lambda own, peer: [(peer, ANY, "0A", 1000, 7), ("0200007F" + peer[8:], ANY, "0A",
     1001, 8)], True),
    ("nobody listens here", lambda own, peer: [(own, peer, "01", 1000, 9)], False),
    ("not taken yet", lambda own, peer: [(peer, ANY, "0A", 1000, 7), (peer, own, "01", 0, 0)], True),
    ("a stranger took it and went", lambda own, peer: [(peer, ANY, "0A", 1000, 7), (peer, own, "01", 1001, 9)], False),
    ("everywhere", lambda own, peer: [("0" * 8 + peer[8:], ANY, "0A", 1000, 7)], True),
    ("a stranger everywhere", lambda own, peer: [("0" * 8 + peer[8:], ANY, "0A", 1001, 7)], False),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "held"), [row[1:] for row in HOLDERS], ids=[row[0] for row in HOLDERS])
def test_who_holds_it_by_the_system_s_tables(
    rows: Callable[[str, str], list[tuple[str, str, str, int, int]]], held: bool, tmp_path: Path
) -> None:
    (tmp_path / "proc" / "net").mkdir(parents=True)
    server = socket.create_server(("127.0.0.1", 0))
    with server, socket.create_connection(server.getsockname()) as connection:
        own, peer = (hexadecimal(each[1]) for each in (connection.getsockname(), connection.getpeername()))
        assert is_held_by(connection, {0, 1000}, str(tmp_path)), "the system does not say"
        (tmp_path / "proc" / "net" / "tcp").write_text(table(*rows(own, peer)))
        assert is_held_by(connection, {0, 1000}, str(tmp_path)) is held


def test_the_dashboard_is_shown_the_token(serve: Serve, tmp_path: Path) -> None:
    heard: list[bytes] = []
    host = World(tmp_path).host()
    secrets.keep(host, "token", "abc")

    def listens(taken: socket.socket) -> None:
        heard.append(taken.recv(4096))
        taken.sendall(b'HTTP/1.0 200 OK\r\n\r\n{"data": {"result": {"result": []}}}')

    assert ray_state.of_this_host(host, serve(listens)) == []
    assert b"Bearer abc" in heard.pop()


def test_another_account_s_program_is_not_and_is_not_believed(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[bytes] = []
    host = World(tmp_path).host()
    secrets.keep(host, "token", "abc")
    monkeypatch.setattr(type(host.platform), "is_trusted", lambda *_: False)
    assert ray_state.of_this_host(host, serve(lambda taken: heard.append(taken.recv(4096)))) is None
    assert b"".join(heard) == b""


def test_a_service_that_runs_as_another_account_until_it_is_started_anew_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a change of `account:` has a run forget who is in the cluster."""
    host = World(tmp_path).host()
    manager = Systemd(user_unit=False)
    unit = tmp_path / "unit"
    host.account = "kim"
    monkeypatch.setattr(manager, "_path", lambda name: str(unit))
    monkeypatch.setattr(host, "service_manager", manager)
    asked: list[tuple[str, ...]] = []

    def is_trusted(platform: object, connection: object, *accounts: str) -> bool:
        asked.append(accounts)
        return True

    monkeypatch.setattr(type(host.platform), "is_trusted", is_trusted)
    with socket.socket() as connection:
        assert service.is_trusted(host, "ray-lab", connection)
        unit.write_text("[Service]\nUser=park\nExecStart=/x\n")
        assert service.is_trusted(host, "ray-lab", connection)
    assert asked == [("kim", ""), ("kim", "park")]
