"""Who logs in and what keeps Ray running: sudo with and without password, a user's own unit, our supervisor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .cluster import Cluster, ours, ray_pids, raylet
from .command import Provision
from .conftest import MachineFactory
from .listing import changes
from .machines import Machine
from .shell import wait_until

PASSWORD = "lee-pw"


@pytest.fixture(scope="module")
def machine(module_machines: MachineFactory) -> Machine:
    """One host for one cluster after the other; each must leave it as it was."""
    return module_machines(1)[0]


@pytest.fixture
def cluster(machine: Machine, provision: Provision, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of a head alone; nothing may be left of it after the test."""
    before = machine.listing()
    made = Cluster(provision, tmp_path / "lab.yml", [machine], env={"LEE": PASSWORD, "WRONG": "not-it"})
    yield made
    assert ours(machine) == []
    assert changes(before, machine.listing()) == []
    assert not any("ray-lab" in line for line in units(machine))


def units(machine: Machine) -> list[str]:
    """Return systemd's own list of units, of the system and of whoever has a manager."""
    found = machine.exec(["systemctl", "list-units", "--all", "--no-legend"]).stdout.splitlines()
    return found + machine.exec(["systemctl", "list-unit-files", "--no-legend"]).stdout.splitlines()


def users_of_ray(machine: Machine) -> set[str]:
    pids = ray_pids(machine)
    return {process.user for process in machine.processes() if process.pid in pids}


def test_sudo_without_a_password(cluster: Cluster, machine: Machine) -> None:
    cluster.declare(ssh={"user": "kim"}, become=True)
    proven = cluster.apply().proven()
    assert proven["h1"]["hostname"] == "h1"
    assert users_of_ray(machine) == {"kim"}
    assert machine.exec(["systemctl", "show", "ray-lab", "--property=User"]).stdout.strip() == "User=kim"
    assert cluster.apply().changed() == []
    cluster.teardown("--purge")


def test_nothing_of_ray_runs_with_more_than_its_accounts_rights(cluster: Cluster, machine: Machine) -> None:
    """Nor the program that has a task run on every node: whoever controls a worker could take it over."""
    cluster.declare(ssh={"user": "kim"}, become=True, account="park")
    assert cluster.apply().proven()["h1"]["hostname"] == "h1"
    assert users_of_ray(machine) == {"park"}
    sessions = f"{cluster.root}/ray"
    drivers = machine.exec(["find", sessions, "-name", "python-core-driver-*.log", "-printf", "%u\n"]).stdout.split()
    assert drivers == ["park"]
    assert machine.exec(["find", sessions, "!", "-user", "park"]).stdout == ""
    opened = ["find", f"{sessions}/s", "-maxdepth", "1", "-name", "session_2*", "-perm", "0777"]
    assert machine.exec(opened).stdout != "", "as Ray 2.60 does"
    seen = machine.exec(["setpriv", "--reuid=kim", "--regid=kim", "--clear-groups", "ls", sessions], check=False)
    assert seen.returncode != 0 and "Permission denied" in seen.stderr
    assert cluster.apply().changed() == []
    cluster.teardown("--purge")


def test_sudo_with_a_password(cluster: Cluster, machine: Machine) -> None:
    cluster.declare(ssh={"user": "lee"}, become=True)
    needed = cluster.check(code=3).said("h1")
    assert "sudo wants a password" in needed
    assert "become_password: {from_env: NAME}" in needed
    cluster.declare(ssh={"user": "lee"}, become=True, become_password={"from_env": "WRONG"})
    wrong = cluster.apply(code=3)
    assert "sudo does not accept the password for lee" in wrong.said("h1")
    assert "become_password" in wrong.said("h1")
    assert "not-it" not in wrong.result.out + wrong.result.err
    cluster.declare(ssh={"user": "lee"}, become=True, become_password={"from_env": "LEE"})
    done = cluster.apply("-v")
    assert sorted(done.proven()) == ["h1"]
    assert users_of_ray(machine) == {"lee"}
    assert PASSWORD not in done.result.out + done.result.err
    assert cluster.check().differences() == []
    cluster.teardown("--purge")


def test_a_user_who_may_not_use_sudo(cluster: Cluster) -> None:
    cluster.declare(ssh={"user": "park"}, become=True)
    assert "sudo" in cluster.apply(code=3).said("h1")
    cluster.declare(ssh={"user": "park"}, become=True, become_password={"from_env": "WRONG"})
    assert "sudo does not accept the password for park" in cluster.apply(code=3).said("h1")


def test_unit_of_a_user_who_may_not_linger_is_explained(cluster: Cluster, machine: Machine) -> None:
    """And once an administrator allowed it, the user's node survives a reboot, and lingering is left as it was."""
    cluster.declare(ssh={"user": "park"})
    refused = cluster.apply(code=3)
    assert "loginctl enable-linger park" in refused.said("h1")
    machine.exec(["loginctl", "enable-linger", "park"])
    assert sorted(cluster.apply().proven()) == ["h1"]
    assert users_of_ray(machine) == {"park"}
    assert machine.exec(["test", "-e", "/etc/systemd/system/ray-lab.service"], check=False).returncode == 1
    assert cluster.apply().changed() == []
    machine.reboot()
    cluster.wait_alive("h1")
    assert cluster.check().differences() == []
    cluster.teardown("--purge")
    assert machine.exec(["ls", "/var/lib/systemd/linger"]).stdout.split() == ["park"]
    machine.exec(["loginctl", "disable-linger", "park"])


def test_lingering_that_we_enabled_is_taken_back(cluster: Cluster, machine: Machine) -> None:
    cluster.declare(service="systemd-user")
    cluster.apply()
    assert machine.exec(["ls", "/var/lib/systemd/linger"]).stdout.split() == ["root"]
    assert cluster.check().differences() == []
    cluster.teardown("--purge")
    assert machine.exec(["ls", "/var/lib/systemd/linger"], check=False).stdout.split() == []


def test_our_own_supervisor(cluster: Cluster, machine: Machine) -> None:
    cluster.declare(service="process")
    assert sorted(cluster.apply().proven()) == ["h1"]
    assert cluster.apply().changed() == []
    killed = raylet(machine)
    machine.exec(["kill", "-9", str(killed)])
    wait_until(lambda: killed not in ray_pids(machine) and "raylet" in ray_pids(machine).values(), "a raylet", 40)
    cluster.wait_alive("h1")
    assert cluster.check().differences() == []
    cluster.teardown("--purge")
