"""Connections through Fabric: configuration, authentication, jump hosts; every refusal told apart in a sentence."""

from __future__ import annotations

import io
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from fabric import Config, Connection
from paramiko import (
    BadHostKeyException,
    SSHConfig,
    SSHException,
    Transport,
)

from provisioner.errors import Unreachable
from provisioner.portable import system_file
from provisioner.transport.hostkeys import KnownHosts, changed
from provisioner.transport.refusals import explain
from provisioner.transport.target import Target

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # else its tracebacks reach the user's terminal


class Connector:
    """Makes connections; shares what hosts have in common: ssh_config, known hosts, connections to jump hosts.

    Args:
        timeout: seconds for a TCP connection, and again for authentication.
        accept_new: trust hosts that are seen for the first time.
    """

    def __init__(self, timeout: float = 10.0, accept_new: bool = False) -> None:
        self._timeout = timeout
        self._known = KnownHosts(accept_new)
        self._configs: dict[Path | None, SSHConfig] = {}
        self._gateways: dict[Target, _Gateway] = {}
        self._lock = threading.Lock()

    def connect(self, target: Target) -> Connection:
        """Return an open connection.

        Raises:
            Unreachable: says what stands in the way and what to do about it.
        """
        with self._lock:
            gateway = self._gateway(target)
            connection = self._build(target, gateway)
        if gateway:
            gateway.open(target)
        with _explained(target, connection):
            connection.open()
        return connection

    def real_name(self, address: str, config: Path | None) -> str:
        """Return the HostName that ssh_config gives an address, the address itself if it gives none."""
        with self._lock:
            return str(self._config(config).lookup(address)["hostname"])

    def close(self) -> None:
        """Close the connections to jump hosts."""
        with self._lock:
            gateways = list(self._gateways.values())
        for gateway in gateways:
            gateway.connection.close()

    def _build(self, target: Target, gateway: _Gateway | None) -> Connection:
        connection = _Limited(
            target.address,
            user=target.user,
            port=target.port,
            # Of its own: a new Connection writes into its Config, which is empty for a moment for whoever shares it.
            config=Config(ssh_config=self._config(target.config)),
            gateway=gateway.connection if gateway else None,
            connect_timeout=int(self._timeout),
            connect_kwargs=self._credentials(target),
        )
        self._guard(connection, target.known_hosts)
        return connection

    def _credentials(self, target: Target) -> dict[str, Any]:
        credentials: dict[str, Any] = {
            "banner_timeout": self._timeout,
            "auth_timeout": self._timeout,
            "transport_factory": quick_transport,
        }
        if target.key:
            credentials["key_filename"] = [str(target.key)]
        if target.passphrase:
            credentials["passphrase"] = target.passphrase
        if target.password:
            credentials["password"] = target.password
        if target.key or target.password:
            credentials["look_for_keys"] = False
        return credentials

    def _config(self, path: Path | None) -> SSHConfig:
        if path not in self._configs:
            self._configs[path] = _ssh_config(path)
        return self._configs[path]

    def _gateway(self, target: Target) -> _Gateway | None:
        """Return the last jump host of the chain, one for all hosts that are reached through it with the same key or
        password; None: the host is reached directly."""
        if not target.jump:
            return None
        chain = replace(target, name="", address="", port=None)
        if chain not in self._gateways:
            before, _, last = target.jump.rpartition(",")
            user, _, place = last.rpartition("@")
            address, port = _split_port(place)
            via = Target(
                target.name, address, user or None, port, target.key, target.passphrase, target.password,
                before or None, target.known_hosts, target.config,
            )  # fmt: skip
            before_it = self._gateway(via)
            self._gateways[chain] = _Gateway(self._build(via, before_it), before_it)
        return self._gateways[chain]

    def _guard(self, connection: Connection, extra: Path | None) -> None:
        """Put our host key rules on a connection and on every one it goes through: Fabric's own accept any key."""
        self._known.prepare(connection.client, _lookup_name(connection), extra)
        if isinstance(connection.gateway, Connection):
            self._guard(connection.gateway, extra)


