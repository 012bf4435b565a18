"""A mirror host and one that fetches from it, on loopback addresses of their own."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote import handout
from provisioner.remote.store import Store
from tests.unit.remote_host import Controller, Sent, World

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
