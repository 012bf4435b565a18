"""Starting the remote program on a host: one exec when it is cached there, one transfer and one more exec when not."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from fabric import Connection
from paramiko import Channel, SFTPClient, SSHException

from provisioner.errors import HostFailed, ProvisionError, Unreachable
from provisioner.transport import program
from provisioner.transport.connect import Connector, Target
from provisioner.transport.wire import Message, Wire

PROMPT = "provision-sudo-password:"
"""What sudo asks with, so that its question is told from everything else; without blanks, so without quotes."""
SILENCE = 45.0
"""Seconds without a word after which a host is given up (it gives a sign of life every 5)."""
SUDO_LIMIT = 30.0
"""Seconds that sudo gets to let us through."""
NOT_FOUND = 127
NO_CODE = -1


@dataclass(frozen=True)
class Become:
    """Work as root through sudo, with its password if it wants one."""

    password: str | None = None


class Session:
    """One open conversation: the connection, the wire, and the host's first message."""

    def __init__(self, connection: Connection, wire: Wire, first: Message) -> None:
        self._connection = connection
        self.wire = wire
        self.first = first

    def close(self) -> None:
        self.wire.close()
        self._connection.close()


def open_session(
    connector: Connector, target: Target, become: Become | None, hello: Message, doing: Callable[[str], None]
) -> Session:
    """Connect, start the program with ``hello``, and return the session with the program's first answer.

    Raises:
        Unreachable, HostFailed: in the user's words.
    """
    connection = connector.connect(target)
    try:
        wire, first = _start(connection, target, become, hello, doing)
    except (SSHException, EOFError, OSError) as error:
        connection.close()
        raise Unreachable(
            f"the connection broke off: {error or type(error).__name__}", remedy="run it again", host=target.name
        ) from None
    except ProvisionError:
        connection.close()
        raise
    return Session(connection, wire, first)


def _start(
    connection: Connection, target: Target, become: Become | None, hello: Message, doing: Callable[[str], None]
) -> tuple[Wire, Message]:
    starter = _Starter(connection, target, become, hello)
    wire, first = starter.run(program.cached_command())
    if first is not None:
        return wire, first
    code, said = wire.exit_code(), wire.stderr()
    if not _is_missing(code, said):
        raise _start_failure(target, code, said)
    doing("sending the program")
    wire, first = starter.run(program.first_command(_send_program(connection, target)))
    if first is None:
        raise _start_failure(target, wire.exit_code(), wire.stderr())
    return wire, first


class _Starter:
    def __init__(self, connection: Connection, target: Target, become: Become | None, hello: Message) -> None:
        self._connection = connection
        self._target = target
        self._become = None if connection.user == "root" else become
        self._hello = hello

    def run(self, command: str) -> tuple[Wire, Message | None]:
        """Execute a command that starts the program; returns its first message, None if it said nothing."""
        channel: Channel = self._connection.transport.open_session(timeout=30)
        channel.settimeout(SILENCE)
        channel.exec_command(self._sudo() + command)
        said = self._pass_sudo(channel, self._become.password) if self._become and self._become.password else b""
        wire = Wire(channel, self._target.name, said)
        try:
            wire.send(self._hello)
        except Unreachable:
            return wire, None
        first = wire.receive()
        while first is not None and first["type"] == "ready":
            first = wire.receive()
        return wire, first

    def _sudo(self) -> str:
        if self._become is None:
            return ""
        return f"sudo -S -p {PROMPT} -- " if self._become.password else "sudo -n -- "

    def _pass_sudo(self, channel: Channel, password: str) -> bytes:
        """Answer sudo's question, if it asks one, and wait until the program speaks or sudo gives up.

        Returns what was printed as errors meanwhile.
        """
        said, asked = b"", 0
        deadline = time.monotonic() + SUDO_LIMIT
        while not channel.recv_ready() and not channel.exit_status_ready():
            if time.monotonic() > deadline:
                raise HostFailed(f"sudo did not let us through within {SUDO_LIMIT:.0f} s", host=self._target.name)
            if not channel.recv_stderr_ready():
                time.sleep(0.01)
                continue
            said += channel.recv_stderr(4096)
            if said.count(PROMPT.encode()) > asked:
                asked += 1
                if asked > 1:
                    raise self._wrong_password()
                channel.sendall(password.encode() + b"\n")
        return said.replace(PROMPT.encode(), b"")

    def _wrong_password(self) -> HostFailed:
        return HostFailed(
            f"sudo does not accept the password for {self._connection.user}",
            remedy="check `become_password` in the inventory",
            host=self._target.name,
        )


