"""One SSH connection to a sandbox host: who may log in, and what a session may ask for."""

from __future__ import annotations

import hmac
import logging
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.common import (
    AUTH_FAILED,
    AUTH_SUCCESSFUL,
    MSG_CHANNEL_REQUEST,
    OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    OPEN_SUCCEEDED,
)

from provisioner.sandbox.session import Session, Sessions
from provisioner.sandbox.sftp import Files

WINDOW_SIZE = 1 << 22
PACKET_SIZE = 1 << 17
LOGIN_GRACE = 120.0

log = logging.getLogger("provisioner.sandbox.sshd")


@dataclass(frozen=True)
class Served:
    """What the daemon knows about one of its hosts."""

    name: str
    home: Path
    host_key: paramiko.PKey
    client_key: bytes
    """The only public key that may log in."""
    user: str
    environment: Mapping[str, str]
    sessions: Sessions


class Door(paramiko.ServerInterface):
    """Lets in one user with one key, to run commands and to copy files; no shell, terminal or forwarding."""

    def __init__(self, host: Served, client: str, connection: str) -> None:
        self._host = host
        self._client = client
        self._environment = {**host.environment, "HOME": str(host.home), "SSH_CONNECTION": connection}
        self._prepared: list[Session] = []

    def get_banner(self) -> tuple[str | None, str | None]:
        """Count the connection: paramiko asks once, when the client has our key and wants to log in."""
        log.info("%s connection from %s", self._host.name, self._client)
        return None, None

    def get_allowed_auths(self, username: str) -> str:
        """Only keys."""
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        """Only the account that runs the sandbox, only with the sandbox's key."""
        right_key = hmac.compare_digest(key.asbytes(), self._host.client_key)
        if right_key and username == self._host.user:
            return AUTH_SUCCESSFUL
        log.info("%s refused %s from %s", self._host.name, ascii(username), self._client)
        return AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        """Only sessions."""
        return OPEN_SUCCEEDED if kind == "session" else OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        """Start a command as sshd would; its streams flow after the client has our answer."""
        log.info("%s exec %s", self._host.name, command.decode("utf-8", "backslashreplace").replace("\n", "\\n"))
        try:
            session = self._host.sessions.run(channel, command, self._environment, self._host.home)
        except (OSError, ValueError) as error:
            log.info("%s cannot start it: %s", self._host.name, error)
            return False
        self._prepared.append(session)
        return True

    def start_prepared(self) -> None:
        """Let the sessions go whose request has been answered."""
        while self._prepared:
            self._prepared.pop().start()


class Connection(paramiko.Transport):
    """The server's end of one connection."""

    _active_check_timeout = 1.0  # hundreds of idle connections need not wake ten times a second each

    def __init__(self, sock: socket.socket, host: Served) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client, server = sock.getpeername(), sock.getsockname()
        super().__init__(sock, default_window_size=WINDOW_SIZE, default_max_packet_size=PACKET_SIZE)
        self._since = time.monotonic()
        self._door = Door(host, f"{client[0]}:{client[1]}", f"{client[0]} {client[1]} {server[0]} {server[1]}")
        # paramiko answers a request after our check returns. A command that ended before would close its channel
        # first and the answer would be lost, so commands start when the whole request has been handled.
        table = paramiko.Transport._channel_handler_table  # type: ignore[attr-defined]
        self._channel_handler_table = {**table, MSG_CHANNEL_REQUEST: self._handle_request}
        self.add_server_key(host.host_key)
        self.set_subsystem_handler("sftp", paramiko.SFTPServer, Files, host.home)

    def serve(self) -> None:
        """Begin the handshake; everything else happens in the connection's own thread."""
        self.start_server(event=threading.Event(), server=self._door)

    def finished(self) -> bool:
        """Say whether it ended, ending it if it did not log in in time."""
        if not self.is_authenticated() and time.monotonic() - self._since > LOGIN_GRACE:
            self.close()
        return not self.is_alive()

    def _handle_request(self, channel: paramiko.Channel, message: paramiko.Message) -> None:
        channel._handle_request(message)  # type: ignore[attr-defined]
        self._door.start_prepared()
