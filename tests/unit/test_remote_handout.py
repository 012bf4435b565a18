"""One host hands files to another over real sockets: who gets what, and what happens when the one fails."""

from __future__ import annotations

import contextlib
import hashlib
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote import handout, lan, pull
from provisioner.remote.failure import Failure
from provisioner.remote.handout import Handout
from provisioner.remote.store import Store

from .remote_host import Controller, Sent, World

MIRROR, MEMBER, STRANGER = "127.0.0.2", "127.0.0.3", "127.0.0.4"
TOKEN = "f" * 64
CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
WANTED: dict[str, Any] = {"sha256": SHA256, "filename": "a.whl", "size": len(CONTENT)}


class Wire(Controller):
    """The mirror's way to the controller; may be slow, or fail."""

    received = 0
    go = threading.Event()

    def need(self, sha256: str, offset: int, sink: Callable[[bytes], None]) -> Sent:
        self.go.wait(5)
        return super().need(sha256, offset, sink)


class Site:
    """A mirror, a member that wants a file, and the controller they both know."""

    def __init__(self, folder: Path) -> None:
        (folder / "mirror").mkdir()
        self.world = World(folder / "mirror")
        self.wire = self.world.controller = Wire()
        self.wire.go = threading.Event()
        self.wire.go.set()
        self.world._hello["node_ip"] = MIRROR
        self.mirror = self.world.host()
        self.mirror.wire.received = 0
        self.controller = Controller()
        for each in (self.wire, self.controller):
            each.offer(CONTENT)
        self.controller.answers["controller", "source"] = self.source
        self.folder = folder / "store"
        self.said: list[str] = []
        self.asked: list[list[str]] = []
        self.port: int | None = None

    def hold(self, *files: dict[str, Any]) -> int:
        order = {"port": 0, "token": TOKEN, "members": [MIRROR, MEMBER], "files": list(files or [WANTED])}
        return handout.hold(self.mirror, order)

    def source(self, args: dict[str, Any]) -> dict[str, Any]:
        """What the controller answers; ``port`` set: something else answers in place of the mirror."""
        self.asked.append(args["files"])
        port = self.hold() if self.port is None else self.port
        return {"name": "h1", "address": MIRROR, "port": port, "token": TOKEN, "files": [SHA256]}

    def store(self) -> Store:
        return Store(str(self.folder), self.controller, self.said.append, MEMBER)  # type: ignore[arg-type]

    def fetch(self, store: Store | None = None) -> bytes:
        (path,) = (store or self.store()).fetch_all([WANTED], "packages").values()
        return Path(path).read_bytes()

    def part(self) -> Path:
        return self.folder / SHA256 / ".part"

    def detours(self) -> list[str]:
        return [message["reason"] for message in self.controller.heard if message["type"] == "detour"]

    def ask(self, request: str, own: str = MEMBER, token: str = TOKEN) -> bytes:
        """Everything that comes back for a request line, with that token."""
        with socket.create_connection((MIRROR, self.hold()), 5, (own, 0)) as connection:
            authorization = f"Authorization: Bearer {token}\r\n" if token else ""
            with contextlib.suppress(OSError):
                connection.sendall(f"{request}\r\n{authorization}Connection: x\r\n\r\n".encode())
                connection.shutdown(socket.SHUT_WR)
            return everything(connection)


def everything(connection: socket.socket) -> bytes:
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(1 << 18):
            said += piece
    return said


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    if made.mirror.shared.get("handout"):
        made.mirror.shared["handout"].close()


def whole(site: Site) -> None:
    """Have the mirror hold the file."""
    site.hold()
    assert site.mirror.store.whole(SHA256, 5)


def test_a_file_comes_from_the_mirror(site: Site) -> None:
    assert site.fetch() == CONTENT
    assert site.controller.sent == []
    assert site.wire.sent == [(SHA256, 0)]
    assert site.said[0] == "receiving packages from h1, 0 of 1 MB"
    assert site.detours() == []


