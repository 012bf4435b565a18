"""Two operators on real machines: what becomes of the turn when power, a cable or a controller goes while one waits."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioner.engine.conversation import STOP_LIMIT
from provisioner.remote.wire import SILENCE as HOST_SILENCE
from provisioner.transport.session import SILENCE

from .cluster import Cluster
from .command import Provision, Running
from .conftest import MachineFactory
from .machines import Machine
from .shell import wait_until

PLAYBOOK = """
- play: Work
  hosts: workers
  tasks:
    - name: Take a while
      command: {argv: [/bin/sh, -c, "echo $$ >> /srv/begun; while test -e /srv/wait; do sleep 0.2; done; touch /srv/one"],
                creates: /srv/one, undo: [/bin/rm, -f, /srv/one, /srv/begun]}
- play: Then
  hosts: all
  needs: Work
  tasks:
    - name: Go on
      command: {argv: [/bin/touch, /srv/two], creates: /srv/two, undo: [/bin/rm, -f, /srv/two]}
"""  # noqa: E501
SLOW = """
- play: Head
  hosts: head
  tasks:
    - name: Hang
      command: {argv: [/bin/sleep, "613"], creates: /srv/one, undo: [/bin/true]}
- play: Work
  hosts: workers
  tasks:
    - name: Take a while
      command: {argv: [/bin/sh, -c, "sleep 8; touch /srv/one"], creates: /srv/one, undo: [/bin/rm, -f, /srv/one]}
    - name: Go on
      command: {argv: [/bin/sh, -c, "sleep 8; touch /srv/two"], creates: /srv/two, undo: [/bin/rm, -f, /srv/two]}
"""
SOON = 10.0
"""Seconds for what happens at once, on a busy machine."""


class Room:
    """A head and two workers, and runs that take as long as they are told."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.playbook = folder / "playbook.yml"
        self.playbook.write_text(PLAYBOOK, encoding="utf-8")
        self.begun = 0.0
        self._started: list[Running] = []

    def start(self, verb: str = "apply", *flags: str) -> Running:
        running = self.cluster.start(verb, "--yes", "--playbook", str(self.playbook), *flags)
        self._started.append(running)
        return running

    def end(self) -> None:
        """End what a test that failed has left behind: it holds the turn."""
        for running in self._started:
            if running.running:
                running.signal(signal.SIGKILL)
                running.wait()

    def at_work(self) -> Running:
        """Return a run whose workers are in the middle of their task."""
        for machine in self.cluster.machines:
            machine.write("/srv/wait", "")
        running = self.start()
        wait_until(lambda: all(_is(machine, "/srv/begun") for machine in self.workers), "the workers to begin", 60)
        return running

    def waiting(self) -> Running:
        """Return a run that waits for the first one's turn."""
        running = self.start()
        wait_until(lambda: "waiting for the turn of" in running.err, "the second run to wait", 60)
        self.begun = time.monotonic()
        return running

    def let_go(self, *machines: Machine) -> None:
        """Have what takes a while end."""
        for machine in machines or self.cluster.machines:
            machine.exec(["rm", "-f", "/srv/wait"])

    @property
    def workers(self) -> list[Machine]:
        return list(self.cluster.machines[1:])

    def holder(self) -> dict[str, Any]:
        """Return the note in the lock of the head."""
        found: dict[str, Any] = json.loads(self.cluster.head.read(f"{self.cluster.root}/lock"))
        return found

    def measured(self, what: str) -> float:
        seconds = time.monotonic() - self.begun
        print(f"{what}: {seconds:.1f} s")
        return seconds


def _is(machine: Machine, path: str) -> bool:
    return machine.exec(["test", "-s" if path.endswith("begun") else "-e", path], check=False).returncode == 0


