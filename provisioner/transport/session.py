"""Starting the remote program on a host: one exec when it is cached there, first contact when not."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from fabric import Connection
from paramiko import Channel, ChannelException, SFTPClient, SSHException

from provisioner.errors import HostFailed, ProvisionError, Unreachable
from provisioner.transport import delivery, program
from provisioner.transport.choice import Choice, NothingThere
from provisioner.transport.connect import Connector
from provisioner.transport.firstcontact import FirstContact
from provisioner.transport.home import HOME
from provisioner.transport.shell import Shell
from provisioner.transport.starter import SILENCE, Become, Started, Starter
from provisioner.transport.systems import System, at_second_glance, system_of
from provisioner.transport.target import Target
from provisioner.transport.wire import Message

__all__ = ["SILENCE", "Become", "NothingThere", "Session", "open_session"]

TUNNEL_LIMIT = 20
"""Seconds for a host to connect to an address."""
PROHIBITED = 1
"""SSH_OPEN_ADMINISTRATIVELY_PROHIBITED (RFC 4254, 5.1)."""
SWEEPS = 20
"""Attempts to remove what a program has just run out of, half a second apart."""


class Session:
    """One open conversation: the connection, the wire, and the host's first message."""

    def __init__(self, connection: Connection, name: str, system: System, started: Started) -> None:
        self._connection = connection
        self._name = name
        self._system = system
        self.wire = started.wire
        self.first = started.first

    def sweep(self, folders: Sequence[str]) -> None:
        """Remove folders below the home folder that the program could not, since it ran out of them; blocks.

        Raises:
            HostFailed: one stays.
            Unreachable: the connection broke off.
        """
        self.wire.exit_code()
        try:
            with delivery.open_sftp(self._connection, self._name) as sftp:
                for folder in folders:
                    self._sweep(Shell(self._connection, self._system.has_code_page), sftp, folder)
                for parent in {posixpath.dirname(folder) for folder in folders}:
                    with suppress(OSError):  # something else is in it
                        sftp.rmdir(parent)
        except (SSHException, EOFError, OSError) as error:
            raise _broken(error, self._name) from None

    def _sweep(self, shell: Shell, sftp: SFTPClient, folder: str) -> None:
        """A virus scanner may have a program open for a moment after it has ended."""
        if not (folder.startswith(f"{HOME}/") and ".." not in folder and self._system.plain.fullmatch(folder)):
            raise HostFailed(f"the host wants {folder!r} removed, which is not ours", host=self._name)
        for _ in range(SWEEPS):
            self._system.remove(shell, folder)
            self.wire.last_heard = time.monotonic()
            try:
                sftp.stat(folder)
            except FileNotFoundError:
                return
            time.sleep(0.5)
        raise HostFailed(f"{folder} in the home folder stays: something runs out of it", host=self._name)

    def tunnel(self, address: str, port: int) -> Channel:
        """Return a connection that the host makes to an address of its own or of its network.

        Raises:
            OSError: the host says that nobody is there, or its SSH server allows no tunnels (then a PermissionError).
        """
        transport = self._connection.transport
        try:
            channel: Channel = transport.open_channel(
                "direct-tcpip", (address, port), ("127.0.0.1", 0), timeout=TUNNEL_LIMIT
            )
            return channel
        except ChannelException as error:
            if error.code == PROHIBITED:
                raise PermissionError("the SSH server allows no tunnels") from None
            raise ConnectionRefusedError(f"Connection refused ({error.text})") from None
        except (SSHException, EOFError) as error:
            raise OSError(str(error) or "the connection broke off") from None

    def close(self) -> None:
        """End it at once; any thread may, and whoever is sending is told.

        Not the channel first: its farewell would wait behind what is being sent, on a dead link for a quarter of an
        hour.
        """
        self._connection.close()


def open_session(
    connector: Connector,
    target: Target,
    become: Become | None,
    hello: Message,
    choice: Choice,
    doing: Callable[[str], None],
) -> Session:
    """Connect, start the program with ``hello``, and return the session with the program's first answer.

    Args:
        connector: makes the connection.
        target: how the host is reached.
        become: work as root; None: as the account that logs in.
        hello: the first message.
        choice: what Python the program may run on, should there be no usable one.
        doing: told what takes time.

    Raises:
        NothingThere: the host has neither a Python nor anything of ours, and the choice is to leave it so.
        Unreachable, HostFailed: in the user's words.
    """
    connection = connector.connect(target)
    try:
        system, started = _start(connection, target, become, hello, choice, doing)
        return Session(connection, target.name, system, started)
    except (SSHException, EOFError, OSError) as error:
        connection.close()
        raise _broken(error, target.name) from None
    except NothingThere:
        connection.close()
        raise
    except ProvisionError as error:
        connection.close()
        error.host = error.host or target.name
        raise


def _start(
    connection: Connection,
    target: Target,
    become: Become | None,
    hello: Message,
    choice: Choice,
    doing: Callable[[str], None],
) -> tuple[System, Started]:
    """Start the cached program; whatever keeps it from starting (it was never there, another one is wanted, its
    interpreter vanished), all begins anew as at first contact."""
    system = system_of(connection)
    starter = Starter(connection, target, system, become, hello)
    started = starter.run(system.start(program.cached_folder()))
    if isinstance(started, Started):
        return system, started
    sftp = delivery.open_sftp(connection, target.name)
    seen = at_second_glance(sftp)
    if system.has_sudo and not seen.has_sudo:  # Windows behind another greeting
        system = seen
        starter = Starter(connection, target, system, become, hello)
        started = starter.run(system.start(program.cached_folder()))
        if isinstance(started, Started):
            sftp.close()
            return system, started
    return system, FirstContact(connection, target.name, system, starter, choice, doing, sftp).start()


def _broken(error: Exception, host: str) -> Unreachable:
    return Unreachable(f"the connection broke off: {error or type(error).__name__}", remedy="run it again", host=host)