def test_many_come_with_one_question(site: Site) -> None:
    files: list[dict[str, Any]] = []
    for number in range(30):
        content = b"%d" % number * 70_000
        site.wire.offer(content)
        files.append({"sha256": site.controller.offer(content), "filename": str(number), "size": len(content)})

    def source(args: dict[str, Any]) -> dict[str, Any]:
        site.asked.append(args["files"])
        files_ = [each["sha256"] for each in files[:20]]
        return {"name": "h1", "address": MIRROR, "port": site.hold(*files[:20]), "token": TOKEN, "files": files_}

    site.controller.answers["controller", "source"] = source
    paths = site.store().fetch_all(files, "packages")
    assert all(Path(paths[each["sha256"]]).stat().st_size == each["size"] for each in files)
    assert site.asked == [[each["sha256"] for each in files]]
    assert [sha256 for sha256, _ in site.wire.sent] == [each["sha256"] for each in files[:20]]
    assert [sha256 for sha256, _ in site.controller.sent] == [each["sha256"] for each in files[20:]]


def test_a_file_that_the_mirror_is_receiving_is_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handout, "WAIT", 0.1)
    site.wire.go.clear()
    threading.Timer(0.5, site.wire.go.set).start()
    assert site.fetch() == CONTENT
    assert (site.controller.sent, site.detours()) == ([], [])


def test_a_cut_transfer_goes_on_at_the_mirror(site: Site) -> None:
    site.part().parent.mkdir(parents=True)
    site.part().write_bytes(CONTENT[:-5])
    assert site.fetch() == CONTENT
    assert site.controller.sent == []


@pytest.mark.parametrize("part", [b"x" * 1000, b"x" + CONTENT[1:]], ids=["begun", "complete"])
def test_a_damaged_beginning_is_fetched_anew_from_the_mirror(part: bytes, site: Site) -> None:
    site.part().parent.mkdir(parents=True)
    site.part().write_bytes(part)
    assert site.fetch() == CONTENT
    assert (site.controller.sent, site.detours()) == ([], [])


def test_the_mirror_does_not_use_a_damaged_file_of_its_own(site: Site) -> None:
    there = site.world.root / "store" / SHA256 / "a.whl"
    there.parent.mkdir(parents=True)
    there.write_bytes(bytes(len(CONTENT)))
    assert site.fetch() == CONTENT
    assert site.wire.sent == [(SHA256, 0)]
    assert site.controller.sent == []


def test_what_is_damaged_all_the_same_is_noticed_on_arrival(site: Site) -> None:
    whole(site)
    (site.world.root / "store" / SHA256 / "a.whl").write_bytes(bytes(len(CONTENT)))
    assert site.fetch() == CONTENT
    assert site.controller.sent == [(SHA256, 0)]
    assert site.detours() == ["what it handed out as a.whl is damaged"]


def test_a_file_of_another_size_is_not_taken(site: Site) -> None:
    whole(site)
    (site.world.root / "store" / SHA256 / "a.whl").write_bytes(CONTENT + b"x")
    assert site.fetch() == CONTENT
    assert site.detours() == ["it hands out a.whl with another size"]


def test_what_the_mirror_can_not_have_comes_from_the_controller(site: Site) -> None:
    site.wire.files.clear()
    site.hold()
    assert site.fetch() == CONTENT
    assert site.detours() == ["it answers HTTP 404"]


