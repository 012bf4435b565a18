"""Starting and stopping a sandbox: a folder that holds everything, and one daemon that serves its hosts."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from provisioner.errors import InputError, ProvisionError
from provisioner.sandbox.environment import account
from provisioner.sandbox.keys import ensure_key, write_known_hosts

_START_LIMIT = 10.0
_STOP_LIMIT = 10.0
_CONTROL_LIMIT = 30.0
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class SandboxHost:
    """A throw-away host: reached on 127.0.0.1 under its port."""

    name: str
    port: int
    home: Path


class Sandbox:
    """Throw-away hosts on this machine, all in one folder.

    Args:
        folder: holds keys, known_hosts, the log and one home folder per host; made by ``start``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.key = self.folder / "id_ed25519"
        self.known_hosts = self.folder / "known_hosts"
        self.log = self.folder / "sshd.log"
        """One line per login (``h1 connection from ADDRESS:PORT``) and per command (``h1 exec COMMAND``)."""
        self._state = self.folder / "sandbox.json"

    @property
    def user(self) -> str:
        """The only account the hosts know: the one that runs this program."""
        return account()

    def start(self, hosts: int = 3, first_port: int = 42201) -> list[SandboxHost]:
        """Start hosts ``h1``, ``h2`` ... on ports from ``first_port`` on; no-op if just these run already.

        Returns:
            The hosts, each answering.

        Raises:
            ProvisionError: a port is taken, other hosts run in this folder, or the daemon does not come up.
        """
        wanted = self._plan(hosts, first_port)
        self._make_folder()
        with self._control():
            if self.running():
                self._require_same(wanted)
                return wanted
            listeners = _listen(wanted)
            try:
                self._prepare(wanted)
                self._launch(listeners)
            finally:
                for listener in listeners:
                    listener.close()
            self._await_banners(wanted)
        return wanted

    def stop(self) -> None:
        """End the daemon and what its sessions left running, except what detached itself; keep the folder."""
        if not self.running():
            return
        with self._control():
            for number in (signal.SIGTERM, signal.Signals(9)):
                self._signal_daemon(number)
                limit = time.monotonic() + _STOP_LIMIT
                while self.running() and time.monotonic() < limit:
                    time.sleep(0.02)
            if self.running():
                raise ProvisionError(f"the sandbox daemon of {self.folder} does not end", remedy=f"see {self.log}")

    def remove(self) -> None:
        """Stop, and delete the folder with all that the hosts hold."""
        self.stop()
        if self._state.exists():  # else it is not ours
            shutil.rmtree(self.folder)

    def running(self) -> bool:
        """Say whether the daemon runs: it holds a lock for as long as it lives."""
        if not self._state.exists():
            return False
        try:
            with FileLock(self.folder / "daemon.lock", timeout=0):
                return False
        except Timeout:
            return True

    def hosts(self) -> list[SandboxHost]:
        """Return the hosts of the last start; empty if there was none."""
        if not self._state.exists():
            return []
        known = json.loads(self._state.read_text("utf-8"))
        return [SandboxHost(host["name"], host["port"], self.folder / host["name"]) for host in known]

    def _plan(self, hosts: int, first_port: int) -> list[SandboxHost]:
        if sys.platform == "win32":
            raise InputError("sandbox hosts need Linux or macOS", remedy="use WSL or real machines")
        if hosts < 1 or first_port < 1 or first_port + hosts - 1 > 65535:
            raise InputError(f"{hosts} sandbox hosts from port {first_port} on do not fit into the ports 1 to 65535")
        names = [f"h{number}" for number in range(1, hosts + 1)]
        return [SandboxHost(name, first_port + index, self.folder / name) for index, name in enumerate(names)]

    def _make_folder(self) -> None:
        if self.folder.exists() and not self._state.exists() and any(self.folder.iterdir()):
            raise InputError(f"{self.folder} holds other things", remedy="name an empty or a new folder")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        if not self._state.exists():
            self._state.write_text("[]\n", "utf-8")

    def _control(self) -> FileLock:
        """Only one start or stop at a time."""
        return FileLock(self.folder / "control.lock", timeout=_CONTROL_LIMIT)

    def _require_same(self, wanted: list[SandboxHost]) -> None:
        known = self.hosts()
        if known != wanted:
            raise ProvisionError(
                f"the sandbox in {self.folder} already runs {len(known)} hosts from port {known[0].port} on",
                remedy="stop it first, or use another folder",
            )

    def _prepare(self, wanted: list[SandboxHost]) -> None:
        """Lay keys, known_hosts and home folders; what an earlier start laid is kept."""
        ensure_key(self.key)
        keys = self.folder / "host_keys"
        keys.mkdir(mode=0o700, exist_ok=True)
        write_known_hosts(self.known_hosts, {host.port: ensure_key(keys / host.name) for host in wanted})
        for host in wanted:
            host.home.mkdir(exist_ok=True)
        (self.folder / "daemon.pid").unlink(missing_ok=True)
        known = [{"name": host.name, "port": host.port} for host in wanted]
        self._state.write_text(json.dumps(known, indent=1) + "\n", "utf-8")

    def _launch(self, listeners: list[socket.socket]) -> None:
        descriptors = [listener.fileno() for listener in listeners]
        command = [sys.executable, "-m", "provisioner.sandbox.daemon", str(self.folder), *map(str, descriptors)]
        with self.log.open("ab") as log:
            first = subprocess.Popen(
                command,
                cwd=Path(__file__).parents[2],  # where -m finds the package
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=descriptors,
                start_new_session=True,
            )
        try:
            first.wait(_START_LIMIT)  # it forks the daemon and ends
        except subprocess.TimeoutExpired:
            first.kill()
            first.wait(_START_LIMIT)
        if first.returncode != 0:
            raise self._did_not_start()

    def _await_banners(self, wanted: list[SandboxHost]) -> None:
        limit = time.monotonic() + _START_LIMIT
        for host in wanted:
            try:
                _await_banner(host.port, limit - time.monotonic())
            except OSError as error:  # refused at once if the daemon died: nobody else holds the listening socket
                raise self._did_not_start() from error

    def _did_not_start(self) -> ProvisionError:
        lines = self.log.read_text("utf-8", "replace").splitlines()
        return ProvisionError(
            f"the sandbox daemon did not start: {lines[-1] if lines else 'no output'}", remedy=f"see {self.log}"
        )

    def _signal_daemon(self, number: signal.Signals) -> None:
        """Signal the process that holds the lock; its pid is sure to be the daemon's only while the lock is held."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.folder / "daemon.pid").read_text("utf-8"))
            if self.running():
                os.kill(pid, number)


def _listen(hosts: list[SandboxHost]) -> list[socket.socket]:
    """Bind every host's port; nothing stays bound if one is taken."""
    listeners: list[socket.socket] = []
    try:
        for host in hosts:
            listener = socket.socket()
            listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((_LOOPBACK, host.port))
            listener.listen(128)
    except OSError as error:
        for listener in listeners:
            listener.close()
        raise ProvisionError(
            f"port {hosts[len(listeners) - 1].port} for sandbox host {hosts[len(listeners) - 1].name} is not free"
            f" ({error.strerror})",
            remedy=f"name another first port: {len(hosts)} ports in a row must be free",
        ) from error
    return listeners


def _await_banner(port: int, patience: float) -> None:
    """Wait until an SSH server greets us; OSError if none does."""
    with socket.create_connection((_LOOPBACK, port), timeout=max(0.1, patience)) as probe:
        if probe.recv(4) != b"SSH-":
            raise ConnectionAbortedError(f"port {port} does not speak SSH")
