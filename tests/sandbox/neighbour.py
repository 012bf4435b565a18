"""A host that hands out a file over HTTP, as well or as badly as a test wants it to."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from provisioner.transport.choice import Choice, Neighbour, Origin, Parcel

TOKEN = "c0ffee" * 10
ADDRESS = "127.0.0.2"
Answer = Callable[[int], bytes | None]
"""What is said to a request that wants a file from this byte on; None: hang up."""


class Mirror:
    """Answers one request per connection.

    Args:
        answer: what it says; by default it hands out the content.
        content: of the file.
    """

    def __init__(self, content: bytes, answer: Answer | None = None) -> None:
        self.content = content
        self.answer = answer or self.rest
        self.offsets: list[int] = []
        """From which byte on the file was wanted, request by request."""
        self.peers: list[str] = []
        self.detours: list[str] = []
        self.asked = 0
        self.waiting: Callable[[], None] = lambda: None
        """Done before a host is told where it is."""
        self._listener = socket.create_server((ADDRESS, 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def choice(self, choice: Choice, port: int | None = None, own: str = "127.0.0.3") -> Choice:
        """Return the choice with this as the mirror, or with what listens on another port."""

        def ask(parcel: Parcel) -> Origin:
            self.asked += 1
            self.waiting()
            return Origin("h1", ADDRESS, port or self.port, TOKEN, own)

        def detour(reason: str, remedy: str) -> None:
            self.detours.append(f"{reason} -> {remedy}")

        return Choice(choice.version, bring=choice.bring, near=Neighbour("h1", ask, detour))

    def rest(self, offset: int) -> bytes:
        """The file from a byte on."""
        body, size = self.content[offset:], len(self.content)
        if not offset:
            return head(200, size) + body
        return head(206, len(body), f"Content-Range: bytes {offset}-{size - 1}/{size}") + body

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, peer = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection, peer[0]), daemon=True).start()

    def _serve(self, connection: socket.socket, peer: str) -> None:
        with suppress(OSError), connection:
            said = b""
            while b"\r\n\r\n" not in said and (piece := connection.recv(4096)):
                said += piece
            if f"Authorization: Bearer {TOKEN}".encode() not in said:
                connection.sendall(head(403, 0))
                return
            wanted = re.search(rb"Range: bytes=(\d+)-", said, re.I)
            offset = int(wanted[1]) if wanted else 0
            self.offsets.append(offset)
            self.peers.append(peer)
            connection.sendall(self.answer(offset) or b"")


def head(status: int, length: int, *more: str) -> bytes:
    """The head of an answer."""
    rows = [f"HTTP/1.1 {status} x", f"Content-Length: {length}", "Connection: close", *more]
    return ("\r\n".join(rows) + "\r\n\r\n").encode()