def _is_missing(code: int, said: str) -> bool:
    return code == 2 and ("No such file" in said or "can't open file" in said)


def _start_failure(target: Target, code: int, said: str) -> HostFailed:
    """Return why the program did not start, from what the host printed."""
    last = said.splitlines()[-1].strip() if said else f"exit code {code}, and it said nothing"
    for sign, message, remedy in _SIGNS:
        if sign in said:
            return HostFailed(f"{message} ({last})", remedy=remedy, host=target.name)
    if code == NO_CODE:
        return HostFailed(
            f"the program did not start within {SILENCE:.0f} s",
            remedy="is the host overloaded, or its home folder on a file server that hangs?",
            host=target.name,
        )
    if code == NOT_FOUND or "python3: command not found" in said:  # sudo's words, with another code
        return HostFailed(
            f"there is no python3 on the host ({last})",
            remedy="install Python 3 there (Debian and Ubuntu: apt install python3)",
            host=target.name,
        )
    return HostFailed(f"the program could not be started on the host: {last}", host=target.name)


_SIGNS = (
    ("password is required", "sudo wants a password", "give `become_password: {from_env: NAME}` in the inventory"),
    ("incorrect password", "sudo does not accept the password", "check `become_password` in the inventory"),
    ("no password was provided", "sudo does not accept the password", "check `become_password` in the inventory"),
    ("not in the sudoers", "this user may not use sudo", "log in as another user, or leave `become` out"),
    ("may not run sudo", "this user may not use sudo", "log in as another user, or leave `become` out"),
    ("sudo: not found", "there is no sudo on the host", "install sudo, log in as root, or leave `become` out"),
    ("sudo: command not found", "there is no sudo on the host", "install sudo, log in as root, or leave `become` out"),
    ("must have a tty", "sudo wants a terminal", "remove `requiretty` from the host's sudoers"),
    ("No space left", "the host's disk is full", "free some space there"),
)


def _send_program(connection: Connection, target: Target) -> str:
    """Send the archive and return its path, seen from the home folder."""
    try:
        sftp: SFTPClient = connection.client.open_sftp()
    except (SSHException, EOFError) as error:
        raise HostFailed(
            f"the host's SSH server offers no SFTP ({error})",
            remedy="enable the sftp subsystem in its sshd_config",
            host=target.name,
        ) from None
    sftp.get_channel().settimeout(SILENCE)  # type: ignore[union-attr] # an open client has a channel
    with sftp:
        path, content = program.archive_path(), program.archive()
        try:
            for folder in (".provision", program.FOLDER):
                _make_folder(sftp, folder)
            with sftp.open(path, "wb") as file:
                file.set_pipelined(True)
                file.write(content)
            if sftp.stat(path).st_size != len(content):  # a pipelined write says nothing of its failure
                raise OSError("it was cut short")
        except OSError as error:
            with suppress(OSError):
                sftp.remove(path)
            raise HostFailed(
                f"the program can't be written to the home folder of {connection.user}: {error}",
                remedy="is the disk full, or the home folder missing or read-only?",
                host=target.name,
            ) from None
    return path


def _make_folder(sftp: SFTPClient, folder: str) -> None:
    try:
        sftp.mkdir(folder, 0o755)
    except OSError:
        sftp.stat(folder)  # it is there already; else this says what is wrong
