"""An answer that is sent piece by piece, as fast as whoever asked takes it, until there is no more or nobody wants it.

The controller says ``more`` for each piece that it has taken, and ``enough`` when it wants none: so a program that
prints without end fills nobody's memory, and no link.
"""

from __future__ import annotations

import base64
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict

WINDOW = 16
"""Pieces that may be on their way at once."""
SIZE = 32 * 1024
"""Bytes of one at most."""


class Pieces:
    """What is sent before the reply to one question.

    Args:
        send: sends a message to the controller.
        number: of the question.
    """

    def __init__(self, send: Callable[[Dict[str, Any]], None], number: int) -> None:
        self._send = send
        self._number = number
        self._room = threading.Semaphore(WINDOW)
        self.unwanted = threading.Event()
        """Nobody wants any more of it."""

    def put(self, data: bytes) -> bool:
        """Send bytes; waits until there is room. Returns whether more is wanted."""
        for start in range(0, len(data), SIZE):
            self._room.acquire()
            if self.unwanted.is_set():
                return False
            text = base64.b64encode(data[start : start + SIZE]).decode("ascii")
            self._send({"type": "piece", "id": self._number, "data": text})
        return not self.unwanted.is_set()

    def taken(self) -> None:
        """Note that the controller took one."""
        self._room.release()

    def end(self) -> None:
        """Note that it wants no more; whoever waits for room goes on."""
        self.unwanted.set()
        self._room.release()
