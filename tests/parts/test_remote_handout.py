"""The mirror host hands out files: to whom, what, and how many at once."""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
import time
from typing import Any

import pytest

from provisioner.remote import handout, lan
from provisioner.remote.failure import Failure
from provisioner.remote.handout import Handout

from .handout_site import CONTENT, MEMBER, MIRROR, SHA256, STRANGER, TOKEN, Site, everything, site, whole

__all__ = ["site"]


REQUESTS = {
    "a file": (f"GET /{SHA256} HTTP/1.1", TOKEN, b"HTTP/1.1 200 OK", len(CONTENT)),
    "its size": (f"HEAD /{SHA256} HTTP/1.1", TOKEN, b"HTTP/1.1 200 OK", 0),
    "the rest": (f"GET /{SHA256} HTTP/1.1\r\nRange: bytes=1000-", TOKEN, b"HTTP/1.1 206 ", len(CONTENT) - 1000),
    "beyond": (f"GET /{SHA256} HTTP/1.1\r\nRange: bytes={len(CONTENT)}-", TOKEN, b"HTTP/1.1 416 ", 0),
    "another file": (f"GET /{'0' * 64} HTTP/1.1", TOKEN, b"HTTP/1.1 404 ", 0),
    "a path": ("GET /../../etc/passwd HTTP/1.1", TOKEN, b"HTTP/1.1 404 ", 0),
    "the root": ("GET / HTTP/1.1", TOKEN, b"HTTP/1.1 404 ", 0),
    "a post": (f"POST /{SHA256} HTTP/1.1", TOKEN, b"HTTP/1.1 405 ", 0),
    "no token": (f"GET /{SHA256} HTTP/1.1", "", b"HTTP/1.1 403 ", 0),
    "part of the token": (f"GET /{SHA256} HTTP/1.1", TOKEN[:-1], b"HTTP/1.1 403 ", 0),
    "another token": (f"GET /{SHA256} HTTP/1.1", "0" * 64, b"HTTP/1.1 403 ", 0),
    "nonsense": ("\x00\xff", TOKEN, b"HTTP/1.1 405 ", 0),
    "too long": ("GET /" + "x" * 10_000, TOKEN, b"", 0),
}


@pytest.mark.parametrize(("request_", "token", "status", "size"), REQUESTS.values(), ids=REQUESTS)
def test_who_asks_for_what(request_: str, token: str, status: bytes, size: int, site: Site) -> None:
    whole(site)
    said = site.ask(request_, token=token)
    head, _, content = said.partition(b"\r\n\r\n")
    assert head.startswith(status)
    assert content == (CONTENT[-size:] if size else b"")
    assert TOKEN.encode() not in said


def test_a_stranger_is_hung_up_on(site: Site) -> None:
    whole(site)
    assert site.ask(f"GET /{SHA256} HTTP/1.1", own=STRANGER) == b""


def test_it_listens_on_its_own_address_only(site: Site) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", site.hold()), 5)


def test_several_requests_on_one_connection(site: Site) -> None:
    whole(site)
    with socket.create_connection((MIRROR, site.hold()), 5, (MEMBER, 0)) as connection:
        for _ in range(3):
            connection.sendall(f"HEAD /{SHA256} HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
            first, headers, rest = lan.read_head(connection, 5)
            assert (first, headers["content-length"], rest) == ("HTTP/1.1 200 OK", str(len(CONTENT)), b"")


def test_one_host_can_not_take_all_connections(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told to come later, waits, and gets its file."""
    monkeypatch.setattr(handout, "MOST_EACH", 2)
    monkeypatch.setattr(handout, "HEAD_LIMIT", 1.0)
    port = site.hold()
    taken = [socket.create_connection((MIRROR, port), 5, (MEMBER, 0)) for _ in range(2)]
    time.sleep(0.1)
    assert site.ask(f"GET /{SHA256} HTTP/1.1").startswith(b"HTTP/1.1 503 Busy")
    assert site.fetch() == CONTENT
    assert (site.controller.sent, site.detours()) == ([], [])
    for connection in taken:
        assert everything(connection) == b"", "whoever says nothing is hung up on"
        connection.close()


def test_too_many_open_files_pass(site: Site) -> None:
    port = site.hold()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack:
        members = [stack.enter_context(socket.socket()) for _ in range(3)]
        for member in members:
            member.bind((MEMBER, 0))
            member.settimeout(5)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            for member in members:
                member.connect((MIRROR, port))
            time.sleep(0.3)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for member in members:
            member.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert everything(member).startswith(b"HTTP/1.1 403")


def test_a_thread_that_can_not_start_costs_one_connection(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    port = site.hold()
    with monkeypatch.context() as patch:

        def no_more(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        patch.setattr(threading.Thread, "start", no_more)
        for _ in range(handout.MOST_EACH + 1):
            with socket.create_connection((MIRROR, port), 5, (MEMBER, 0)) as connection:
                assert everything(connection) == b""
    assert site.ask(f"GET /{SHA256} HTTP/1.1").startswith(b"HTTP/1.1 ")
    assert not site.ask(f"GET /{SHA256} HTTP/1.1").startswith(b"HTTP/1.1 503 Busy")


def test_closed_it_lets_nobody_in(site: Site) -> None:
    port = site.hold()
    site.mirror.shared["handout"].close()
    with pytest.raises(OSError):
        socket.create_connection((MIRROR, port), 5, (MEMBER, 0))
    ended = time.monotonic() + 5
    while time.monotonic() < ended and any(thread.name == "handout" for thread in threading.enumerate()):
        time.sleep(0.02)
    assert not [thread for thread in threading.enumerate() if thread.name == "handout"]


def test_whoever_reads_nothing_is_hung_up_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handout, "SLOW", 0.3)
    content = bytes(30_000_000)
    big: dict[str, Any] = {"sha256": site.wire.offer(content), "filename": "big", "size": len(content)}
    site.hold(big)
    assert site.mirror.store.whole(big["sha256"], 5)
    server: Handout = site.mirror.shared["handout"]
    with socket.create_connection((MIRROR, server.port), 5, (MEMBER, 0)) as connection:
        connection.sendall(f"GET /{big['sha256']} HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        time.sleep(1.0)
        assert len(everything(connection)) < len(content)
    assert sum(server._served.values()) == 0


def test_a_port_that_is_taken_is_named(site: Site) -> None:
    with socket.create_server((MIRROR, 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Failure) as caught:
            handout.hold(site.mirror, {"port": port, "token": TOKEN, "members": [], "files": []})
    assert caught.value.message.startswith(f"it can't listen on {MIRROR} port {port}: Address already in use by py")


def test_an_address_of_another_host_is_named(site: Site) -> None:
    site.mirror.node_ip = "192.0.2.1"
    with pytest.raises(Failure, match=r"it can't listen on 192\.0\.2\.1 port 0: Cannot assign"):
        site.hold()


@pytest.mark.parametrize(
    ("one", "other"),
    [("10.0.0.1", "::ffff:10.0.0.1"), ("fe80::1", "fe80:0:0::1%eth0"), ("::1", "0:0:0:0:0:0:0:1")],
)
def test_addresses_are_the_same_however_written(one: str, other: str) -> None:
    assert lan.packed(one) == lan.packed(other) != lan.packed("10.0.0.2")
