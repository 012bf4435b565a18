"""Ports of this machine's loopback that lead to ports of a host, through the connection that we have with it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

MOST = 64
"""Connections that one port carries at once."""
PIECE = 64 * 1024
"""Bytes that are carried at once."""


class Far(Protocol):
    """The other end: a channel of SSH."""

    def recv(self, size: int, /) -> bytes: ...
    def sendall(self, data: bytes, /) -> None: ...
    def shutdown_write(self) -> None: ...
    def close(self) -> None: ...


Open = Callable[[], Far]
Serve = Callable[[socket.socket, Open], None]


class Forward:
    """A port that listens on this machine's loopback until it is closed.

    Args:
        open_far: makes the connection to the host's port, OSError if that can't be done.
        port: wanted; 0: any that is free.
        serve: what is done with a connection; the default carries bytes both ways.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, open_far: Open, port: int = 0, serve: Serve | None = None) -> None:
        self._open_far = open_far
        self._serve = serve or carry
        self._room = threading.BoundedSemaphore(MOST)
        # Not `create_server`: that would let two programs have the port on Windows.
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            exclusive = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)
            option = exclusive if exclusive is not None else socket.SO_REUSEADDR
            self._listener.setsockopt(socket.SOL_SOCKET, option, 1)
            self._listener.bind(("127.0.0.1", port))
            self._listener.listen(MOST)
        except OSError:
            self._listener.close()
            raise
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True, name=f"forward {self.port}").start()

    def close(self) -> None:
        """Take no more connections; those that are open end with the program."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                taken, _ = self._listener.accept()
            except OSError:
                return
            if not self._room.acquire(blocking=False):
                taken.close()
                continue
            threading.Thread(target=self._one, args=(taken,), daemon=True).start()

    def _one(self, taken: socket.socket) -> None:
        try:
            with taken, suppress(OSError, EOFError):
                taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._serve(taken, self._open_far)
        finally:
            self._room.release()


def carry(near: socket.socket, open_far: Open) -> None:
    """Carry bytes both ways until both sides have ended."""
    far = open_far()
    try:
        both_ways(near, far)
    finally:
        far.close()


def both_ways(near: socket.socket, far: Far) -> None:
    """Carry bytes both ways between two connections until the far side has ended."""

    def there() -> None:
        with suppress(OSError, EOFError):
            while data := near.recv(PIECE):
                far.sendall(data)
        with suppress(OSError, EOFError):
            far.shutdown_write()

    threading.Thread(target=there, daemon=True).start()
    while data := far.recv(PIECE):
        near.sendall(data)
    with suppress(OSError):
        near.shutdown(socket.SHUT_RDWR)
