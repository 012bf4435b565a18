"""The home folder of the account that logs in, as first contact finds it and writes to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fabric import Connection
from paramiko import SFTPClient

from provisioner.errors import HostFailed
from provisioner.transport import delivery
from provisioner.transport.patience import Patience
from provisioner.transport.shell import Shell
from provisioner.transport.systems import System

HOME = ".provision"
PYTHONS = f"{HOME}/python"
"""Where interpreters lie that were brought for the program; their archives too, until the ``python`` task takes them
over: ``SHA256.tar.gz`` (see remote/brought.py)."""
TELL = 0.5
"""Seconds between two words about what was sent."""


class Home:
    """The home folder on one host.

    Args:
        connection: open.
        host: its inventory name.
        system: the kind of system it is.
        doing: told what takes time.
        opened: SFTP that was opened before, for the first files; then it is closed.
    """

    def __init__(
        self,
        connection: Connection,
        host: str,
        system: System,
        doing: Callable[[str], None],
        opened: SFTPClient | None = None,
    ) -> None:
        self.host = host
        self.system = system
        self.shell = Shell(connection, system.has_code_page)
        self.doing = doing
        self._connection = connection
        self._opened = opened
        self._patience = Patience(connection)
        self._told = 0.0

    @property
    def user(self) -> str:
        """The account that logs in."""
        return str(self._connection.user)

    def tell(self, text: str) -> None:
        """Tell of progress, not too often; something has moved."""
        self._patience.moved()
        now = time.monotonic()
        if now - self._told > TELL:
            self._told = now
            self.doing(text)

    def free(self) -> int | None:
        """Return how many bytes are free there, None if the host can't say."""
        return self.system.free(self.shell, HOME)

    @contextmanager
    def files(self, what: str) -> Iterator[SFTPClient]:
        """Open SFTP; whatever can't be written there is told, and how much room there is."""
        opened, self._opened = self._opened, None
        with self._patience, opened or delivery.open_sftp(self._connection, self.host) as sftp:
            try:
                yield sftp
            except TimeoutError:
                raise
            except OSError as error:
                if not self._connection.is_connected:
                    raise
                raise self._unwritable(what, error) from None

    def _unwritable(self, what: str, error: OSError) -> HostFailed:
        free = self.free() or self.system.free(self.shell, ".")
        room = "" if free is None else f"; {free >> 10} KiB are free there"
        return HostFailed(
            f"{what} can't be written to the home folder of {self.user}: {error}{room}",
            remedy="is the disk full, or the home folder missing or read-only?",
            host=self.host,
        )
