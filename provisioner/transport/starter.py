"""Starting the program by one command, through sudo if need be; and why it did not start, in the user's words."""

from __future__ import annotations

import time
from dataclasses import dataclass

from fabric import Connection
from paramiko import Channel

from provisioner.errors import HostFailed, Unreachable
from provisioner.transport.patience import answered
from provisioner.transport.shell import Shell, last_line
from provisioner.transport.systems import System
from provisioner.transport.target import Target
from provisioner.transport.wire import ERRORS, Message, Wire

PROMPT = "provision-sudo-password:"
"""What sudo asks with, so that its question is told from everything else; without blanks, so without quotes."""
SILENCE = 45.0
"""Seconds without a word after which a host is given up (it gives a sign of life every 5)."""
FIRST_LIMIT = 120.0
"""Seconds for a program that started to say something of its own."""
SUDO_LIMIT = 30.0
"""Seconds that sudo gets to let us through."""
NO_SUCH_PROGRAM = 9009
"""How cmd.exe, and the Store's stand-in for Python on Windows, say that there is no such program."""
NO_CODE = -1
"""In place of an exit code: a signal ended it, or it has not ended."""


@dataclass(frozen=True)
class Become:
    """Work as root through sudo, with its password if it wants one."""

    password: str | None = None


@dataclass(frozen=True)
class Started:
    """A program that runs: the wire to it, and the first thing it said."""

    wire: Wire
    first: Message


@dataclass(frozen=True)
class Refusal:
    """A command that did not start the program; another interpreter may."""

    code: int
    said: str

    @property
    def last(self) -> str:
        """The last line it printed, or its exit code. Where PowerShell is the login shell, every code but 0 is 1."""
        if self.code == NO_SUCH_PROGRAM or "Microsoft Store" in self.said:
            return "nothing is installed under that name (what Windows has there only opens the Microsoft Store)"
        if "CommandNotFoundException" in self.said:  # PowerShell's last line, in every language
            return "there is no such program"
        return last_line(self.said) or f"exit code {self.code}, and it said nothing"


class Starter:
    """Starts the program on one host.

    Args:
        connection: open.
        target: the host, for its name.
        system: the kind of system it is.
        become: work as root; None: as the account that logs in.
        hello: what the program is told first.
    """

    def __init__(
        self, connection: Connection, target: Target, system: System, become: Become | None, hello: Message
    ) -> None:
        self._connection = connection
        self._target = target
        self._shell = Shell(connection, system.has_code_page)
        self._become = become if system.has_sudo and connection.user != "root" else None
        self._hello = hello

    def run(self, command: str) -> Started | Refusal:
        """Execute a command that starts the program.

        Raises:
            HostFailed: it can't be started for a reason that has nothing to do with the command.
            Unreachable: the connection broke off.
        """
        channel: Channel = self._connection.transport.open_session(timeout=30)
        channel.settimeout(SILENCE)
        with answered(self._connection, self._target.name, "the command that starts the program"):
            channel.exec_command(self._sudo() + command)
        said = self._pass_sudo(channel, self._become.password) if self._become and self._become.password else b""
        wire = Wire(channel, self._target.name, said)
        first = self._hear_first(wire)
        if first is not None:
            return Started(wire, first)
        refusal = Refusal(wire.exit_code(), self._shell.text(wire.stderr()).strip())
        hangs = refusal.code == NO_CODE and not channel.closed
        wire.close()
        self._raise_if_final(refusal, hangs)
        return refusal

    def _hear_first(self, wire: Wire) -> Message | None:
        try:
            wire.send(self._hello)
        except Unreachable:  # so the command has ended already; what it said tells why
            return None
        deadline = time.monotonic() + FIRST_LIMIT
        first = wire.receive(deadline)
        while first is not None and first["type"] == "ready":
            first = wire.receive(deadline)
        return first

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
            if len(said) > ERRORS:
                raise HostFailed("the host was cut off: sudo prints without end", host=self._target.name)
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

    def _raise_if_final(self, refusal: Refusal, hangs: bool) -> None:
        if not self._connection.is_connected:
            raise Unreachable("the connection broke off", remedy="run the same command again", host=self._target.name)
        for sign, message, remedy in _FINAL:
            if sign in refusal.said:
                raise HostFailed(f"{message} ({refusal.last})", remedy=remedy, host=self._target.name)
        if hangs:
            raise HostFailed(
                f"the program did not start within {SILENCE:.0f} s",
                remedy="is the host overloaded, or its home folder on a file server that hangs?",
                host=self._target.name,
            )


_FINAL = (
    ("password is required", "sudo wants a password", "give `become_password: {from_env: NAME}` in the inventory"),
    ("incorrect password", "sudo does not accept the password", "check `become_password` in the inventory"),
    ("no password was provided", "sudo does not accept the password", "check `become_password` in the inventory"),
    ("not in the sudoers", "this user may not use sudo", "log in as another user, or leave `become` out"),
    ("may not run sudo", "this user may not use sudo", "log in as another user, or leave `become` out"),
    ("sudo: not found", "there is no sudo on the host", "install sudo, log in as root, or leave `become` out"),
    ("sudo: command not found", "there is no sudo on the host", "install sudo, log in as root, or leave `become` out"),
    ("must have a tty", "sudo wants a terminal", "remove `requiretty` from the host's sudoers"),
    ("No space left", "the host's disk is full", "free some space there"),
    ("cmd: command not found", "the account's shell on this Windows host is neither cmd.exe nor PowerShell",
     "remove the value DefaultShell from HKLM\\SOFTWARE\\OpenSSH on the host"),
)  # fmt: skip
"""What a host prints when no other interpreter would do better: sign, message, remedy."""
