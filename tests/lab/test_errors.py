"""What can be wrong with a host: named as such, on the host it is about, with what to do; never a traceback."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .cluster import Cluster, ray_pids
from .command import Provision
from .conftest import MachineFactory
from .machines import Machine
from .plumbing import NETWORK
from .shell import run, wait_until


@pytest.fixture(scope="module")
def machine(module_machines: MachineFactory) -> Machine:
    """One host that every test leaves healthy."""
    return module_machines(1)[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("errors")


@pytest.fixture
def cluster(machine: Machine, provision: Provision, folder: Path) -> Cluster:
    """A cluster of a head alone; its environment stays from test to test."""
    return Cluster(provision, folder / "lab.yml", [machine])


@pytest.fixture
def stranger_to_us(machine: Machine, provision: Provision, tmp_path: Path) -> Cluster:
    """A cluster on a machine whose key nobody here knows; our own known_hosts are in a home of their own."""
    home = {"HOME": str(tmp_path / "home"), "XDG_DATA_HOME": str(tmp_path / "data")}
    made = Cluster(provision, tmp_path / "lab.yml", [machine], env=home)
    made.declare(ssh={"known_hosts": None})
    return made


@contextmanager
def small_disk(machine: Machine, where: str, size: str) -> Iterator[None]:
    """Mount a small disk there for a while."""
    machine.exec(["mkdir", "-p", where])
    machine.exec(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", where])
    try:
        yield
    finally:
        machine.exec(["umount", where])


@contextmanager
def hidden(machine: Machine, path: str) -> Iterator[None]:
    machine.exec(["mv", path, f"{path}.hidden"])
    try:
        yield
    finally:
        machine.exec(["mv", f"{path}.hidden", path])


def fails(cluster: Cluster, verb: str, code: int, *flags: str, **over: Any) -> str:
    """Return what is said of the host when a run of that inventory fails."""
    cluster.declare(**over)
    return cluster.run(verb, *flags, code=code).said("h1")


def test_wrong_key(cluster: Cluster, tmp_path: Path) -> None:
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")])
    said = fails(cluster, "check", 4, ssh={"key": str(tmp_path / "other")})
    assert f"root@{NETWORK}.11:22 does not accept the key or password" in said
    assert f"ssh -i {tmp_path / 'other'} root@{NETWORK}.11" in said


def test_wrong_password(cluster: Cluster) -> None:
    cluster.env = {"WRONG": "not-the-password"}
    answer_over: Mapping[str, Any] = {"user": "lee", "key": None, "password": {"from_env": "WRONG"}}
    said = fails(cluster, "check", 4, ssh=answer_over)
    assert f"lee@{NETWORK}.11:22 does not accept" in said
    assert "not-the-password" not in said


def test_right_password(cluster: Cluster) -> None:
    cluster.env = {"RIGHT": "lee-pw"}
    cluster.declare(ssh={"user": "lee", "key": None, "password": {"from_env": "RIGHT"}})
    assert cluster.check(code=2).differences()


def test_closed_ssh_port(cluster: Cluster) -> None:
    assert "refused the connection" in fails(cluster, "check", 4, ssh={"port": 2222})


def test_unknown_host_key_is_refused_until_accepted(stranger_to_us: Cluster, machine: Machine) -> None:
    shown = machine.exec(["ssh-keygen", "-lf", "/etc/ssh/ssh_host_ed25519_key.pub"]).stdout.split()[1]
    refused = stranger_to_us.check(code=4).said("h1")
    assert f"is unknown: ssh-ed25519 {shown}" in refused
    assert "--accept-new-host-keys" in refused
    stranger_to_us.check(code=4)
    stranger_to_us.check("--accept-new-host-keys", code=2)
    stranger_to_us.check(code=2)


def test_changed_host_key_is_refused_always(stranger_to_us: Cluster, machine: Machine) -> None:
    stranger_to_us.check("--accept-new-host-keys", code=2)
    key = "/etc/ssh/ssh_host_ed25519_key"
    machine.exec(["sh", "-c", f"rm {key} {key}.pub; ssh-keygen -q -t ed25519 -N '' -f {key}; systemctl restart ssh"])
    (machine.folder / "known_hosts").unlink(missing_ok=True)
    machine.wait_ready()
    for flags in ((), ("--accept-new-host-keys",)):
        said = stranger_to_us.check(*flags, code=4).said("h1")
        assert "has CHANGED" in said
        assert "ssh-keygen -R" in said


def test_no_python_on_the_host(cluster: Cluster, machine: Machine) -> None:
    with hidden(machine, "/usr/bin/python3"):
        cluster.declare()
        assert cluster.check(code=2).differences(), "python3.11 is found by its name"
        with hidden(machine, "/usr/bin/python3.11"):
            for over in ({}, {"ssh": {"user": "kim"}, "become": True}):
                said = fails(cluster, "check", 3, **over)
                assert "there is no Python on the host that the program can run on (python3: " in said
                assert "install Python 3.8 or newer there, or have it brought: `python: {source: managed}`" in said


def test_python_of_another_version(cluster: Cluster) -> None:
    said = fails(cluster, "check", 3, python={"version": "3.11.9"})
    assert "Python 3.11.9 is wanted, and this host has 3.11.2" in said
    assert "write `python: {version: 3.11.9, source: managed}` to have it brought, or install it there" in said
    assert "such as 3.11.2 here, may stay so with `match: minor`" in said


def test_home_is_full(cluster: Cluster, machine: Machine) -> None:
    machine.exec(["rm", "-rf", "/root/.provision"])
    with small_disk(machine, "/root/.provision", "4k"):
        said = fails(cluster, "check", 3)
    machine.exec(["rmdir", "/root/.provision"])
    assert "home folder of root" in said
    assert "is the disk full" in said


def test_disk_too_small(cluster: Cluster, machine: Machine) -> None:
    with small_disk(machine, "/srv/small", "100m"):
        said = fails(cluster, "apply", 3, root="/srv/small/lab")
        assert "/srv/small/lab has " in said
        assert "MiB free, the environment needs" in said
        assert "choose another `root:`" in said
        cluster.teardown("--purge")


def test_disk_full_to_the_last_byte(cluster: Cluster, machine: Machine) -> None:
    with small_disk(machine, "/srv/small", "64k"):
        machine.exec(["sh", "-c", "cat /dev/zero > /srv/small/filler"], check=False)
        said = fails(cluster, "apply", 3, root="/srv/small/lab")
    assert "disk is full" in said or "MiB free" in said
    assert "free some space" in said


def test_root_is_a_file(cluster: Cluster, machine: Machine) -> None:
    machine.write("/srv/file", "")
    assert "/srv/file" in fails(cluster, "apply", 3, root="/srv/file/lab")


def test_account_that_does_not_exist(cluster: Cluster) -> None:
    said = fails(cluster, "apply", 3, account="nobody-here")
    assert "there is no account 'nobody-here' on this host" in said


def test_wrong_node_ip(cluster: Cluster, machine: Machine) -> None:
    said = fails(cluster, "apply", 3, head={"h1": {"ray": {"node_ip": f"{NETWORK}.99"}}})
    assert f"node_ip {NETWORK}.99 is not an address of this host (it has {NETWORK}.11)" in said
    assert ray_pids(machine) == {}


def test_port_taken_by_a_stranger(cluster: Cluster, machine: Machine) -> None:
    machine.exec(["systemd-run", "--unit=web", "python3", "-m", "http.server", "6379"])
    wait_until(lambda: ":6379 " in machine.exec(["ss", "-ltn"]).stdout, "the stranger to listen", 10)
    pid = machine.exec(["systemctl", "show", "web", "--property=MainPID", "--value"]).stdout.strip()
    said = fails(cluster, "apply", 3)
    assert f"port 6379 (port) is taken by python3 (pid {pid})" in said
    assert ray_pids(machine) == {}
    machine.exec(["systemctl", "stop", "web"])
    assert sorted(cluster.apply().proven()) == ["h1"]


def test_service_that_does_not_exist_here(cluster: Cluster) -> None:
    said = fails(cluster, "check", 3, service="systemd", ssh={"user": "park"})
    assert "a systemd system unit needs root" in said
    assert "become: true" in said