def test_after_a_failure_the_mirror_is_left_alone(site: Site) -> None:
    site.port = closed_port()
    store = site.store()
    assert site.fetch(store) == CONTENT
    assert site.detours() == [f"{MIRROR} port {site.port}: Connection refused"]
    other = site.controller.offer(b"other")
    store.fetch(other, "b.whl", 5)
    assert len(site.asked) == len(site.detours()) == 1


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind((MIRROR, 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("answer", [None, Failure("no answer from controller")])
def test_without_a_mirror_everything_comes_from_the_controller(answer: Any, site: Site) -> None:
    def source(args: Any) -> Any:
        if answer:
            raise answer
        return answer

    site.controller.answers["controller", "source"] = source
    assert site.fetch() == CONTENT
    assert site.controller.sent == [(SHA256, 0)]
    assert site.detours() == []


def test_a_file_for_one_host_only_never_goes_that_way(site: Site) -> None:
    site.store().fetch(SHA256, "content", len(CONTENT), direct=True)
    assert (site.asked, site.controller.sent) == ([], [(SHA256, 0)])


class Stand:
    """A server in place of the mirror, which does with each connection what it is told."""

    def __init__(self, *acts: Callable[[socket.socket], None]) -> None:
        self.acts = list(acts)
        self.heard: list[bytes] = []
        self.listener = socket.create_server((MIRROR, 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            for act in self.acts:
                connection, _ = self.listener.accept()
                self.heard.append(connection.recv(4096))
                with contextlib.suppress(OSError), connection:
                    act(connection)


def says(*pieces: bytes, pause: float = 0.0) -> Callable[[socket.socket], None]:
    def act(connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)

    return act


def body(offset: int = 0, length: int | None = None) -> bytes:
    status = "206 Partial Content" if offset else "200 OK"
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(CONTENT) - offset}\r\n\r\n".encode() + CONTENT[offset:][:length]


HALF = len(CONTENT) // 2
FAILURES = {
    "silent": (says(b"", pause=2), "it does not answer"),
    "silent in the middle": (says(body(0, HALF), pause=2), "it does not answer"),
    "hangs up": (says(), "it hung up"),
    "endless": (says(*[b"X-Header: value\r\n" * 100] * 40), "what it says does not end"),
    "another protocol": (says(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "what answers there is no mirror"),
    "an error": (says(b"HTTP/1.1 500 Oh\r\n\r\n"), "it answers HTTP 500"),
    "slow": (says(*[body(0, 100)] + [b"x"] * 60, pause=0.02), "it sends only 0 kB a second"),
    "waits for ever": (
        says(*[b"HTTP/1.1 503 x\r\nX-Received: 5\r\n\r\n"] * 60, pause=0.02), "it receives nothing itself"
    ),
    "wrong bytes": (says(body()[:-1] + b"?"), "what it handed out as a.whl is damaged"),
}  # fmt: skip


@pytest.mark.parametrize(("act", "reason"), FAILURES.values(), ids=FAILURES)
def test_whatever_the_mirror_does_the_file_comes(
    act: Callable[[socket.socket], None], reason: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "ANSWER_LIMIT", 0.5)
    monkeypatch.setattr(pull, "PATIENCE", 0.3)
    stand = Stand(act, act, act)
    site.port = stand.port
    begun = time.monotonic()
    assert site.fetch() == CONTENT
    (told,) = site.detours()
    assert told in (reason, f"{MIRROR} port {stand.port}: {reason}")
    assert time.monotonic() - begun < 5
    assert site.controller.sent[-1][1] == (HALF if act is FAILURES["silent in the middle"][0] else 0)
    stand.listener.close()


def test_a_connection_that_breaks_once_is_made_again(site: Site) -> None:
    """And goes on where it broke."""
    stand = Stand(says(body(0, HALF)), says(body(HALF)))
    site.port = stand.port
    assert site.fetch() == CONTENT
    assert (site.controller.sent, site.detours()) == ([], [])
    assert f"Range: bytes={HALF}-".encode() in stand.heard[1]
    stand.listener.close()


def test_a_mirror_that_is_gone_leaves_what_it_sent(site: Site) -> None:
    stand = Stand(says(body(0, HALF)))
    site.port = stand.port
    threading.Timer(0.2, stand.listener.close).start()
    assert site.fetch() == CONTENT
    assert site.controller.sent == [(SHA256, HALF)]
    assert len(site.detours()) == 1


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
