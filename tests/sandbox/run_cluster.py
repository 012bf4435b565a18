"""A cluster in the sandbox, without packages and without Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from provisioner.engine.options import RunOptions
from provisioner.engine.run import Run
from provisioner.errors import ProvisionError
from provisioner.events import Difference, Event, HostFinished, HostObserved, TaskFinished, Verb
from provisioner.inventory.model import Host, Inventory, RayOptions, Ssh
from provisioner.playbook.load import load_playbook
from provisioner.sandbox import Sandbox

from .conftest import free_ports

COUNT = 20


PLAYBOOK = """
- play: Lay files
  hosts: all
  tasks:
    - name: A file
      file: {path: "{{ vars.home }}/etc/app.conf", content: "of {{ host.name }}", mode: "0640"}
    - name: An empty file
      file: {path: "{{ vars.home }}/empty", content: ""}
    - name: A variable
      variable: {name: APP, value: "a b"}
- play: Begin on the head
  hosts: head
  tasks:
    - name: Note that the head begins
      command: {argv: [/bin/sh, -c, "date +%s%N > {{ vars.home }}/head"], creates: "{{ vars.home }}/head",
                undo: [/bin/rm, "{{ vars.home }}/head"]}
- play: Then on the workers
  hosts: workers
  needs: Begin on the head
  tasks:
    - name: Note that a worker begins
      command: {argv: [/bin/sh, -c, "date +%s%N > {{ vars.home }}/worker"], creates: "{{ vars.home }}/worker",
                undo: [/bin/rm, "{{ vars.home }}/worker"]}
"""


class NoPackages:
    """Nothing to install in these tests."""

    fixed = False

    def lock(
        self, platform_facts: Any, python: str, requirements: tuple[str, ...], progress: Any = None, *, declared: Any
    ) -> Any:
        raise ProvisionError("there are no packages")

    def interpreter(self, platform_facts: Any, version: str, mirror: str | None = None, progress: Any = None) -> Any:
        raise ProvisionError("there is no interpreter")

    def open(self, sha256: str) -> Any:
        raise ProvisionError(f"there is no file {sha256}")

    path = open


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    sandbox = Sandbox(tmp_path_factory.mktemp("run") / "hosts")
    sandbox.start(COUNT, free_ports(COUNT))
    yield sandbox
    sandbox.remove()


class Cluster:
    """Some hosts of the sandbox as an inventory, and runs on it."""

    def __init__(self, box: Sandbox, count: int, folder: Path) -> None:
        self.box = box
        self.folder = folder
        self.homes = {host.name: host.home for host in box.hosts()[:count]}
        self.hosts = tuple(
            Host(
                host.name, "worker" if number else "head", "127.0.0.1", "3.11.9", (), RayOptions(),
                ssh=Ssh(user=box.user, port=host.port, key=box.key, known_hosts=box.known_hosts),
                service="process", vars={"home": str(host.home)},
            )
            for number, host in enumerate(box.hosts()[:count])
        )  # fmt: skip
        self.events: list[Event] = []
        self.logged = ""

    def run(
        self, verb: Verb, playbook: str = PLAYBOOK, confirm: Callable[[tuple[Difference, ...]], bool] | None = None,
        **options: Any,
    ) -> int:  # fmt: skip
        """Run a verb; its events and what the SSH server logged meanwhile are kept."""
        file = self.folder / "playbook.yml"
        file.write_text(dedent(playbook))
        inventory = Inventory("lab", "2.60.0", self.hosts, self.folder / "inventory.yml")
        settings = RunOptions(verb, **{"yes": confirm is None, "connect_timeout": 10.0, **options})
        self.events = []
        log = len(self.box.log.read_text())
        run = Run(inventory, load_playbook(file), settings, NoPackages(), time.monotonic())
        code = run.execute(self.events.append, confirm or (lambda stopping: False))
        self.logged = self.box.log.read_text()[log:]
        return code

    def differences(self) -> list[Difference]:
        return [each for event in self.events if isinstance(event, HostObserved) for each in event.differences]

    def finished(self) -> dict[str, HostFinished]:
        return {event.host: event for event in self.events if isinstance(event, HostFinished)}

    def statuses(self) -> dict[str, str]:
        return {name: event.status for name, event in self.finished().items()}

    def tasks(self, status: str) -> int:
        return sum(isinstance(event, TaskFinished) and event.status == status for event in self.events)

    def listing(self) -> list[str]:
        """Every file in the hosts' homes but what is kept for the next time: the program and what was sent."""
        files = (path for home in self.homes.values() for path in home.rglob("*") if path.is_file())
        return sorted(str(path) for path in files if {"program", "store"}.isdisjoint(path.parts))

    def close(self) -> None:
        self.run("teardown", purge=True)


@pytest.fixture
def cluster(box: Sandbox, tmp_path: Path) -> Iterator[Callable[[int], Cluster]]:
    made: list[Cluster] = []

    def build(count: int) -> Cluster:
        made.append(Cluster(box, count, tmp_path))
        return made[-1]

    yield build
    for each in made:
        each.close()
