"""Another version of Ray on a running cluster, and the way back: prepared everywhere, or nothing is restarted."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests import interpreters
from tests.interpreters import Archive

from .cluster import Answer, Cluster, ray_pids, undisturbed
from .command import Provision
from .conftest import MachineFactory
from .machines import Machine
from .shell import wait_until
from .watch import Watch, watching

OLD, NEW = {"version": "2.58.0"}, {"version": "2.60.0"}
ALL = ("h1", "h2", "h3")


@pytest.fixture(scope="module")
def cluster(module_machines: MachineFactory, provision: Provision, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Three hosts that run the older version."""
    made = Cluster(provision, tmp_path_factory.mktemp("upgrade") / "lab.yml", module_machines(3))
    made.declare(ray=OLD)
    made.apply()
    return made


def versions(answer: Answer) -> set[str]:
    """Return the versions of Ray that were proven; every node must have been."""
    assert sorted(answer.proven()) == list(ALL), answer.document
    return {str(proof["ray"]) for proof in answer.proven().values()}


def environments(machine: Machine) -> list[str]:
    return sorted(machine.exec(["ls", "-A", "/opt/provision/lab/env"]).stdout.split())


def tell(what: str, watch: Watch, seconds: float) -> None:
    """Print what it cost; `pytest -s` shows it."""
    missing, headless = watch.incomplete(), watch.headless()
    print(f"\n{what} of {seconds:.1f} s: not all nodes for {missing:.1f} s, no head for {headless:.1f} s")


def test_a_host_that_can_not_be_prepared_stops_nothing(cluster: Cluster) -> None:
    h3, library = cluster.machines[2], "/lib/x86_64-linux-gnu/libstdc++.so.6"
    before = undisturbed(cluster.machines)
    cluster.declare(ray=NEW)
    h3.exec(["mv", library, f"{library}.hidden"])
    try:
        failed = cluster.apply("--yes", code=3)
    finally:
        h3.exec(["mv", f"{library}.hidden", library])
    assert failed.status() == {"h1": "skipped", "h2": "skipped", "h3": "failed"}
    assert "can't be imported: OSError: libstdc++.so.6: cannot open shared object" in failed.said("h3")
    assert "install the package of the system" in failed.said("h3")
    for name in ("h1", "h2"):
        assert failed.said(name).startswith(
            "nothing was restarted, because h3 did not get through 'Prepare every host' -> what runs goes on as it was"
        )
    assert undisturbed(cluster.machines) == before
    assert cluster.alive() == list(ALL)


def test_a_head_that_does_not_come_up_goes_back(cluster: Cluster) -> None:
    cluster.declare(ray=NEW, head={"h1": {"ray": {"env": {"PYTHONHOME": "/nowhere"}}}})
    with watching(cluster.head) as watch:
        failed = cluster.apply("--yes", code=3)
    assert failed.status() == {"h1": "failed", "h2": "skipped", "h3": "skipped"}
    said = failed.said("h1")
    assert "Ray 2.60.0 did not come up: ended right after its start: " in said
    assert "went back to the former one (2.58.0), which runs -> its whole log on the host: " in said
    assert "'Start the head' did not succeed on h1" in failed.said("h2")
    cluster.wait_alive(*ALL)
    assert watch.after == watch.before
    tell("a broken upgrade", watch, failed.result.seconds)
    assert ("h1", "change", "Ray", "2.58.0", "2.60.0") in cluster.check(code=2).differences()
    cluster.declare(ray=OLD)
    assert cluster.check().differences() == []


def test_an_upgrade(cluster: Cluster) -> None:
    cluster.declare(ray=NEW)
    with watching(cluster.head) as watch:
        done = cluster.apply("--yes")
    assert versions(done) == {"2.60.0"}
    assert not any(task == "Install Ray" for host, task in done.changed() if host != "h3")
    assert cluster.alive() == list(ALL)
    tell("an upgrade", watch, done.result.seconds)
    assert watch.incomplete() < 60
    assert [len(environments(machine)) for machine in cluster.machines] == [2, 2, 2]
    assert cluster.check().differences() == []


