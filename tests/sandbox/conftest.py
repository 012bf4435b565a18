"""A running sandbox for the tests, and both clients to talk to it with."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest

from provisioner.sandbox import Sandbox, SandboxHost
from provisioner.transport import home as home_folder
from tests import interpreters

from .bare import USUAL, Bare

LIMIT = 20.0

Connect = Callable[..., paramiko.SSHClient]


def free_ports(count: int) -> int:
    """Return the first of ``count`` neighbouring ports nobody uses, below those the system hands out."""
    for first in range(20000, 32000, count):
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise AssertionError("no free ports")


@pytest.fixture(scope="session", autouse=True)
def openssh() -> None:
    """Have OpenSSH's clients, for they are half of these tests."""
    if not (shutil.which("ssh") and shutil.which("sftp")):
        subprocess.run(["apt-get", "update", "-qq"], check=True, timeout=120)
        subprocess.run(["apt-get", "install", "-y", "-qq", "openssh-client"], check=True, timeout=180)


@pytest.fixture(scope="package")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Two hosts, shared by all tests that do not stop them."""
    box = Sandbox(tmp_path_factory.mktemp("box") / "hosts")
    box.start(2, free_ports(2))
    yield box
    box.remove()


@pytest.fixture
def host(sandbox: Sandbox) -> SandboxHost:
    """The first host."""
    return sandbox.hosts()[0]


def log_in(box: Sandbox, to: SandboxHost, user: str | None = None, key: Path | None = None) -> paramiko.SSHClient:
    """Connect with paramiko; the caller closes the client."""
    sock = socket.create_connection(("127.0.0.1", to.port), timeout=LIMIT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # paramiko leaves Nagle on: 40 ms per request
    client = paramiko.SSHClient()
    client.load_host_keys(str(box.known_hosts))
    key_file = str(key or box.key)
    try:
        client.connect(
            "127.0.0.1",
            to.port,
            user or box.user,
            key_filename=key_file,
            allow_agent=False,
            look_for_keys=False,
            sock=sock,
        )
    except BaseException:
        client.close()
        raise
    return client


@pytest.fixture
def connect(sandbox: Sandbox) -> Iterator[Connect]:
    """Connect with paramiko; every client is closed at the end of the test."""
    clients: list[paramiko.SSHClient] = []

    def open_client(to: SandboxHost, user: str | None = None, key: Path | None = None) -> paramiko.SSHClient:
        clients.append(log_in(sandbox, to, user, key))
        return clients[-1]

    yield open_client
    for client in clients:
        client.close()


@pytest.fixture
def client(connect: Connect, host: SandboxHost) -> paramiko.SSHClient:
    """A paramiko client of the first host."""
    return connect(host)


def options(sandbox: Sandbox, key: Path | None = None) -> list[str]:
    """What OpenSSH's clients need to use our keys and nothing of the user's."""
    settings = ["BatchMode=yes", "IdentitiesOnly=yes", f"UserKnownHostsFile={sandbox.known_hosts}"]
    settings += ["GlobalKnownHostsFile=/dev/null", "StrictHostKeyChecking=yes", f"User={sandbox.user}"]
    return ["-F", "/dev/null", "-i", str(key or sandbox.key), *(word for text in settings for word in ("-o", text))]


Ssh = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def ssh(sandbox: Sandbox, host: SandboxHost) -> Ssh:
    """Run a command on the first host with OpenSSH's client."""

    def run(
        command: str, stdin: bytes = b"", user: str | None = None, key: Path | None = None, extra: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[bytes]:
        target = ["-l", user] if user else []
        words = ["ssh", *target, *extra, *options(sandbox, key), "-p", str(host.port), "127.0.0.1", command]
        return subprocess.run(words, input=stdin, capture_output=True, timeout=LIMIT, check=False)

    return run


@pytest.fixture(scope="module")
def archive() -> interpreters.Archive:
    try:
        return interpreters.relocatable()
    except interpreters.Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def every_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have progress told with every piece that is sent."""
    monkeypatch.setattr(home_folder, "TELL", -1.0)


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Callable[..., Bare]]:
    made: list[Bare] = []

    def make(tools: tuple[str, ...] = USUAL, home: Path | None = None) -> Bare:
        made.append(Bare(tmp_path / f"w{len(made) + 1}", tools, home))
        return made[-1]

    yield make
    for each in made:
        each.close()
