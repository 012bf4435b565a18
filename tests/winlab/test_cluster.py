"""A cluster of a Linux host and Windows stand-ins, with real Ray: made, at rest, through crashes and a power cut."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ..lab.cluster import Answer, Cluster, contacts
from ..lab.command import Provision
from ..lab.fixtures import MachineFactory
from ..lab.machines import Machine, Process
from ..lab.shell import wait_until
from .fixtures import StandInFactory
from .stand_in import StandIn

ROOT = "C:\\provision\\lab"
PYTHON = {"version": "3.11.2", "source": "system", "match": "minor"}
TASKS = "windows/system32/Tasks/provision"
TASK = f"{TASKS}/ray-lab"
MACHINE = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment"
PASSWORD = "open-sesame"
OLD, NEW = "2.58.0", "2.60.0"
SYSTEM = {"service": {"account": "SYSTEM"}}
BACK = 150.0
"""Seconds for a node to be back by itself: the task's repetition takes a minute, Ray's start 20 s."""


@dataclass
class Story:
    """A cluster that was made from bare hosts, and what was said meanwhile."""

    cluster: Cluster
    windows: Sequence[StandIn]
    apply: Answer
    took: dict[str, float] = field(default_factory=dict)


def declare(cluster: Cluster, **more: Mapping[str, Any]) -> None:
    """Write the inventory: whoever logs in, and which versions, is said by host; so is what ``more`` says, but for
    what it says of ``all``."""
    head, *workers = [(machine.name, {**own(machine), **more.get(machine.name, {})}) for machine in cluster.machines]
    cluster.declare(**{"python": PYTHON, "head": dict([head]), "workers": dict(workers), **more.get("all", {})})


def own(machine: Machine) -> dict[str, Any]:
    if not isinstance(machine, StandIn):
        return {"ray": {"num_cpus": 1}}
    return {
        **machine.declared,
        "ray": {"num_cpus": 1, "object_store_memory": 100_000_000},
    }


def mislead(machine: StandIn) -> None:
    """Have every session, and every task, find variables that would lead Python and Ray astray."""
    for name, value in {"PYTHONHOME": "C:\\nowhere", "PYTHONPATH": "C:\\nowhere", "RAY_ADDRESS": "10.0.0.1:1"}.items():
        machine.exec(["reg.exe", "add", MACHINE, "/v", name, "/d", value, "/f"])
    machine.restart_sshd()
    assert "10.0.0.1:1" in machine.ssh("echo", "%RAY_ADDRESS%").stdout


def ours(machine: StandIn) -> list[Process]:
    """Return what runs out of our root."""
    return [process for process in machine.processes() if ROOT.lower() in process.command.lower()]


def of(machine: StandIn, program: str) -> list[Process]:
    return [process for process in machine.processes() if program in process.command]


def environments(machine: StandIn) -> set[str]:
    return {folder.name for folder in (machine.drive / "provision/lab/env").iterdir()}


def proven(answer: Answer) -> dict[str, tuple[str, str]]:
    """Return (OS, Ray) of every node that a task ran on."""
    return {name: (proof["os"], proof["ray"]) for name, proof in answer.proven().items()}


def timed(act: Callable[[], object]) -> float:
    begun = time.monotonic()
    act()
    return round(time.monotonic() - begun, 1)


@pytest.fixture(scope="module")
def story(
    module_machines: MachineFactory,
    module_stand_ins: StandInFactory,
    provision: Provision,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Story]:
    (head,), first = module_machines(1), module_stand_ins(1, python=False)
    workers = [*first, *module_stand_ins(1, python=False, shell="powershell", codepage=949)]
    mislead(workers[0])
    cluster = Cluster(provision, tmp_path_factory.mktemp("mixed") / "lab.yml", [head, *workers])
    declare(cluster, w2=SYSTEM)
    begun = time.monotonic()
    answer = cluster.apply()
    made = Story(cluster, workers, answer, {"apply from bare": round(time.monotonic() - begun, 1)})
    yield made
    print(made.took)


def test_a_task_runs_in_the_python_of_windows(story: Story) -> None:
    proven = {name: (proof["os"], proof["python"]) for name, proof in story.apply.proven().items()}
    assert proven == {"h1": ("Linux", "3.11.2"), "w1": ("Windows", "3.11.9"), "w2": ("Windows", "3.11.9")}
    labels = {node["labels"]["provision/host"]: node["labels"]["os"] for node in story.cluster.nodes()}
    assert labels == {"h1": "linux", "w1": "windows", "w2": "windows"}
    notices = [notice["message"] for notice in story.apply.document["notices"]]
    assert len([message for message in notices if "do not support" in message]) == 1


def test_a_task_runs_as_whom_the_inventory_says(story: Story) -> None:
    principals = [(worker.drive / TASK).read_bytes().decode("utf-16") for worker in story.windows]
    assert "<LogonType>S4U</LogonType>" in principals[0]
    assert "<UserId>S-1-5-18</UserId>" in principals[1]
    assert all("<BootTrigger>" in text and "<Interval>PT1M</Interval>" in text for text in principals)


def test_nothing_to_do_costs_one_connection_and_one_exec(story: Story) -> None:
    answers: list[Answer] = []
    seen = contacts(story.cluster.machines, lambda: answers.append(story.cluster.apply()))
    assert (answers[0].changed(), answers[0].differences()) == ([], [])
    assert seen == {"h1": (1, 1), "w1": (1, 1), "w2": (1, 1)}
    story.took["apply without changes"] = round(answers[0].result.seconds, 1)


@pytest.mark.parametrize("program", ["raylet.exe", "launch.py"])
def test_what_was_killed_is_revived(story: Story, program: str) -> None:
    worker = story.windows[0]
    before = {process.pid for process in of(worker, program)}
    assert before
    worker.inside(["kill", "-9", *map(str, before)], check=False)  # the end of one is that of the other
    wait_until(lambda: not before & {process.pid for process in of(worker, program)}, "it to be gone", 20)

    def back() -> None:
        wait_until(lambda: bool(of(worker, program)), f"{program} to run", BACK)
        story.cluster.wait_alive("h1", "w1", "w2", limit=BACK)

    story.took[f"{program} killed, ALIVE again"] = timed(back)


def test_a_worker_is_back_after_a_power_cut(story: Story) -> None:
    worker = story.windows[0]
    worker.power_cut()
    wait_until(lambda: story.cluster.alive() == ["h1", "w2"], "the head to notice", 60)
    worker.boot()
    story.took["boot, ALIVE again"] = timed(lambda: story.cluster.wait_alive("h1", "w1", "w2", limit=BACK))
    assert story.cluster.apply().differences() == []


def test_ports_that_windows_keeps_are_named_and_nothing_is_stopped(story: Story) -> None:
    raylets = {process.pid for process in of(story.windows[0], "raylet.exe")}
    kept = {**own(story.windows[0])["ray"], "first_port": 49777}
    declare(story.cluster, w1={"ray": kept}, w2=SYSTEM)
    refused = story.cluster.apply("--yes", code=3)
    assert "Windows keeps ports of the node from every program: 49777 (node_manager_port) in 49681-49780, 49778" in (
        refused.said("w1")
    )
    declare(story.cluster, w2=SYSTEM)
    assert ("w1", "Run a Ray worker") not in story.cluster.apply().changed()
    assert {process.pid for process in of(story.windows[0], "raylet.exe")} == raylets


def test_another_version_and_back(story: Story) -> None:
    """As on Linux, of which tests/lab/test_upgrade.py tells more; a mixed cluster changes its version as a whole."""
    before = [environments(worker) for worker in story.windows]
    declare(story.cluster, all={"ray": {"version": OLD}}, w2=SYSTEM)
    done = story.cluster.apply("--yes")
    story.took["another version"] = round(done.result.seconds, 1)
    assert proven(done) == {"h1": ("Linux", OLD), "w1": ("Windows", OLD), "w2": ("Windows", OLD)}
    assert [len(environments(worker)) for worker in story.windows] == [2, 2]
    back = story.cluster.run("rollback", "--yes")
    story.took["rollback"] = round(back.result.seconds, 1)
    assert proven(back) == {"h1": ("Linux", NEW), "w1": ("Windows", NEW), "w2": ("Windows", NEW)}
    running = [{process.pid for process in of(worker, "raylet.exe")} for worker in story.windows]
    declare(story.cluster, all={"keep": 0}, w2=SYSTEM)
    tidied = story.cluster.apply()
    assert {task for _, task in tidied.changed()} == {"Remove old environments"}
    assert [environments(worker) for worker in story.windows] == before
    assert [{process.pid for process in of(worker, "raylet.exe")} for worker in story.windows] == running
    assert story.cluster.apply().differences() == []


def test_teardown_leaves_no_task_and_no_process(story: Story) -> None:
    story.took["teardown"] = timed(story.cluster.teardown)
    assert [ours(worker) for worker in story.windows] == [[], []]
    assert not any((worker.drive / TASKS).exists() for worker in story.windows)
    time.sleep(65)  # the repetition would have come
    assert [ours(worker) for worker in story.windows] == [[], []]


def test_a_windows_head_with_a_linux_worker(
    machines: MachineFactory, stand_ins: StandInFactory, provision: Provision, tmp_path: Path
) -> None:
    (head,), (worker,) = stand_ins(1, python=False), machines(1)
    cluster = Cluster(provision, tmp_path / "lab.yml", [head, worker], python=f"{ROOT}\\python\\3.11.9\\python.exe")
    cluster.env = {"RAY_PW": PASSWORD}
    declare(cluster, **{head.name: {"service": {"account": head.user, "password": {"from_env": "RAY_PW"}}}})
    begun = time.monotonic()
    made = cluster.apply()
    took = {"apply from bare": round(time.monotonic() - begun, 1)}
    proven = {name: proof["os"] for name, proof in made.proven().items()}
    assert proven == {head.name: "Windows", worker.name: "Linux"}
    assert "<LogonType>Password</LogonType>" in (head.drive / TASK).read_bytes().decode("utf-16")
    assert PASSWORD not in made.result.out + made.result.err
    written = [path for path in (head.drive / "provision/lab").glob("*/*") if path.is_file()]
    assert len(written) > 5
    assert not [path for path in written if PASSWORD.encode() in path.read_bytes()]
    again = cluster.apply()
    assert (again.changed(), again.differences()) == ([], [])
    saved = head.drive.parent / "system.reg"  # Windows writes its registry late: what a run took out may be back
    wait_until(lambda: "provision lab files" not in saved.read_text("utf-8", "replace"), "the registry on disk", 90)
    head.power_cut()
    head.boot()
    took["the head's boot, all ALIVE again"] = timed(lambda: cluster.wait_alive(head.name, worker.name, limit=2 * BACK))
    assert cluster.apply().changed() == []
    took["teardown"] = timed(cluster.teardown)
    assert ours(head) == []
    assert not (head.drive / TASKS).exists()
    print(took)
