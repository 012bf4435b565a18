"""The proof that the cluster works, with a script in place of Ray."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote.failure import Failure
from provisioner.remote.resources import ray_proof

from .ray_stage import Dashboard, dashboard
from .remote_host import World, make

__all__ = ["dashboard"]


def prove(world: World, dashboard: Dashboard, script: str) -> Any:
    """Return a proof whose Python is a shell script."""
    python = world.root / "env" / "3.11.9-e1" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n" + script)
    python.chmod(0o755)
    world.controller.answers["controller", "finished"] = ["ctl", "w1"]
    return make(
        "ray_proof", environment="e1", gcs="127.0.0.1:6379", dashboard=dashboard.address, env={}, members=["ctl", "w1"]
    )


def test_a_proof_runs_on_every_node(tmp_path: Path, dashboard: Dashboard) -> None:
    world = World(tmp_path)
    dashboard.nodes(("a", "ctl", "c", "ALIVE"), ("b", "w1", "c", "ALIVE"), ("z", "theirs", "", "ALIVE"))
    told = {"hostname": "x", "os": "Linux", "ray": "2.60.0", "python": "3.11.9", "seconds": 0.1}
    script = f"echo noise; echo 'provision-proof: {json.dumps({'ctl': told, 'w1': told})}'"
    proof = prove(world, dashboard, script)
    assert proof.observe(world.host()) == []
    assert proof.ensure(world.host()) == "a task ran on 2 nodes"
    proven = [message for message in world.controller.heard if message["type"] == "proven"]
    assert [message["host"] for message in proven] == ["ctl", "w1"]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo broken; exit 1", "the proof could not connect to Ray: broken"),
        ("exit 3", "the proof could not connect to Ray: exit code 3"),
        ("""echo 'provision-proof: {"ctl": {"error": "no CPU"}}'""", "a task did not run on every node: ctl: no CPU"),
    ],
)
def test_a_proof_that_fails(script: str, message: str, tmp_path: Path, dashboard: Dashboard) -> None:
    world = World(tmp_path)
    dashboard.nodes(("a", "ctl", "c", "ALIVE"), ("b", "w1", "c", "ALIVE"))
    with pytest.raises(Failure) as caught:
        prove(world, dashboard, script).ensure(world.host())
    assert caught.value.message == message


def test_a_proof_waits_for_nodes_only_so_long(
    tmp_path: Path, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_proof, "JOIN_LIMIT", 0.0)
    world = World(tmp_path)
    dashboard.nodes(("a", "ctl", "c", "ALIVE"))
    with pytest.raises(Failure, match="not in the cluster after 0 s: w1"):
        prove(world, dashboard, "").ensure(world.host())
