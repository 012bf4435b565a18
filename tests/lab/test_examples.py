"""What examples/ shows, run as it says: on a cluster, and on one machine alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .cluster import Cluster
from .command import PROJECT, Provision
from .conftest import MachineFactory

EXAMPLES = PROJECT / "examples"
SQUARES = "sum of squares: 328350\n"


@pytest.fixture(scope="module")
def cluster(
    module_machines: MachineFactory, provision: Provision, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    made = Cluster(provision, tmp_path_factory.mktemp("examples") / "lab.yml", module_machines(2))
    made.declare(packages=["duckdb"])
    made.apply()
    yield made


def submitted(cluster: Cluster, name: str) -> str:
    words = (str(cluster.inventory), "--working-dir", str(EXAMPLES), "--", "python", name)
    ended = cluster.provision.start("submit", *words).wait(280)
    assert ended.code == 0, ended.out + ended.err
    return ended.out


def test_every_example_is_here() -> None:
    tried = Path(__file__).read_text()
    assert [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in tried] == []


def test_the_smallest_function_runs_on_all_nodes(cluster: Cluster) -> None:
    said = submitted(cluster, "squares.py")
    assert SQUARES in said
    calls = [int(line.split()[1]) for line in said.splitlines() if line.endswith(" calls")]
    assert sum(calls) == 100


def test_a_query_is_answered_by_the_nodes_together(cluster: Cluster) -> None:
    said = [line for line in submitted(cluster, "duckdb_nodes.py").splitlines() if line.startswith("station ")]
    values = [[number * 7919 % 1000 for number in range(station, 800_000, 5)] for station in range(5)]
    assert said == [
        f"station {station}: 160000 readings, mean {round(sum(found) / len(found), 3)}, highest {max(found)}"
        for station, found in enumerate(values)
    ]


def test_one_machine_needs_no_cluster(cluster: Cluster) -> None:
    (python,) = cluster.machines[1].exec(["sh", "-c", f"ls {cluster.root}/env/*/bin/python"]).stdout.split()
    program = (EXAMPLES / "one_machine.py").read_text()
    assert SQUARES in cluster.machines[1].exec([python, "-"], stdin=program, timeout=240).stdout