@pytest.fixture(scope="module")
def cluster(module_machines: MachineFactory, provision: Provision, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    made = Cluster(provision, tmp_path_factory.mktemp("operators") / "lab.yml", module_machines(3))
    made.declare()
    return made


@pytest.fixture
def room(cluster: Cluster, tmp_path: Path) -> Iterator[Room]:
    made = Room(cluster, tmp_path)
    try:
        yield made
    finally:
        made.let_go()
        made.end()
    assert cluster.answer(made.start("teardown").wait(150))


def settled(room: Room) -> None:
    """The next apply has the turn at once, and brings every host to the end."""
    begun = time.monotonic()
    last = room.cluster.answer(room.start("apply", "--lock-timeout", "5").wait(100))
    print(f"the next run: {time.monotonic() - begun:.1f} s")
    assert set(last.status().values()) <= {"ok", "changed"}
    assert all(_is(machine, "/srv/two") for machine in room.cluster.machines)


def test_a_killed_controller_while_another_waits(room: Room) -> None:
    first, second = room.at_work(), room.waiting()
    first.signal(signal.SIGKILL)
    room.begun = time.monotonic()
    first.wait()
    room.let_go()
    assert room.cluster.answer(second.wait(120)).code == 0
    assert room.measured("controller killed, until the other run had done it all") < SOON + 10
    settled(room)


def test_a_frozen_controller_while_another_waits(room: Room) -> None:
    first, second = room.at_work(), room.waiting()
    before = room.holder()["pid"]
    first.signal(signal.SIGSTOP)
    room.begun = time.monotonic()
    try:
        wait_until(lambda: room.holder()["pid"] != before, "the turn to be the other run's", 90)
        taken = room.measured("controller frozen, until the turn was the other run's")
        assert HOST_SILENCE - 6 < taken < HOST_SILENCE + SOON
        room.let_go()
        assert room.cluster.answer(second.wait(150)).code == 0
    finally:
        first.signal(signal.SIGKILL)
        first.wait()
    settled(room)


def cut(machine: Machine) -> None:
    machine.cut()


def power(machine: Machine) -> None:
    """Not even a goodbye of its kernel comes: the cable is out first."""
    machine.cut()
    machine.power_cut()


@pytest.mark.parametrize("how", [power, cut])
def test_the_head_goes_while_another_waits(how: Callable[[Machine], None], room: Room) -> None:
    """Nothing more is begun by the run that had the turn; the other says that nobody keeps anybody out."""
    first, second = room.at_work(), room.waiting()
    head = room.cluster.head
    how(head)
    room.begun = time.monotonic()
    try:
        if how is cut:  # nobody knows yet, but the head may have given up the turn
            time.sleep(25)
            room.let_go(*room.workers)
        wait_until(lambda: "stopping: h1, which keeps other runs out, is lost" in first.err, "it to be noticed", 90)
        assert room.measured(f"{how.__name__} of the head, until it was noticed") < SILENCE + SOON
        room.let_go(*room.workers)
        lost = room.cluster.answer(first.wait(200), code=4)
        assert room.measured("until the run had ended") < SILENCE + STOP_LIMIT + SOON
        assert lost.status() == {"h1": "unreachable", "h2": "skipped", "h3": "skipped"}
        assert "h1, which kept other runs out, was lost" in lost.said("h2")
        assert {task for _, task in lost.changed()} <= {"Take a while"}
        other = room.cluster.answer(second.wait(200), code=4)
        assert "h1 can't hold the turn" in other.result.err
    finally:
        head.uncut()
        if how is power:
            head.boot()
    settled(room)


@pytest.mark.parametrize("who", ["head", "worker"])
def test_a_cable_that_is_out_for_a_moment(who: str, room: Room) -> None:
    """Shorter than any limit: nobody is lost, and nothing is done twice."""
    first = room.at_work()
    machine = room.cluster.head if who == "head" else room.workers[0]
    machine.cut()
    time.sleep(12)
    machine.uncut()
    room.let_go()
    room.begun = time.monotonic()
    done = room.cluster.answer(first.wait(150))
    room.measured(f"the {who}'s cable in again, until the run had ended")
    assert set(done.status().values()) == {"changed"}
    assert [worker.read("/srv/begun").count("\n") for worker in room.workers] == [1, 1]


def test_a_cable_that_stays_out(room: Room) -> None:
    """The worker is given up, the other one is not; its own program gives up before that, and keeps nobody out."""
    first, worker = room.at_work(), room.workers[0]
    worker.cut()
    room.begun = time.monotonic()
    room.let_go(room.cluster.head, room.workers[1])
    lost = room.cluster.answer(first.wait(150), code=4)
    assert room.measured("a worker's cable out, until the run had ended") < SILENCE + 2 * SOON
    assert {name: lost.status()[name] for name in ("h2", "h3")} == {"h2": "unreachable", "h3": "changed"}
    running = [each for each in worker.processes() if ".provision/program" in each.command]
    assert running == [], "it gave up after 30 s, before we did"
    worker.uncut()
    room.let_go(worker)
    settled(room)


def test_a_task_of_the_head_that_takes_too_long(room: Room) -> None:
    """It ends, and what it ran; the head keeps other runs out until the workers are through."""
    room.playbook.write_text(SLOW, encoding="utf-8")
    head, run = room.cluster.head, room.start("apply", "--timeout", "11")
    wait_until(lambda: _runs(head, "/bin/sleep 613"), "the head to begin", 60)
    wait_until(lambda: not _runs(head, "/bin/sleep 613"), "its task to be ended", 20)
    assert not run.ended and not _is(room.workers[0], "/srv/two")
    refused = room.start("apply", "--lock-timeout", "0").wait(60)
    assert refused.code == 5
    result = room.cluster.answer(run.wait(60), code=3)
    assert result.status() == {"h1": "failed", "h2": "changed", "h3": "changed"}
    assert "'Hang' did not end within 11 s" in result.said("h1")
    assert all(_is(worker, "/srv/two") for worker in room.workers)


def _runs(machine: Machine, command: str) -> bool:
    return any(each.command == command for each in machine.processes())