class _Limited(Connection):  # type: ignore[misc] # Fabric has no types
    """A connection that waits for its jump host to reach the host as long as for any other, not for an hour."""

    def open_gateway(self) -> Any:
        if not isinstance(self.gateway, Connection):
            return super().open_gateway()
        self.gateway.open()
        place, limit = (self.host, int(self.port)), self.connect_timeout
        try:
            return self.gateway.transport.open_channel("direct-tcpip", place, ("", 0), timeout=limit)
        except SSHException as error:
            if "Timeout" in str(error):  # paramiko's words for it
                raise TimeoutError from None
            raise


class _Gateway:
    """A jump host: connected once, when the first host behind it wants it. One that can't be reached is not tried again
    for each of the others: a slow one would keep them all waiting in turn.

    Args:
        connection: to it, not yet open.
        before: the jump host that it is behind itself.
    """

    def __init__(self, connection: Connection, before: _Gateway | None) -> None:
        self.connection = connection
        self._before = before
        self._lock = threading.Lock()
        self._refusal: Unreachable | None = None

    def open(self, target: Target) -> None:
        """Have it connected, for that host behind it.

        Raises:
            Unreachable: it can't be, now or when it was tried before.
        """
        if self._before:
            self._before.open(target)
        with self._lock:
            if self._refusal:
                raise Unreachable(self._refusal.message, remedy=self._refusal.remedy, host=target.name)
            if self.connection.is_connected:
                return
            try:
                with _explained(target, self.connection):
                    self.connection.open()
            except Unreachable as refusal:
                self._refusal = refusal
                raise


def _ssh_config(path: Path | None) -> SSHConfig:
    """Return what an ssh_config file says; None: the user's and the machine's. They are UTF-8, as OpenSSH has it.

    Raises:
        OSError: that file can't be read.
    """
    config = SSHConfig()
    own = (Path("~/.ssh/config").expanduser(), system_file("ssh", "ssh_config"))
    for file in [path.expanduser()] if path else [each for each in own if each.is_file()]:
        config.parse(io.StringIO(file.read_text(encoding="utf-8-sig", errors="replace")))
    return config


def _lookup_name(connection: Connection) -> str:
    """Return the name under which known_hosts has a host."""
    return connection.host if connection.port == 22 else f"[{connection.host}]:{connection.port}"


def quick_transport(sock: Any, **settings: Any) -> Transport:
    """Return paramiko's transport with two changes, both measured against OpenSSH 9.2.

    Without Nagle's delay a connection takes 25 ms in place of 66; AES-GCM sends 400 MB/s in place of 210.
    """
    if isinstance(sock, socket.socket) and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = Transport(sock, **settings)
    options = transport.get_security_options()
    options.ciphers = tuple(sorted(options.ciphers, key=lambda cipher: "gcm" not in cipher))
    return transport


def _split_port(place: str) -> tuple[str, int | None]:
    address, colon, port = place.rpartition(":")
    if colon and port.isdigit() and (":" not in address or address.endswith("]")):
        return address.strip("[]"), int(port)
    return place.strip("[]"), None


@contextmanager
def _explained(target: Target, connection: Connection) -> Iterator[None]:
    """Turn whatever keeps us out into an Unreachable with the host's name."""
    try:
        yield
    except Unreachable as error:
        raise Unreachable(error.message, remedy=error.remedy, host=target.name) from None
    except BadHostKeyException as error:
        name = _lookup_name(connection) if error.hostname == connection.host else error.hostname
        known = changed(name, error.key, error.expected_key, target.known_hosts)
        raise Unreachable(known.message, remedy=known.remedy, host=target.name) from None
    except (SSHException, OSError, EOFError, ValueError) as error:
        message, remedy = explain(error, connection, target)
        raise Unreachable(message, remedy=remedy, host=target.name) from None
