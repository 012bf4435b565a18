"""Sends a host the files it asks for, one after the other, in a thread of its own.

So that nothing else has to wait for a large file on a slow link: not the host's other questions, not the signs of life,
not the limits that are watched meanwhile.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from provisioner.errors import HostFailed, ProvisionError, Unreachable
from provisioner.transport.wire import Source, Wire

Message = dict[str, Any]


class Deliveries:
    """What one host has asked for and not got yet.

    Args:
        name: the host's inventory name.
        wire: returns the way to the host.
        find: returns the content with a sha256; may raise a ProvisionError.
    """

    def __init__(self, name: str, wire: Callable[[], Wire], find: Callable[[str], Source]) -> None:
        self._name = name
        self._wire = wire
        self._find = find
        self._asked: queue.Queue[Message | None] = queue.Queue()
        self._wanted: set[int] = set()
        self._thread: threading.Thread | None = None

    def need(self, message: Message) -> None:
        """Send what this message asks for when its turn comes; from one thread only."""
        self._wanted.add(message["id"])
        self._asked.put(message)
        if self._thread is None:
            self._thread = threading.Thread(target=self._deliver_all, daemon=True, name=f"send {self._name}")
            self._thread.start()

    def enough(self, message: Message) -> None:
        """Send no more of what this message names."""
        self._wanted.discard(message["id"])

    def close(self) -> None:
        """Send nothing more."""
        self._wanted.clear()
        self._asked.put(None)

    def _deliver_all(self) -> None:
        while message := self._asked.get():
            try:
                self._deliver(message)
            except Unreachable:
                return  # whoever reads from the host notices too

    def _deliver(self, message: Message) -> None:
        number = message["id"]
        try:
            source = self._find(message["sha256"])
            self._wire().send_blob(number, source, message["offset"], lambda: number in self._wanted)
        except Unreachable:
            raise
        except Exception as error:
            told = error if isinstance(error, ProvisionError) else HostFailed(f"a file can't be sent: {_reason(error)}")
            self._wire().send({"type": "answer", "id": number, "error": told.message, "remedy": told.remedy})


def _reason(error: Exception) -> str:
    """Return what went wrong, with a file's name as the user would type it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})" if error.filename else error.strerror
    return str(error)
