"""Whole runs over real SSH, with small playbooks and no Ray: applied, applied again, checked, taken down."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import pytest

from provisioner.engine import conversation
from provisioner.engine.options import RunOptions
from provisioner.engine.run import Run
from provisioner.errors import ProvisionError
from provisioner.events import Difference, Doing, Event, HostFinished, HostObserved, Notice, TaskFinished, Verb
from provisioner.inventory.model import Host, Inventory, RayOptions, Ssh
from provisioner.playbook.load import load_playbook
from provisioner.sandbox import Sandbox
from tests.waiting import soon

from .conftest import free_ports
from .support import alive

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


def test_there_and_back(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(3)
    bare = lab.listing()
    assert lab.run("check") == 2
    assert lab.listing() == bare
    assert len(lab.differences()) == 12
    assert lab.run("apply") == 0
    assert set(lab.statuses().values()) == {"changed"}
    assert lab.tasks("changed") == 12
    assert (lab.homes["h2"] / "etc/app.conf").read_text() == "of h2"
    assert lab.run("check") == 0
    assert lab.run("apply") == 0
    assert lab.differences() == []
    assert lab.tasks("changed") == 0
    assert set(lab.statuses().values()) == {"ok"}
    (lab.homes["h3"] / "etc/app.conf").write_text("edited")
    assert lab.run("apply") == 0
    assert lab.statuses() == {"h1": "ok", "h2": "ok", "h3": "changed"}
    assert lab.run("teardown") == 0
    assert lab.run("teardown") == 0
    assert lab.differences() == []
    assert lab.listing() == bare
    assert lab.run("teardown", purge=True) == 0
    assert [list(home.iterdir()) for home in lab.homes.values()] == [[], [], []]


def test_a_purge_may_take_its_time_and_says_what_it_does(
    cluster: Callable[[int], Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = cluster(1)
    assert lab.run("apply") == 0
    (old,) = lab.homes["h1"].glob(".provision/clusters/lab")
    (old / "env" / "old").mkdir(parents=True)
    for number in range(20_000):
        (old / "env" / "old" / str(number)).touch()
    monkeypatch.setattr(conversation, "END_LIMIT", 0.01)
    assert lab.run("teardown", purge=True) == 0
    assert "removing environments and files that were sent" in [e.text for e in lab.events if isinstance(e, Doing)]
    assert list(lab.homes["h1"].iterdir()) == []


def test_a_host_that_is_not_what_was_declared_is_left_alone(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(3)
    lab.hosts = (*lab.hosts[:2], replace(lab.hosts[2], os="windows"))
    assert lab.run("check") == 3
    assert lab.run("apply") == 3
    assert lab.statuses() == {"h1": "changed", "h2": "changed", "h3": "failed"}
    told = lab.finished()["h3"]
    assert "and the inventory says `os: windows`" in told.message
    assert told.remedy.startswith("write `os: linux` for h3")
    assert not any(str(lab.homes["h3"]) in path for path in lab.listing())
    assert lab.run("teardown") == 0, "whatever it is, it can be taken down"


def test_one_connection_and_one_command_per_host(cluster: Callable[[int], Cluster]) -> None:
    """Also for an apply that changes things, once the program is cached."""
    lab = cluster(3)
    lab.run("check")
    verbs: list[Verb] = ["check", "apply", "apply", "check", "teardown"]
    for verb in verbs:
        lab.run(verb)
        for name in lab.homes:
            assert lab.logged.count(f"{name} connection") == 1, lab.logged
            assert lab.logged.count(f"{name} exec") == 1, lab.logged


@pytest.mark.parametrize("concurrency", [1, 2, 32])
def test_gates_hold_with_any_number_of_slots(concurrency: int, cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(4)
    assert lab.run("apply", concurrency=concurrency) == 0
    begun = int((lab.homes["h1"] / "head").read_text())
    assert all(int((lab.homes[name] / "worker").read_text()) > begun for name in ("h2", "h3", "h4"))


def test_twenty_hosts(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(COUNT)
    begun = time.monotonic()
    assert lab.run("apply") == 0
    assert lab.run("check") == 0
    assert time.monotonic() - begun < 40
    assert len(lab.statuses()) == COUNT


def test_limit_works_on_those_hosts_only(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(3)
    assert lab.run("apply", limit=("h3",)) == 0
    assert lab.statuses() == {"h3": "changed"}, "the head is only asked"
    assert (lab.homes["h3"] / "worker").exists()
    assert not (lab.homes["h1"] / "head").exists()
    assert lab.run("teardown", limit=("h3",)) == 0
    assert lab.statuses() == {"h3": "changed"}
    assert not (lab.homes["h3"] / "worker").exists()


def dead(lab: Cluster, name: str) -> Cluster:
    """Have one host listen nowhere."""
    from dataclasses import replace

    port = free_ports(1)
    lab.hosts = tuple(
        replace(host, ssh=replace(host.ssh, port=port)) if host.name == name else host for host in lab.hosts
    )
    return lab


def test_a_dead_worker_does_not_hold_up_the_others(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(3)
    alive = lab.hosts
    assert dead(lab, "h2").run("apply") == 4
    assert lab.statuses() == {"h1": "changed", "h2": "unreachable", "h3": "changed"}
    assert "refused the connection" in lab.finished()["h2"].message
    lab.hosts = alive
    assert lab.run("apply") == 0
    assert lab.statuses() == {"h1": "ok", "h2": "changed", "h3": "ok"}


def test_a_dead_head_keeps_the_workers_from_starting(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(3)
    alive = lab.hosts
    assert dead(lab, "h1").run("apply") == 4
    assert lab.statuses() == {"h1": "unreachable", "h2": "skipped", "h3": "skipped"}
    assert lab.finished()["h2"].message == "'Begin on the head' did not succeed on h1"
    assert lab.finished()["h2"].counts == {"ok": 0, "changed": 3, "failed": 0, "skipped": 1}
    lab.hosts = alive


FAILS = """
- play: First
  hosts: all
  tasks:
    - name: Good
      command: {argv: [/bin/touch, "{{ vars.home }}/good"], creates: "{{ vars.home }}/good",
                undo: [/bin/rm, "{{ vars.home }}/good"]}
    - name: Bad
      when: {host: h2}
      command: {argv: [/bin/false], creates: /nonexistent}
    - name: After
      command: {argv: [/bin/touch, "{{ vars.home }}/after"], creates: "{{ vars.home }}/after",
                undo: [/bin/rm, "{{ vars.home }}/after"]}
