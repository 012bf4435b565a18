"""One host of a run hands files to the others: each file leaves this machine once, and nobody waits for ever."""

from __future__ import annotations

import hashlib
import os
import platform
import socket
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from uv import find_uv_bin

from provisioner.engine.options import RunOptions
from provisioner.engine.run import Run
from provisioner.events import Doing, Event, HostFinished, Notice
from provisioner.inventory.model import ArtifactOptions, Host, Interpreter, Inventory, RayOptions, Ssh
from provisioner.playbook.load import load_playbook
from provisioner.sandbox import Sandbox
from provisioner.transport.wire import Wire
from tests.parts.test_remote_environment import wheel

from .conftest import free_ports

COUNT = 4
PLAYBOOK = """
- play: Prepare
  hosts: all
  tasks:
    - name: Find the interpreter
      python: {}
    - name: Install
      environment: {}
- play: Then
  hosts: head
  needs: Prepare
  tasks:
    - name: Note
      command: {argv: [/bin/touch, "{{ vars.home }}/then"], creates: "{{ vars.home }}/then",
                undo: [/bin/rm, "{{ vars.home }}/then"]}
"""


@dataclass(frozen=True)
class File:
    """A file of the lock."""

    path: Path

    @property
    def filename(self) -> str:
        return self.path.name

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @property
    def size(self) -> int:
        return self.path.stat().st_size


class Packages:
    """Small packages with the names that are asked for, and the real uv."""

    def __init__(self, folder: Path) -> None:
        ballast = f"__version__ = '2.60.0'\nBALLAST = {os.urandom(1_000_000).hex()!r}\n"
        self.wheels = [File(wheel(folder, "ray", ballast)), File(wheel(folder, "redis", ""))]
        with zipfile.ZipFile(folder / "uv-0-py3-none-linux.whl", "w") as bundle:
            bundle.write(find_uv_bin(), "uv-0.data/scripts/uv")
        self.uv = File(folder / "uv-0-py3-none-linux.whl")
        self.digest = "d"
        self.requirements = "".join(
            f"{name}==1.0 --hash=sha256:{each.sha256}\n"
            for name, each in zip(("ray", "redis"), self.wheels, strict=True)
        )
        self.paths = {each.sha256: each.path for each in (*self.wheels, self.uv)}

    fixed = True

    def lock(
        self, platform_facts: Any, python: str, requirements: tuple[str, ...], progress: Any = None, *, declared: Any
    ) -> Any:
        progress(1_000_000, 2_000_000)
        return self

    def interpreter(self, *args: Any, **more: Any) -> Any:
        raise AssertionError("the hosts have one")

    def open(self, sha256: str) -> Path:
        return self.paths[sha256]

    path = open


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    return Packages(tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    sandbox = Sandbox(tmp_path_factory.mktemp("mirror") / "hosts")
    sandbox.start(COUNT, free_ports(COUNT))
    yield sandbox
    sandbox.remove()


class Cluster:
    """Bare hosts, each with an address of its own on loopback."""

    def __init__(self, box: Sandbox, packages: Packages, folder: Path) -> None:
        self.packages = packages
        self.folder = folder
        self.hosts = tuple(
            Host(
                host.name, "worker" if number else "head", "127.0.0.1", platform.python_version(), (),
                RayOptions(options={"node_ip": f"127.0.0.{number + 2}"}), interpreter=Interpreter(source="system"),
                ssh=Ssh(user=box.user, port=host.port, key=box.key, known_hosts=box.known_hosts),
                service="process", vars={"home": str(host.home)},
            )
            for number, host in enumerate(box.hosts())
        )  # fmt: skip
        self.sent: Counter[tuple[str, str]] = Counter()
        self.events: list[Event] = []

    def run(self, verb: Any = "apply", mirror: str = "head", port: int = 0, **options: Any) -> int:
        file = self.folder / "playbook.yml"
        file.write_text(PLAYBOOK)
        artifacts = ArtifactOptions(mirror=mirror, port=port)
        inventory = Inventory("lab", "2.60.0", self.hosts, self.folder / "inventory.yml", artifacts=artifacts)
        settings = RunOptions(verb, yes=True, **options)
        run = Run(inventory, load_playbook(file), settings, self.packages, time.monotonic())
        self.events, self.sent = [], Counter()
        code = run.execute(self.events.append, lambda stopping: True)
        print(*(event for event in self.events if not isinstance(event, Doing)), sep="\n")
        return code

    def receivers(self) -> list[Counter[str]]:
        """Who was sent each file from here."""
        names = sorted({name for _, name in self.sent})
        return [Counter({host: n for (host, name), n in self.sent.items() if name == each}) for each in names]

    def notices(self) -> list[tuple[str, str]]:
        return [(event.host, event.message) for event in self.events if isinstance(event, Notice)]

    def statuses(self) -> dict[str, str]:
        return {event.host: event.status for event in self.events if isinstance(event, HostFinished)}


@pytest.fixture
def cluster(box: Sandbox, packages: Packages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    made = Cluster(box, packages, tmp_path)
    send = Wire.send_blob

    def counted(self: Wire, number: int, source: Path, offset: int, wanted: Callable[[], bool]) -> None:
        made.sent[self._host, source.name] += 1
        send(self, number, source, offset, wanted)

    monkeypatch.setattr(Wire, "send_blob", counted)
    whole = made.hosts
    yield made
    made.hosts = whole
    made.run("teardown", purge=True)


@pytest.mark.parametrize("concurrency", [1, 32])
@pytest.mark.parametrize("mirror", ["head", "h3"])
def test_each_file_leaves_once(mirror: str, concurrency: int, cluster: Cluster) -> None:
    assert cluster.run(mirror=mirror, concurrency=concurrency) == 0
    name = "h1" if mirror == "head" else mirror
    assert cluster.receivers() == [Counter({name: 1})] * 3
    assert set(cluster.statuses().values()) == {"changed"}
    assert cluster.notices() == []
    assert {event.host for event in cluster.events if isinstance(event, Doing)
            and event.text.startswith("fetching packages for linux-") and event.text.endswith(", 1 of 2 MB")
            } == {"h1", "h2", "h3", "h4"}  # fmt: skip
    assert any(isinstance(event, Doing) and f"receiving packages from {name}, " in event.text
               for event in cluster.events)  # fmt: skip
    assert cluster.run(mirror=mirror) == 0
    assert set(cluster.statuses().values()) == {"ok"}
    assert cluster.sent == Counter()


def test_what_the_mirror_has_from_before_does_not_leave_at_all(cluster: Cluster) -> None:
    """A worker that joins later gets everything from the head."""
    everyone = cluster.hosts
    cluster.hosts = everyone[:2]
    assert cluster.run() == 0
    cluster.hosts = everyone
    assert cluster.run() == 0
    assert cluster.sent == Counter()


EVERYONE = Counter({"h1": 1, "h2": 1, "h3": 1, "h4": 1})


def test_without_a_mirror_everybody_is_sent_everything(cluster: Cluster) -> None:
    assert cluster.run(mirror="none") == 0
    assert cluster.receivers() == [EVERYONE] * 3
    assert cluster.notices() == []


def test_a_run_without_the_mirror_host_goes_without_it(cluster: Cluster) -> None:
    assert cluster.run(limit=("h2", "h3")) == 0
    assert cluster.receivers() == [Counter({"h2": 1, "h3": 1})] * 3
    assert cluster.notices() == []
    assert cluster.statuses() == {"h2": "changed", "h3": "changed"}


def test_an_unreachable_mirror_keeps_nobody_waiting(cluster: Cluster) -> None:
    dead = free_ports(1)
    cluster.hosts = tuple(
        replace(host, ssh=replace(host.ssh, port=dead)) if host.name == "h4" else host for host in cluster.hosts
    )
    begun = time.monotonic()
    assert cluster.run(mirror="h4") == 4
    assert time.monotonic() - begun < 30
    assert cluster.statuses() == {"h1": "changed", "h2": "changed", "h3": "changed", "h4": "unreachable"}
    told = "it hands no files to the other hosts, they get them from here: h4 is not there to answer"
    assert cluster.notices() == [("h4", told)]
    assert cluster.receivers() == [Counter({"h1": 1, "h2": 1, "h3": 1})] * 3


def test_a_port_that_is_taken_is_told_once(cluster: Cluster) -> None:
    with socket.create_server(("127.0.0.2", 0)) as other:
        port = other.getsockname()[1]
        assert cluster.run(port=port) == 0
    ((host, message),) = cluster.notices()
    assert host == "h1"
    assert f"it can't listen on 127.0.0.2 port {port}: Address already in use" in message
    assert cluster.receivers() == [EVERYONE] * 3


def test_the_port_is_closed_after_the_run(cluster: Cluster) -> None:
    port = free_ports(1)
    assert cluster.run(port=port) == 0
    assert cluster.receivers() == [Counter({"h1": 1})] * 3
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), 5)


