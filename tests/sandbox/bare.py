"""A host with next to nothing on it: our SSH server in this process, sh, SFTP, and the few programs a test gives it."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paramiko
import pytest

from provisioner.errors import HostFailed
from provisioner.inventory.model import Host, RayOptions, Role, Ssh
from provisioner.sandbox.environment import account
from provisioner.sandbox.keys import ensure_key, write_known_hosts
from provisioner.sandbox.server import Connection, Served
from provisioner.sandbox.session import Sessions
from provisioner.transport import program
from provisioner.transport.choice import Choice, Parcel
from provisioner.transport.connect import Connector
from provisioner.transport.session import Session, open_session
from provisioner.transport.target import Target
from tests import interpreters

Make = Callable[..., "Bare"]
PLATFORM = f"linux-{os.uname().machine}"
USUAL = ("uname", "getconf", "ls", "rm", "df", "sha256sum", "tar", "gzip")
HELLO = {
    "type": "hello", "protocol": 1, "mode": "check", "cluster": "lab", "host": "w1", "service": "process", "plays": [],
}  # fmt: skip


class Bare:
    """One host in a folder.

    Args:
        folder: its home and its programs lie in there.
        tools: programs that it has, beside sh.
    """

    def __init__(self, folder: Path, tools: tuple[str, ...] = USUAL, home: Path | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self._name = folder.name
        self.home = home or folder / "home"
        self.home.mkdir(exist_ok=True)
        self.programs = folder / "programs"
        self.programs.mkdir()
        self.commands: list[str] = []
        self.connections = 0
        self.told: list[str] = []
        self._key = folder / "key"
        self._known_hosts = folder / "known_hosts"
        for tool in ("sh", *tools):
            self.give(tool)
        self._listen(folder)

    def give(self, tool: str) -> None:
        """Have it have a program of this machine."""
        path = shutil.which(tool)
        assert path, f"this machine has no {tool}"
        (self.programs / tool).symlink_to(path)

    def script(self, name: str, text: str) -> None:
        """Have it have a program of the test's own."""
        (self.programs / name).unlink(missing_ok=True)
        (self.programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.programs / name).chmod(0o755)

    def contact(self, choice: Choice) -> dict[str, Any]:
        """Start the program and return the facts it tells; commands and progress of this contact are kept."""
        session = self.open(choice)
        try:
            facts: dict[str, Any] = session.first["facts"]
            return facts
        finally:
            session.close()

    def open(self, choice: Choice, doing: Callable[[str], None] = lambda text: None) -> Session:
        self.commands, self.connections, self.told = [], 0, []

        def told(text: str) -> None:
            self.told.append(text)
            doing(text)

        target = Target(self._name, "127.0.0.1", account(), self._port, self._key, known_hosts=self._known_hosts)
        return open_session(Connector(), target, None, {**HELLO, "root": str(self.home / "root")}, choice, told)

    def declared(self, role: Role = "head", **more: Any) -> Host:
        """Return it as an inventory has it."""
        ssh = Ssh(user=account(), port=self._port, key=self._key, known_hosts=self._known_hosts)
        ray = RayOptions(options={"node_ip": more.pop("node_ip", "127.0.0.1")})
        python = more.pop("python", "3.11.9")
        return Host(self._name, role, "127.0.0.1", python, (), ray, ssh=ssh, service="process", **more)

    def left(self) -> list[str]:
        """Return what first contact has laid, in short."""
        return sorted(
            str(path.relative_to(self.home / ".provision"))
            for folder in ("program", "python")
            if (self.home / ".provision" / folder).exists()
            for path in (self.home / ".provision" / folder).iterdir()
        )

    def close(self) -> None:
        # Or its thread would wait on for connections by the number of this socket, which the next host's gets.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join(10)
        self._listener.close()
        for connection in self._open:
            connection.close()
        self._sessions.end(0.1)

    def _listen(self, folder: Path) -> None:
        public = ensure_key(folder / "host_key")
        ensure_key(self._key)
        host_key = paramiko.Ed25519Key(filename=folder / "host_key")
        self._sessions = Sessions()
        environment = {"PATH": str(self.programs), "PROVISION_SANDBOX": "1", "LANG": "C.UTF-8"}
        client = paramiko.Ed25519Key(filename=self._key).asbytes()
        served = Served("w1", self.home, host_key, client, account(), environment, self._sessions)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = self._listener.getsockname()[1]
        write_known_hosts(self._known_hosts, {self._port: public})
        self._open: list[Connection] = []
        self._accepting = threading.Thread(target=self._accept, args=(served,), daemon=True)
        self._accepting.start()

    def _accept(self, served: Served) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                connection = Connection(sock, served)
                self._open.append(connection)
                run = connection._door.check_channel_exec_request

                def noted(channel: paramiko.Channel, command: bytes, run: Any = run) -> bool:
                    self.commands.append(command.decode())
                    return bool(run(channel, command))

                connection._door.check_channel_exec_request = noted  # type: ignore[method-assign]
                connection.serve()


def managed(archive: interpreters.Archive, path: Path | None = None, asked: list[Any] | None = None) -> Choice:
    """Return the choice to bring an archive, or what lies at another path in its place."""

    def bring(facts: dict[str, Any]) -> Parcel:
        (asked if asked is not None else []).append(facts)
        return Parcel(path or archive.path, archive.sha256)

    return Choice(archive.version, bring=bring)


def whole(archive: interpreters.Archive) -> list[str]:
    """What is there when first contact with a bare host is over."""
    return sorted(
        [f"program/{program.identity()}", f"python/{archive.version}-{PLATFORM}", f"python/{archive.sha256}.tar.gz"]
    )


def was_sent(host: Bare) -> bool:
    """Tell whether the archive, or some of it, was sent from here."""
    return any(text.startswith("sending Python") for text in host.told)


def failure(host: Bare, choice: Choice) -> HostFailed:
    """Return why a host can't be contacted."""
    with pytest.raises(HostFailed) as caught:
        host.contact(choice)
    assert caught.value.host == "w1"
    return caught.value


logging.getLogger("provisioner.sandbox.sshd").addHandler(logging.NullHandler())