def test_a_rollback_asks(cluster: Cluster) -> None:
    before = undisturbed(cluster.machines)
    refused = cluster.run("rollback", code=1)
    assert set(refused.status().values()) == {"skipped"}
    assert "Ray on h1 would be stopped" in refused.said("h1")
    alone = cluster.run("rollback", "--limit", "head", code=1)
    assert "the nodes on h2, h3, which take no part in this run would be stopped" in alone.said("h1")
    assert undisturbed(cluster.machines) == before


def test_a_rollback_and_again(cluster: Cluster) -> None:
    with watching(cluster.head) as watch:
        done = cluster.run("rollback", "--yes")
    assert versions(done) == {"2.58.0"}
    assert {(host, "change", "Ray", "2.60.0", "2.58.0") for host in ALL} <= set(done.differences())
    tell("a rollback", watch, done.result.seconds)
    before = undisturbed(cluster.machines)
    again = cluster.run("rollback", "--yes")
    assert (again.changed(), again.differences()) == ([], [])
    assert undisturbed(cluster.machines) == before
    assert ("h1", "change", "Ray", "2.58.0", "2.60.0") in cluster.check(code=2).differences()


def test_interrupted_in_the_middle_of_the_switch_and_applied_again(cluster: Cluster) -> None:
    """The controller is killed while no head runs, and a worker loses its power as well. The head is started still."""
    head, worker, _ = cluster.machines
    before = ray_pids(head)
    running = cluster.start("apply", "--yes")
    try:
        wait_until(lambda: not before.keys() & ray_pids(head).keys(), "Ray to be stopped on the head", 60)
    finally:
        running.signal(signal.SIGKILL)
        assert running.wait().code == -signal.SIGKILL
    wait_until(lambda: "raylet" in ray_pids(head).values(), "Ray to be started on the head", 60)
    worker.power_cut()
    worker.boot()
    assert versions(cluster.apply("--yes")) == {"2.60.0"}
    assert cluster.alive() == list(ALL)
    assert cluster.check().differences() == []


def test_old_environments_go_when_all_came_up(cluster: Cluster) -> None:
    before = {machine.name: set(environments(machine)) for machine in cluster.machines}
    cluster.declare(ray=NEW, packages=["iniconfig"], keep=1)
    planned = [each for each in cluster.check(code=2).differences() if each[1] == "remove"]
    assert [(host, what.split()[0]) for host, _, what, _, _ in planned] == [(host, "environment") for host in ALL]
    done = cluster.apply("--yes")
    assert versions(done) == {"2.60.0"}
    for machine in cluster.machines:
        left = set(environments(machine))
        assert len(left) == 2
        assert len(left & before[machine.name]) == 1, "the one that ran until now stays, the one before it went"
        wheels = machine.exec(["find", f"{cluster.root}/store", "-name", "*.whl"]).stdout
        assert "/ray-2.60.0-" in wheels
        assert "/ray-2.58.0-" not in wheels
    assert cluster.check().differences() == []
    assert versions(cluster.run("rollback", "--yes")) == {"2.60.0"}
    assert {host for host, _, what, _, _ in cluster.check(code=2).differences() if what == "ray environment"} == {*ALL}


def test_another_python_and_back(cluster: Cluster, archive: Archive, tmp_path: Path) -> None:
    mirror = interpreters.mirror(tmp_path / "mirror", [archive])
    cluster.declare(ray=NEW, python={"version": archive.version, "source": "managed", "mirror": mirror}, keep=1)
    done = cluster.apply("--yes")
    assert {proof["python"] for proof in done.proven().values()} == {archive.version}
    assert ("h2", "change", "Python", "3.11.2", archive.version) in done.differences()
    back = cluster.run("rollback", "--yes")
    assert {proof["python"] for proof in back.proven().values()} == {"3.11.2"}
    cluster.declare(ray=NEW, keep=0)
    before = undisturbed(cluster.machines)
    tidied = cluster.apply()
    assert {what.split()[0] for _, action, what, _, _ in tidied.differences() if action == "remove"} == {
        "environment", "Python"
    }  # fmt: skip
    assert undisturbed(cluster.machines) == before
    for machine in cluster.machines:
        assert [name.partition("-")[0] for name in environments(machine)] == ["3.11.2"]
        assert machine.exec(["ls", "-A", f"{cluster.root}/python"]).stdout == ""
