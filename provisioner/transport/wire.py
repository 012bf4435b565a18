"""Our end of a conversation with a host: JSON lines over one SSH channel, and raw bytes where a blob is announced."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from paramiko import Channel

from provisioner.errors import HostFailed, Unreachable

Message = dict[str, Any]

LONGEST_LINE = 64 * 1024 * 1024
"""Bytes of one line at most: a host that sends more is cut off."""
NOISE = 64 * 1024
"""Bytes that a login may print before our program speaks."""


class Blob(Protocol):
    """Content that lies inside something else, as a file in a bundle."""

    @property
    def size(self) -> int:
        """In bytes."""

    def open(self) -> BinaryIO:
        """Return it as a file of its own, from its beginning; it can be sought in."""


Source = Path | bytes | Blob


class Wire:
    """Sends and receives messages over a paramiko channel.

    ``send`` may be called from several threads; ``receive`` from one.
    """

    def __init__(self, channel: Channel, host: str, said: bytes = b"") -> None:
        self._said = said
        self._channel = channel
        self._host = host
        self._lock = threading.Lock()
        self._buffer = bytearray()
        self._noise = 0
        self.last_heard = time.monotonic()

    def send(self, message: Message) -> None:
        """Send one message; Unreachable if the connection is gone."""
        self._write(json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n")

    def send_blob(self, number: int, sha256: str, source: Source, progress: Callable[[int, int], None]) -> None:
        """Send a file, bytes or a blob as the answer to the host's request ``number``.

        ``progress`` hears the bytes sent so far and the bytes in all.
        """
        size, opened = _sized(source)
        head = json.dumps({"type": "blob", "id": number, "sha256": sha256, "size": size}).encode("ascii") + b"\n"
        with self._lock, opened as file:
            self._write_locked(head)
            sent = 0
            # One packet per call: paramiko's sendall copies what is left of its buffer after every packet.
            while piece := file.read(self._channel.out_max_packet_size - 64):
                self._write_locked(piece)
                sent += len(piece)
                progress(sent, size)

    def receive(self) -> Message | None:
        """Return the next message, None when the host has closed the conversation."""
        while True:
            line = self._next_line()
            if line is not None and not self._is_noise(line):
                return self._parse(line)
            if line is None and not self._fill():
                return None

    def stderr(self) -> str:
        """Return what the host printed as errors, once the conversation is closed."""
        pieces = [self._said]
        while self._channel.recv_stderr_ready():
            pieces.append(self._channel.recv_stderr(65536))
        return b"".join(pieces).decode("utf-8", "replace").strip()

    def exit_code(self, timeout: float = 10.0) -> int:
        """Return the exit code of the program on the host, -1 if it doesn't come within ``timeout`` seconds."""
        if not self._channel.status_event.wait(timeout):
            return -1
        return self._channel.recv_exit_status()

    def close(self) -> None:
        self._channel.close()

    def _write(self, data: bytes) -> None:
        with self._lock:
            self._write_locked(data)

    def _write_locked(self, data: bytes) -> None:
        try:
            self._channel.sendall(data)
        except (OSError, EOFError):
            raise Unreachable("the connection broke off", remedy="run the command again", host=self._host) from None

    def _next_line(self) -> bytes | None:
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > LONGEST_LINE:
                raise HostFailed("the host sends what is no message of ours", host=self._host)
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _fill(self) -> bool:
        try:
            data = self._channel.recv(1 << 20)
        except (OSError, EOFError):
            return False
        self.last_heard = time.monotonic()
        self._buffer += data
        return bool(data)

    def _is_noise(self, line: bytes) -> bool:
        """Tell whether a line comes from the login (a greeting in ~/.bashrc) and not from our program."""
        if self._noise < 0 or line.startswith(b'{"type"') or self._noise > NOISE:
            self._noise = -1
            return False
        self._noise += len(line)
        return True

    def _parse(self, line: bytes) -> Message:
        try:
            message = json.loads(line)
            if isinstance(message, dict) and isinstance(message.get("type"), str):
                return message
        except (ValueError, RecursionError):
            pass
        raise HostFailed(
            f"the host sends what is no message of ours: {line[:80].decode('ascii', 'backslashreplace')}",
            host=self._host,
        )


def _sized(source: Source) -> tuple[int, BinaryIO]:
    """Return how many bytes there are, and a file to read them from."""
    if isinstance(source, bytes):
        return len(source), io.BytesIO(source)
    if isinstance(source, Path):
        return source.stat().st_size, source.open("rb")
    return source.size, source.open()
