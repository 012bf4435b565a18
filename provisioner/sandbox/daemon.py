"""The sandbox's one daemon: listens for every host on loopback and serves until it is told to end.

Started by ``Sandbox.start`` as ``python -m provisioner.sandbox.daemon FOLDER DESCRIPTOR...``: one listening socket
per host, already bound, in the order of the hosts in ``FOLDER/sandbox.json``. While it runs it holds
``FOLDER/daemon.lock``, and ``FOLDER/daemon.pid`` names it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import selectors
import signal
import socket
import sys
from pathlib import Path

import paramiko
from filelock import FileLock

from provisioner.sandbox.environment import account, bare_environment, search_path
from provisioner.sandbox.server import Connection, Served
from provisioner.sandbox.session import Sessions

assert sys.platform != "win32"

_ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
_TICK = 0.5  # seconds between looks after what ended
_PATIENCE = 1.0  # seconds a process has to end after SIGHUP


class Daemon:
    """Accepts connections for all hosts in one thread; each connection has its own."""

    def __init__(self, folder: Path, listeners: list[socket.socket]) -> None:
        self._folder = folder
        self._listeners = listeners
        self._sessions = Sessions()
        self._connections: set[Connection] = set()
        self._hosts = self._load_hosts()
        self._ending = False
        self._bell, self._call = socket.socketpair()

    def _load_hosts(self) -> list[Served]:
        folder, user = self._folder, account()
        environment = bare_environment(search_path(folder / "bin"))
        client_key = paramiko.Ed25519Key(filename=folder / "id_ed25519").asbytes()
        return [
            Served(
                name=host["name"],
                home=folder / host["name"],
                host_key=paramiko.Ed25519Key(filename=folder / "host_keys" / host["name"]),
                client_key=client_key,
                user=user,
                environment=environment,
                sessions=self._sessions,
            )
            for host in json.loads((folder / "sandbox.json").read_text("utf-8"))
        ]

    def end(self, *_: object) -> None:
        """Have ``serve`` return; made to be a signal handler."""
        self._ending = True
        self._call.send(b".")

    def serve(self) -> None:
        """Accept connections until a signal ends us or our folder is gone."""
        with selectors.DefaultSelector() as ready:
            for listener, host in zip(self._listeners, self._hosts, strict=True):
                listener.setblocking(False)
                ready.register(listener, selectors.EVENT_READ, host)
            ready.register(self._bell, selectors.EVENT_READ)
            while not self._ending and (self._folder / "daemon.pid").exists():
                for key, _ in ready.select(_TICK):
                    if isinstance(key.data, Served) and isinstance(key.fileobj, socket.socket):
                        self._accept(key.fileobj, key.data)
                self._sessions.sweep()
                self._connections = {one for one in self._connections if not one.finished()}

    def _accept(self, listener: socket.socket, host: Served) -> None:
        with contextlib.suppress(OSError):  # the client gave up already, or no descriptor is left for it
            sock, _ = listener.accept()
            try:
                connection = Connection(sock, host)
                connection.serve()
            except BaseException:
                sock.close()
                raise
            self._connections.add(connection)

    def close(self) -> None:
        """Stop listening, end what sessions left running, and hang up."""
        for listener in self._listeners:
            listener.close()
        self._sessions.end(_PATIENCE)
        for connection in self._connections:
            connection.close()


def main(arguments: list[str]) -> None:
    """Detach from whoever started us, then serve."""
    folder = Path(arguments[0])
    listeners = [socket.socket(fileno=int(descriptor)) for descriptor in arguments[1:]]
    if os.fork():  # nobody has to wait for a process whose parent has ended
        os._exit(0)
    _prepare_process()
    _prepare_log(folder / "sshd.log")
    with FileLock(folder / "daemon.lock", timeout=5):
        (folder / "daemon.pid").write_text(f"{os.getpid()}\n", "utf-8")
        daemon = Daemon(folder, listeners)
        for number in _ENDING:  # handlers, never SIG_IGN: what we start would inherit that and outlive its client
            signal.signal(number, daemon.end)
        try:
            daemon.serve()
        finally:
            daemon.close()
            with contextlib.suppress(OSError):
                (folder / "daemon.pid").unlink()


def _prepare_process() -> None:
    os.umask(0o022)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):  # macOS calls "no limit" what it will not grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _prepare_log(path: Path) -> None:
    logging.basicConfig(
        filename=path, level=logging.INFO, format="%(asctime)s.%(msecs)03d %(message)s", datefmt="%FT%T"
    )
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # its tracebacks for every client that hangs up


if __name__ == "__main__":
    main(sys.argv[1:])
