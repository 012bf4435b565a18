"""A node that comes up with whatever its service is told to run, unless that is broken."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote.resources import ray_history, ray_node, ray_state
from tests.unit.ray_stage import Dashboard, Node
from tests.unit.remote_host import World

VERSIONS = {"e1": "2.58.0", "e2": "2.60.0", "e3": "2.61.0", "e1b": "2.58.0"}


class Life(Node):
    """A node that comes up with whatever its service is told to run, unless that is broken."""

    def __init__(self, world: World, dashboard: Dashboard, kind: str) -> None:
        super().__init__(world, dashboard, kind)
        self.broken: set[str] = set()
        self.numbers = itertools.count()
        self.others: list[tuple[str, str, str, str]] = []
        self.service.on_restart = self.start
        self.params["gcs"] = f"127.0.0.1:{dashboard.address[1]}"

    def start(self) -> None:
        config = self.spec()["config"]
        self.service.active = config not in self.broken
        self.service.failing = not self.service.active
        if self.service.active:
            self.dashboard.nodes((f"n{next(self.numbers)}", "w1", config, "ALIVE"), *self.others)
        else:
            Path(self.spec()["log"]).write_text(f"RuntimeError: {config} is broken\n")
            self.dashboard.nodes(*self.others)

    def spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = json.loads((self.world.root / "service" / "ray-lab.json").read_text())
        return spec

    def runs(self) -> tuple[str, str]:
        """Return the environment and the configuration in use."""
        return Path(self.spec()["environment"]).name.rpartition("-")[2], self.spec()["config"]

    def history(self) -> list[tuple[str, str, bool]]:
        found = ray_history.read(self.world.host())
        return [
            (Path(entry["environment"]).name.rpartition("-")[2], entry["config"], entry["proven"]) for entry in found
        ]

    def apply(self, environment: str, config: str = "", **changes: Any) -> str:
        """Have the node run from an environment, which is made as a script that tells its versions."""
        python = self.world.root / "env" / f"3.11.9-{environment}" / "bin" / "python"
        python.parent.mkdir(parents=True, exist_ok=True)
        versions = {"ray": VERSIONS[environment], "python": "3.11.9"}
        python.write_text(f"#!/bin/sh\necho '{json.dumps(versions)}'\n")
        python.chmod(0o755)
        return self.ensure(environment=environment, config=config or environment, versions=versions, **changes)

    def rollback(self) -> str:
        """Go back, if there is something to do; returns what was said."""
        ray_state._cache.clear()
        resource, host = self.resource(), self.world.host()
        if not resource.former(host):
            return str(host.shared.get("cannot", ["nothing to do"])[0])
        return str(resource.revert(host))

    def head_says(self, environment: str, **over: Any) -> None:
        """Have the head say what it runs when the rollback is over."""
        self.world.controller.answers["ctl", "destination"] = {
            "versions": {"ray": VERSIONS[environment], "python": "3.11.9"}, "gcs": self.params["gcs"],
            "dashboard": self.dashboard.address, "since": 0, **over,
        }  # fmt: skip

    def begin(self, run: int) -> None:
        """Have what follows belong to another run."""
        self.world._hello["run"] = run


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_node, "LOOK", 0.0)


@pytest.fixture
def head(tmp_path: Path, dashboard: Dashboard) -> Life:
    return Life(World(tmp_path), dashboard, "ray_head")


@pytest.fixture
def worker(tmp_path: Path, dashboard: Dashboard) -> Life:
    return Life(World(tmp_path), dashboard, "ray_worker")
