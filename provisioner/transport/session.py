"""Starting the remote program on a host: one exec when it is cached there, first contact when not."""

from __future__ import annotations

from collections.abc import Callable

from fabric import Connection
from paramiko import SSHException

from provisioner.errors import ProvisionError, Unreachable
from provisioner.transport import program
from provisioner.transport.choice import Choice, NothingThere
from provisioner.transport.connect import Connector, Target
from provisioner.transport.firstcontact import FirstContact
from provisioner.transport.starter import SILENCE, Become, Started, Starter
from provisioner.transport.systems import system_of
from provisioner.transport.wire import Message

__all__ = ["SILENCE", "Become", "NothingThere", "Session", "open_session"]


class Session:
    """One open conversation: the connection, the wire, and the host's first message."""

    def __init__(self, connection: Connection, started: Started) -> None:
        self._connection = connection
        self.wire = started.wire
        self.first = started.first

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
        return Session(connection, _start(connection, target, become, hello, choice, doing))
    except (SSHException, EOFError, OSError) as error:
        connection.close()
        raise Unreachable(
            f"the connection broke off: {error or type(error).__name__}", remedy="run it again", host=target.name
        ) from None
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
) -> Started:
    """Start the cached program; whatever keeps it from starting (it was never there, another one is wanted, its
    interpreter vanished), all begins anew as at first contact."""
    system, starter = system_of(connection), Starter(connection, target, become, hello)
    started = starter.run(system.start(program.cached_folder()))
    if isinstance(started, Started):
        return started
    return FirstContact(connection, target.name, system, starter, choice, doing).start()
