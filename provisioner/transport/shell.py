"""Short commands on a host that has nothing of ours yet: as the account that logs in, with their output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fabric import Connection
from paramiko import Channel

LIMIT = 45.0
"""Seconds that a command may be silent."""


@dataclass(frozen=True)
class Said:
    """How a command ended. The code is -1 if a signal ended it or the host did not tell."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """The last line it printed, of errors if there are any; for messages."""
        return last_line(self.err) or last_line(self.out) or f"exit code {self.code}, and it said nothing"


class Shell:
    """Runs command lines that need no quotes and mean the same in every login shell."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def run(self, command: str, limit: float = LIMIT) -> Said:
        """Run a command to its end.

        Raises:
            OSError, SSHException, EOFError: the connection broke off, or the command was silent for too long.
        """
        channel: Channel = self._connection.transport.open_session(timeout=LIMIT)
        try:
            channel.settimeout(limit)
            channel.exec_command(command)
            channel.shutdown_write()
            out, err = _all(channel.recv), _all(channel.recv_stderr)
            ended = channel.status_event.wait(LIMIT)
            return Said(channel.recv_exit_status() if ended else -1, _text(out), _text(err))
        finally:
            channel.close()


def last_line(text: str) -> str:
    """Return the last line that says something: fish draws arrows below a command that it does not know."""
    lines = [line.strip() for line in text.splitlines() if any(character.isalnum() for character in line)]
    return lines[-1] if lines else ""


def _all(receive: Callable[[int], bytes]) -> bytes:
    pieces = []
    while piece := receive(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
