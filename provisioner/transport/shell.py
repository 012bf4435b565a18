"""Short commands on a host that has nothing of ours yet: as the account that logs in, with their output."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from fabric import Connection
from paramiko import Channel, SSHException

from provisioner.errors import HostFailed
from provisioner.transport.patience import answered

LIMIT = 45.0
"""Seconds that a command may be silent."""


MOST = 4 * 1024 * 1024
"""Bytes that a command may print: it is asked for a line or two."""


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
    """Runs command lines that need no quotes and mean the same in every login shell.

    Args:
        connection: open.
        has_code_page: what it prints may be in a code page of the system, as on Windows; else it is UTF-8.
    """

    def __init__(self, connection: Connection, has_code_page: bool) -> None:
        self._connection = connection
        self._has_code_page = has_code_page

    def run(self, command: str, limit: float = LIMIT) -> Said:
        """Run a command to its end.

        Raises:
            HostFailed: it prints without end.
            OSError, SSHException, EOFError: the connection broke off, or the command was silent for too long.
        """
        code, out, err = self._run(command, limit)
        return Said(code, self.text(out), self.text(err))

    def _run(self, command: str, limit: float) -> tuple[int, bytes, bytes]:
        channel: Channel = self._connection.transport.open_session(timeout=LIMIT)
        try:
            channel.settimeout(limit)
            with answered(self._connection, "", "a command"):
                channel.exec_command(command)
            channel.shutdown_write()
            out, err = _all(channel.recv), _all(channel.recv_stderr)
            ended = channel.status_event.wait(LIMIT)
            return channel.recv_exit_status() if ended else -1, out, err
        finally:
            channel.close()

    def text(self, data: bytes) -> str:
        """Return what a program printed. What is no UTF-8 is in the code page of the system, if that has one."""
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return data.decode(self._code_page() if self._has_code_page else "utf-8", "replace")

    def _code_page(self) -> str:
        """Return the encoding in which Windows prints, such as cp949; utf-8 if it does not say so.

        `chcp` says it in the system's language, and in such an encoding: only its number counts.
        """
        with suppress(OSError, SSHException, EOFError):
            out = self._run("cmd.exe /c chcp", LIMIT)[1]
            number = re.findall(rb"\d+", out)
            with suppress(LookupError):
                return codecs.lookup(f"cp{int(number[-1])}").name if number else "utf-8"
        return "utf-8"


def last_line(text: str) -> str:
    """Return the last line that says something: fish draws arrows below a command that it does not know."""
    lines = [line.strip() for line in text.splitlines() if any(character.isalnum() for character in line)]
    return lines[-1] if lines else ""


def _all(receive: Callable[[int], bytes]) -> bytes:
    pieces, size = [], 0
    while piece := receive(1 << 16):
        pieces.append(piece)
        size += len(piece)
        if size > MOST:
            raise HostFailed(f"the host was cut off: a command printed more than {MOST >> 20} MiB")
    return b"".join(pieces)
