"""Limits for what paramiko waits for without one: a server that stops answering in the middle of a conversation."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from fabric import Connection
from paramiko import SSHException

from provisioner.errors import Unreachable

SILENCE = 45.0
"""Seconds that the server may take for one answer, and that nothing may move at all."""


class Patience:
    """Closes a connection over which nothing has moved for a while: to write to one whose link is cut takes for ever.

    Args:
        connection: what is written over.
        limit: seconds.
    """

    def __init__(self, connection: Connection, limit: float = SILENCE) -> None:
        self._connection = connection
        self._limit = limit
        self._last = time.monotonic()
        self._over = threading.Event()
        self.expired = False
        """Whether it has come to that."""

    def moved(self) -> None:
        """Note that something has moved."""
        self._last = time.monotonic()

    def __enter__(self) -> None:
        self._last = time.monotonic()
        self._over.clear()
        threading.Thread(target=self._watch, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(min(1.0, self._limit)):
            if time.monotonic() - self._last > self._limit:
                self.expired = True
                self._connection.transport.close()
                return


@contextmanager
def answered(connection: Connection, host: str, what: str, limit: float = SILENCE) -> Iterator[None]:
    """Limit what is done meanwhile.

    Raises:
        Unreachable: the server did not answer in time; the connection is closed.
    """
    patience = Patience(connection, limit)
    try:
        with patience:
            yield
    except (SSHException, EOFError, OSError):
        if not patience.expired:
            raise
        message = f"its SSH server took the connection, and gave no answer to {what} within {limit:.0f} s"
        raise Unreachable(message, remedy="is the host overloaded, or does its disk hang?", host=host) from None
