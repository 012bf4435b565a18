"""A cluster in use: its state on one screen, jobs on it, what its nodes say; a node that goes is seen."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from .cluster import Cluster
from .command import Provision, Result, Running
from .conftest import MachineFactory
from .shell import wait_until

SCRIPT = """\
import os, sys, time
import ray
ray.init()
square = ray.remote(lambda number: number * number)
print("sum", sum(ray.get([square.remote(each) for each in range(10)])), sys.argv[1], os.environ["KEY"], flush=True)
open(sys.argv[2]).read()
sys.exit(7)
"""


@pytest.fixture(scope="module")
def cluster(
    module_machines: MachineFactory, provision: Provision, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    made = Cluster(provision, tmp_path_factory.mktemp("use") / "lab.yml", module_machines(2))
    made.declare()
    made.apply()
    yield made


def start(cluster: Cluster, command: str, *words: str) -> Running:
    return cluster.provision.start(command, *words)


def said(cluster: Cluster, command: str, *words: str) -> Result:
    return start(cluster, command, *words).wait(280)


def status(cluster: Cluster) -> tuple[int, dict[str, str]]:
    ended = said(cluster, "status", str(cluster.inventory), "--json")
    rows = json.loads(ended.out)["nodes"] if ended.code in (0, 2) else []
    return ended.code, {row["host"]: row["state"] for row in rows}


def test_the_state_is_on_one_screen(cluster: Cluster) -> None:
    ended = said(cluster, "status", str(cluster.inventory))
    assert ended.code == 0, ended.out + ended.err
    assert "2 of 2 nodes alive" in ended.out and "Ray 2.60.0" in ended.out
    assert status(cluster) == (0, {"h1": "alive", "h2": "alive"})


def test_a_job_runs_as_it_is_said_and_ends_as_it_ends(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "data.txt").write_text("x")
    words = (str(cluster.inventory), "--working-dir", str(tmp_path), "--env", "KEY=a b")
    ended = said(cluster, "submit", *words, "--", "python", "script.py", 'it\'s "so"', "data.txt")
    assert ended.code == 7, ended.out + ended.err
    assert 'sum 285 it\'s "so" a b\n' in ended.out
    assert "FAILED" in ended.err


def test_a_job_is_listed_followed_and_stopped(cluster: Cluster) -> None:
    program = "import time; print('begun', flush=True); time.sleep(600)"
    ended = said(cluster, "submit", str(cluster.inventory), "--no-wait", "--id", "mine", "--", "python", "-c", program)
    assert (ended.code, ended.out) == (0, "mine\n"), ended.err
    follower = start(cluster, "job", "logs", "mine", "-i", str(cluster.inventory), "--follow")
    wait_until(lambda: "begun" in follower.out, "the job's output", 120)
    assert "RUNNING" in said(cluster, "jobs", str(cluster.inventory)).out
    assert said(cluster, "job", "stop", "mine", "-i", str(cluster.inventory)).code == 0
    assert follower.wait(120).code == 1
    assert "STOPPED" in said(cluster, "jobs", str(cluster.inventory)).out
    assert said(cluster, "job", "logs", "nobody", "-i", str(cluster.inventory)).code == 3


def test_ctrl_c_leaves_the_job_running_where_nobody_can_be_asked(cluster: Cluster) -> None:
    program = "import time; print('begun', flush=True); time.sleep(600)"
    running = start(cluster, "submit", str(cluster.inventory), "--id", "other", "--", "python", "-c", program)
    wait_until(lambda: "begun" in running.out, "the job's output", 120)
    running.signal(signal.SIGINT)
    ended = running.wait(60)
    assert ended.code == 130
    assert "job other runs on: provision job logs other --follow" in ended.err
    assert "RUNNING" in said(cluster, "jobs", str(cluster.inventory)).out
    assert said(cluster, "job", "stop", "other", "-i", str(cluster.inventory)).code == 0


def test_what_a_node_says_is_shown(cluster: Cluster) -> None:
    assert "Ray runtime started" in said(cluster, "logs", "h2", "-i", str(cluster.inventory)).out
    of_ray = said(cluster, "logs", "head", "--ray", "-i", str(cluster.inventory))
    assert "==> raylet.out <==" in of_ray.out and "==> gcs_server.out <==" in of_ray.out


def test_a_node_that_is_gone_is_dead_and_one_that_never_came_is_missing(cluster: Cluster) -> None:
    cluster.machines[1].exec(["systemctl", "stop", "ray-lab"], timeout=90)
    wait_until(lambda: status(cluster) == (2, {"h1": "alive", "h2": "dead"}), "h2 to be dead", 60)
    cluster.machines[0].exec(["systemctl", "restart", "ray-lab"], timeout=90)
    wait_until(lambda: status(cluster)[1].get("h2") == "missing", "h2 to be missing", 120)
    cluster.machines[0].exec(["systemctl", "stop", "ray-lab"], timeout=90)
    ended = said(cluster, "status", str(cluster.inventory))
    assert ended.code == 3
    assert "no dashboard of Ray answers" in ended.err and "provision logs" in ended.err