- play: Second
  hosts: all
  needs: First
  tasks:
    - name: Last
      command: {argv: [/bin/touch, "{{ vars.home }}/last"], creates: "{{ vars.home }}/last",
                undo: [/bin/rm, "{{ vars.home }}/last"]}
"""


def test_a_task_that_fails_ends_its_host_only(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(3)
    assert lab.run("apply", FAILS) == 3
    assert lab.statuses() == {"h1": "changed", "h2": "failed", "h3": "changed"}
    assert lab.finished()["h2"].message == "Bad: /bin/false ended with exit code 1: it printed nothing"
    assert lab.finished()["h2"].counts == {"ok": 0, "changed": 1, "failed": 1, "skipped": 1}
    assert not (lab.homes["h2"] / "last").exists()
    assert lab.run("teardown", FAILS) == 0


HANDLER = """
- play: Both
  hosts: all
  tasks:
    - name: Cause
      file: {path: "{{ vars.home }}/cause", content: "1"}
    - name: Effect
      command: {argv: [/bin/sh, -c, "echo x >> {{ vars.home }}/effects"], creates: "{{ vars.home }}/effects",
                undo: [/bin/rm, "-f", "{{ vars.home }}/effects"]}
      when: {changed: true}
"""


def test_what_follows_a_change_runs_after_one_only(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(1)
    effects = lab.homes["h1"] / "effects"
    lab.run("apply", HANDLER)
    assert effects.read_text() == "x\n"
    effects.unlink()
    assert lab.run("check", HANDLER) == 0
    assert lab.run("apply", HANDLER) == 0
    assert not effects.exists()


def test_what_is_no_longer_declared_is_removed(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(2)
    lab.run("apply")
    only_head = PLAYBOOK.replace("hosts: all", "hosts: head")
    assert lab.run("check", only_head) == 2
    assert {(each.host, each.task, each.action) for each in lab.differences()} == {
        ("h2", "Remove what is no longer declared", "remove")
    }
    assert lab.run("apply", only_head) == 0
    assert not (lab.homes["h2"] / "etc").exists()
    assert (lab.homes["h1"] / "etc/app.conf").exists()
    assert lab.run("check", only_head) == 0


def test_teardown_removes_what_an_older_playbook_made(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(2)
    bare = lab.listing()
    lab.run("apply")
    assert lab.run("teardown", HANDLER, purge=True) == 0
    assert lab.listing() == bare


MEMBERS = (
    PLAYBOOK
    + """
- play: Remember
  hosts: head
  needs: [Begin on the head, Then on the workers]
  tasks:
    - name: Remember the members
      members: {}
