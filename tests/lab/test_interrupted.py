"""Runs that are broken off at the worst moments: the next apply always arrives at the same place."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from .cluster import Cluster, ours, ray_pids
from .command import Provision
from .conftest import MachineFactory
from .machines import Machine
from .shell import wait_until


@pytest.fixture(scope="module")
def cluster(module_machines: MachineFactory, provision: Provision, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Two bare hosts."""
    made = Cluster(provision, tmp_path_factory.mktemp("interrupted") / "lab.yml", module_machines(2))
    made.declare()
    return made


def runs(machine: Machine, sign: str) -> bool:
    return any(sign in process.command for process in machine.processes())


def program_ended(cluster: Cluster) -> bool:
    """Tell whether no program of ours works on any host: it must end by itself when its controller is gone."""
    return not any(runs(machine, ".provision/program") for machine in cluster.machines)


def kill_when(cluster: Cluster, moment: Callable[[], bool], what: str) -> None:
    """Start an apply, and kill it at once with SIGKILL at that moment."""
    running = cluster.start("apply", "--yes")
    try:
        wait_until(moment, what, 90)
    finally:
        running.signal(signal.SIGKILL)
        assert running.wait().code == -signal.SIGKILL
    wait_until(lambda: program_ended(cluster), "the programs on the hosts to end", 20)


def test_killed_while_the_environment_is_installed(cluster: Cluster) -> None:
    worker = cluster.machines[1]
    kill_when(cluster, lambda: runs(worker, "uv pip install"), "uv to install on the worker")
    assert not runs(worker, "uv pip install")
    assert any(
        what.startswith("environment") for host, _, what, _, _ in cluster.check(code=2).differences() if host == "h2"
    )


def test_killed_while_ray_starts(cluster: Cluster) -> None:
    head = cluster.head
    kill_when(cluster, lambda: runs(head, "bin/ray start"), "Ray to be started on the head")
    answer = cluster.apply("--yes")
    assert sorted(answer.proven()) == ["h1", "h2"]
    assert cluster.alive() == ["h1", "h2"]
    assert [list(ray_pids(machine).values()).count("raylet") for machine in cluster.machines] == [1, 1]
    assert cluster.apply().changed() == []


def test_ctrl_c_ends_a_run_in_good_order(cluster: Cluster) -> None:
    cluster.declare(workers={"h2": {"ray": {"labels": {"zone": "a"}}}})
    running = cluster.start("apply", "--yes")
    wait_until(lambda: runs(cluster.machines[1], ".provision/program"), "the program to run on the worker", 30)
    running.signal(signal.SIGINT)
    ended = running.wait(60)
    assert "stopping: each host finishes or undoes its current step" in ended.err
    assert cluster.answer(ended, code=130).document["interrupted"]
    wait_until(lambda: program_ended(cluster), "the programs on the hosts to end", 20)
    cluster.apply("--yes")  # which has nothing left to do, and so to prove, if the worker's step was its last one
    cluster.wait_alive("h1", "h2")
    assert cluster.check().differences() == []


def test_link_cut_while_ray_is_restarted(cluster: Cluster) -> None:
    worker = cluster.machines[1]
    before = ray_pids(worker)
    cluster.declare(workers={"h2": {"ray": {"labels": {"zone": "b"}}}})
    running = cluster.start("apply", "--yes")
    try:
        wait_until(lambda: not before.keys() & ray_pids(worker).keys(), "Ray to be stopped on the worker", 60)
        worker.cut()
        lost = cluster.answer(running.wait(150), code=4)
    finally:
        worker.uncut()
    assert lost.status()["h2"] == "unreachable"
    assert "run the same command again" in lost.said("h2") or "is it on" in lost.said("h2")
    assert "'Start the workers' did not succeed on h2" in lost.said("h1")
    assert sorted(cluster.apply("--yes").proven()) == ["h1", "h2"]
    assert cluster.check().differences() == []


def test_teardown_after_all_of_it(cluster: Cluster) -> None:
    cluster.teardown("--purge")
    assert [ours(machine) for machine in cluster.machines] == [[], []]
