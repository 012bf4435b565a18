"""Somebody else's Ray on the same machine: it goes on, whatever we start and stop."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from .cluster import ASK, NODES, Cluster, ours, ray_pids
from .command import Provision
from .conftest import MachineFactory
from .machines import Machine
from .shell import wait_until

START = """\
import sys
sys.argv = ["ray", "start", "--block", "--head", "--port=7379", "--dashboard-port=9265", "--node-ip-address={ip}",
  "--ray-client-server-port=20001", "--temp-dir=/srv/stranger/ray", "--dashboard-agent-listen-port=20002",
  "--dashboard-agent-grpc-port=20003", "--runtime-env-agent-port=20004", "--metrics-export-port=20005",
  "--min-worker-port=21000", "--max-worker-port=21999", "--labels=provision/host=h1"]
from ray.scripts.scripts import main
main()
"""


@pytest.fixture(scope="module")
def cluster(module_machines: MachineFactory, provision: Provision, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """A cluster of ours, of a head alone."""
    made = Cluster(provision, tmp_path_factory.mktemp("stranger") / "lab.yml", module_machines(1))
    made.declare()
    made.apply()
    return made


@pytest.fixture(scope="module")
def stranger(cluster: Cluster) -> Iterator[dict[int, str]]:
    """Somebody's Ray, started by hand from an environment outside our root; its pids."""
    machine = cluster.head
    (environment,) = machine.exec(["ls", f"{cluster.root}/env"]).stdout.split()
    machine.exec(["cp", "-a", f"{cluster.root}/env/{environment}", "/srv/stranger"], timeout=60)
    machine.write("/srv/stranger/start.py", START.format(ip=machine.ip))
    before = ray_pids(machine)
    machine.exec(["systemd-run", "--unit=stranger", "/srv/stranger/bin/python", "/srv/stranger/start.py"])
    wait_until(lambda: living(machine) == 1, "the stranger's cluster", 60, pause=0.3)
    wait_until(lambda: len(ray_pids(machine)) == 2 * len(before), "all of the stranger's processes", 30)
    yield {pid: name for pid, name in ray_pids(machine).items() if pid not in before}


def living(machine: Machine) -> int:
    """Return how many living nodes the stranger's own dashboard lists."""
    said = machine.exec(["python3", "-c", ASK, f"http://127.0.0.1:9265{NODES}"], check=False)
    if said.returncode != 0:
        return 0
    return sum(row["state"] == "ALIVE" for row in json.loads(said.stdout)["data"]["result"]["result"])


def test_the_stranger_is_no_difference(cluster: Cluster, stranger: dict[int, str]) -> None:
    assert cluster.check().differences() == []
    assert stranger.items() <= ray_pids(cluster.head).items()


def test_a_restart_of_ours_leaves_the_stranger_alone(cluster: Cluster, stranger: dict[int, str]) -> None:
    cluster.declare(head={"h1": {"ray": {"labels": {"zone": "b"}}}})
    assert sorted(cluster.apply("--yes").proven()) == ["h1"]
    assert stranger.items() <= ray_pids(cluster.head).items()
    assert living(cluster.head) == 1


def test_a_teardown_of_ours_leaves_the_stranger_alone(cluster: Cluster, stranger: dict[int, str]) -> None:
    cluster.teardown("--purge")
    assert ray_pids(cluster.head) == stranger
    assert living(cluster.head) == 1
    assert [each for each in ours(cluster.head) if "/opt/provision/" in each.command] == []


def test_the_strangers_port_is_refused_and_named(cluster: Cluster, stranger: dict[int, str]) -> None:
    cluster.declare(head={"h1": {"ray": {"port": 7379}}})
    said = cluster.apply(code=3).said("h1")
    assert "port 7379 (port) is taken by gcs_server (pid " in said
    assert "ray: {port: ...}" in said
    assert ray_pids(cluster.head) == stranger
    cluster.teardown("--purge")
    assert ray_pids(cluster.head) == stranger