"""
)


def test_a_dropped_host_is_found_and_taken_down(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(3)
    bare = [path for path in lab.listing() if "/h3/" in path]
    lab.run("apply", MEMBERS)
    assert lab.run("check", MEMBERS) == 0
    lab.hosts = lab.hosts[:2]
    assert lab.run("check", MEMBERS) == 2
    assert [each.what for each in lab.differences()] == ["member h3"]
    for concurrency in (1, 32):
        assert lab.run("apply", MEMBERS, concurrency=concurrency) == 0
        assert lab.run("check", MEMBERS) == 0
    assert [path for path in lab.listing() if "/h3/" in path] == bare


def test_a_head_that_fails_early_keeps_nobody_waiting(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(2)
    early = """
    - play: Prepare
      hosts: all
      tasks:
        - name: Only the worker can
          command: {argv: [/bin/sh, -c, "test {{ host.role }} = worker && touch {{ vars.home }}/prepared"],
                    creates: "{{ vars.home }}/prepared", undo: [/bin/rm, -f, "{{ vars.home }}/prepared"]}
    """
    assert lab.run("apply", early + dedent(PLAYBOOK).replace("\n", "\n    ")) == 3
    assert lab.statuses() == {"h1": "failed", "h2": "skipped"}
    assert lab.finished()["h2"].message == "'Begin on the head' did not succeed on h1"
    assert lab.run("teardown", early + dedent(PLAYBOOK).replace("\n", "\n    ")) == 0


def test_a_dropped_host_that_cannot_be_reached_stays_known(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(3)
    everyone = lab.hosts
    dead(lab, "h3").run("apply", MEMBERS)
    lab.hosts = everyone[:2]
    assert lab.run("apply", MEMBERS) == 4
    assert lab.statuses() == {"h1": "changed", "h2": "ok", "h3": "unreachable"}
    assert lab.run("check", MEMBERS) == 2
    lab.run("teardown", MEMBERS)


def test_the_user_is_asked_once_and_may_refuse(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(3)
    lab.run("apply")
    asked: list[int] = []

    def refuse(stopping: tuple[Difference, ...]) -> bool:
        asked.append(len(stopping))
        return False

    before = lab.listing()
    assert lab.run("teardown", confirm=refuse) == 1
    assert asked == [12]
    assert set(lab.statuses().values()) == {"skipped"}
    assert lab.listing() == before
    assert lab.run("teardown", confirm=lambda stopping: True) == 0


def test_a_task_that_takes_too_long_is_ended_on_the_host(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(1)
    slow = """
    - play: Slow
      hosts: all
      tasks:
        - name: Sleep
          command: {argv: [/bin/sh, -c, "echo $$ > {{ vars.home }}/pid; sleep 60"], creates: /nonexistent,
                    undo: [/bin/rm, "{{ vars.home }}/pid"]}
    """
    assert lab.run("apply", slow, task_timeout=1.0) == 3
    assert lab.finished()["h1"].message == "'Sleep' did not end within 1 s"
    pid = int((lab.homes["h1"] / "pid").read_text())
    assert soon(lambda: not alive(pid), 10.0)
    lab.run("teardown", slow)


def test_waiting_for_a_slot_is_not_silence(cluster: Callable[[int], Cluster], monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that waits for its turn hears from us all the time, or it would give us up."""
    from provisioner.engine import line
    from provisioner.transport.wire import Wire

    monkeypatch.setattr(line, "BEAT", 0.5)
    beats: set[str] = set()
    send = Wire.send

    def watched(self: Wire, message: dict[str, Any]) -> None:
        if message["type"] == "beat":
            beats.add(self._host)
        send(self, message)

    monkeypatch.setattr(Wire, "send", watched)
    lab = cluster(3)
    slow = """
    - play: Slow
      hosts: workers
      tasks:
        - name: Sleep
          command: {argv: [/bin/sh, -c, "sleep 2; touch {{ vars.home }}/slept"], creates: "{{ vars.home }}/slept",
                    undo: [/bin/rm, "{{ vars.home }}/slept"]}
    """
    assert lab.run("apply", slow, concurrency=1) == 0
    assert beats == {"h1", "h2", "h3"}
    lab.run("teardown", slow)


@pytest.mark.parametrize(("off", "way"), [(-120, "ahead"), (3600, "behind")])
def test_a_clock_that_is_off_is_named(
    off: int, way: str, cluster: Callable[[int], Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = SimpleNamespace(time=lambda: time.time() + off, monotonic=time.monotonic)
    monkeypatch.setattr("provisioner.engine.conversation.time", ours)
    lab = cluster(1)
    lab.run("check")
    (notice,) = [event for event in lab.events if isinstance(event, Notice)]
    assert f"{abs(off)} s {way} of this machine's" in notice.message or f"{abs(off) - 1} s {way}" in notice.message
    assert "set it right" in notice.remedy
