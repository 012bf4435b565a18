"""Our end of a conversation with a host: JSON lines over one SSH channel, and raw bytes where a blob is announced."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from paramiko import Channel, SSHException

from provisioner.errors import HostFailed, Unreachable

Message = dict[str, Any]

LONGEST_LINE = 4 * 1024 * 1024
"""Bytes of one line at most: a host that sends more is cut off. The longest there are list ten thousand nodes; as JSON
of nothing but brackets it takes 25 times as much memory."""
NOISE = 64 * 1024
"""Bytes that a login may print before our program speaks."""
BURST = (3000, 32 * 1024 * 1024)
"""Messages, and bytes of them, that a host may send at once ..."""
STEADY = (20.0, 1024.0 * 1024)
"""... and that it may send in a second from then on. A run without end has a few in a second."""
ERRORS = 256 * 1024
"""Bytes that a program may print as errors: what comes after them is nobody's concern."""
SLICE = 128 * 1024
"""Bytes of a file between which other messages may be sent: half a second on a link of 2 Mbit/s."""


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
        self._broken = False
        self._next = threading.Lock()
        self._buffer = bytearray()
        self._looked = 0
        """Bytes of the buffer in which no line ends."""
        self._noise = 0
        self._allowance = [float(each) for each in BURST]
        self._counted = time.monotonic()
        self._cost = (0, 0)
        """Messages and bytes that the last one counted for."""
        self.last_heard = time.monotonic()

    def send(self, message: Message) -> None:
        """Send one message; Unreachable if the connection is gone, or was given up when sending failed before."""
        with self._turn():
            self._write(_line(message))

    def send_blob(
        self, number: int, source: Source, offset: int = 0, wanted: Callable[[], bool] = lambda: True
    ) -> None:
        """Send what the host asked for with its request ``number``, in slices; others may send in between.

        Args:
            number: of the host's request.
            source: a file, bytes or a blob.
            offset: bytes that the host has already.
            wanted: asked before each slice; sending ends when it says no.

        Raises:
            HostFailed: there is less of it than was asked for.
            OSError: the file can't be read.
        """
        size, opened = _sized(source)
        left = size - offset
        with opened as file:
            file.seek(offset)
            while left >= 0 and wanted():
                piece = file.read(min(SLICE, left))
                left -= len(piece)
                if left and not piece:
                    break
                self._send_slice({"type": "blob", "id": number, "size": len(piece), "last": not left}, piece)
                if not left:
                    return
        if wanted():
            raise HostFailed(f"a file has {size} bytes here, fewer than the host expects", host=self._host)

    def _send_slice(self, head: Message, piece: bytes) -> None:
        # One packet per call: paramiko's sendall copies what is left of its buffer after every packet.
        step = self._channel.out_max_packet_size - 64
        with self._turn():
            self._write(_line(head))
            for start in range(0, len(piece), step):
                self._write(piece[start : start + step])

    def receive(self, deadline: float | None = None) -> Message | None:
        """Return the next message, None when the host has closed the conversation.

        Args:
            deadline: by ``time.monotonic()``, for all of it; a limit for silence is the channel's own.

        Raises:
            HostFailed: it is none, there is too much of it, or it did not come in time.
        """
        while True:
            if deadline and time.monotonic() > deadline:
                raise HostFailed("the host says nothing of use", remedy="see its load and disk", host=self._host)
            line = self._next_line()
            if line is not None and not self._is_noise(line):
                return self._parse(line)
            if line is None and not self._fill():
                return None

    def forgive(self) -> None:
        """Count the last message for nothing: it is what the host was asked for, and as often as that."""
        self._allowance = [left + cost for left, cost in zip(self._allowance, self._cost, strict=True)]
        self._cost = (0, 0)

    def stderr(self) -> bytes:
        """Return what the host printed as errors, once the conversation is closed."""
        said = self._said
        while len(said) < ERRORS and self._channel.recv_stderr_ready():
            said += self._channel.recv_stderr(65536)
        return said

    def exit_code(self, timeout: float = 10.0) -> int:
        """Return the exit code of the program on the host, -1 if it doesn't come within ``timeout`` seconds."""
        if not self._channel.status_event.wait(timeout):
            return -1
        return self._channel.recv_exit_status()

    def close(self) -> None:
        self._channel.close()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for our turn to write. Whoever writes much waits behind those that came meanwhile: a mere lock is taken
        again by the thread that let it go, before any other has woken up."""
        with self._next:
            self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    def _write(self, data: bytes) -> None:
        gone = Unreachable("the connection broke off", remedy="run the command again", host=self._host)
        if self._broken:
            raise gone
        try:
            self._channel.sendall(data)
        except (OSError, EOFError, SSHException):
            self._broken = True  # perhaps in the middle of a message: whatever followed would be read as its rest
            with suppress(OSError, EOFError, SSHException):
                self._channel.close()
            raise gone from None

    def _next_line(self) -> bytes | None:
        end = self._buffer.find(b"\n", self._looked)
        if (len(self._buffer) if end < 0 else end) > self._longest():
            raise HostFailed("the host was cut off: it sends a line without end", remedy=_SUSPECT, host=self._host)
        if end < 0:
            self._looked = len(self._buffer)
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._looked = 0
        self._spend(len(line))
        return line

    def _longest(self) -> int:
        """Return how long a line may be: before our program speaks, only what may be its first message is long."""
        is_ours = self._noise < 0 or self._buffer.startswith(b'{"type"')
        return LONGEST_LINE if is_ours else NOISE

    def _spend(self, size: int) -> None:
        """Count what a host says against what it may say."""
        now = time.monotonic()
        passed, self._counted = now - self._counted, now
        self._cost = (1, size)
        for number, cost in enumerate(self._cost):
            left = min(BURST[number], self._allowance[number] + passed * STEADY[number]) - cost
            if left < 0:
                raise HostFailed(
                    "the host was cut off: it sends messages without end", remedy=_SUSPECT, host=self._host
                )
            self._allowance[number] = left

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
            message = json.loads(line, parse_constant=_no_number)
            if isinstance(message, dict) and isinstance(message.get("type"), str):
                return message
        except (ValueError, RecursionError):
            pass
        raise HostFailed(
            f"the host sends what is no message of ours: {line[:80].decode('ascii', 'backslashreplace')}",
            remedy=_SUSPECT,
            host=self._host,
        )


_SUSPECT = "is it the machine you mean, and its program nobody else's? Look at it before the next run"


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no JSON")


def _line(message: Message) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


def _sized(source: Source) -> tuple[int, BinaryIO]:
    """Return how many bytes there are, and a file to read them from."""
    if isinstance(source, bytes):
        return len(source), io.BytesIO(source)
    if isinstance(source, Path):
        return source.stat().st_size, source.open("rb")
    return source.size, source.open()