class Relay:
    """The way to an SSH server; goes dead, without a word, after so many bytes towards it."""

    def __init__(self, port: int, limit: int) -> None:
        self._limit = limit
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        # A small window: what is under way then is in the kernel's buffers and not in SSH's.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        there = socket.create_connection(("127.0.0.1", self._target))
        self._ends = (connection, there)  # nobody hangs up
        alive = threading.Event()
        alive.set()
        threading.Thread(target=self._carry, args=(connection, there, alive, self._limit), daemon=True).start()
        threading.Thread(target=self._carry, args=(there, connection, alive, 1 << 60), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, alive: threading.Event, left: int) -> None:
        with suppress(OSError):
            while alive.is_set() and left > 0 and (piece := source.recv(1 << 16)):
                target.sendall(piece)
                left -= len(piece)
        alive.clear()

    def close(self) -> None:
        self._listener.close()


def test_a_link_that_goes_dead_in_the_middle_of_a_file(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody hangs up: that the host is silent must be noticed although we are sending to it."""
    for module in ("provisioner.engine.line", "provisioner.transport.starter"):
        monkeypatch.setattr(f"{module}.SILENCE", 8.0)
    ssh = cluster.hosts[1].ssh
    assert ssh.port and ssh.known_hosts
    relay = Relay(ssh.port, 10_000_000)
    known = cluster.folder / "known_hosts"
    known.write_text(ssh.known_hosts.read_text().replace(f":{ssh.port} ", f":{relay.port} "))
    there = replace(cluster.hosts[1], ssh=replace(ssh, port=relay.port, known_hosts=known))
    cluster.hosts = (cluster.hosts[0], there)
    begun = time.monotonic()
    assert cluster.run(mirror="none") == 4
    assert time.monotonic() - begun < 25
    assert cluster.statuses() == {"h1": "changed", "h2": "unreachable"}
    relay.close()
