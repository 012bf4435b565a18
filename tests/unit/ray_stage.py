"""A Ray node without Ray: the head's dashboard as a real HTTP server, the node as a stand-in service."""

from __future__ import annotations

import json
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from provisioner.remote.resources import ray_state
from tests.quiet_server import QuietServer

from .remote_host import World, make, shown

# What Ray 2.60.0 answers to /api/v0/nodes?limit=10000&detail=true, shortened by a node.
RECORDED: dict[str, Any] = {
    "result": True,
    "msg": "",
    "data": {
        "result": {
            "total": 2,
            "num_after_truncation": 2,
            "num_filtered": 2,
            "result": [
                {
                    "node_id": "aa", "node_ip": "10.0.0.10", "is_head_node": True, "state": "ALIVE",
                    "state_message": None, "node_name": "10.0.0.10",
                    "resources_total": {"CPU": 4.0, "memory": 1.0, "node:__internal_head__": 1.0},
                    "labels": {"ray.io/node-id": "aa", "provision/host": "ctl", "provision/config": "c1"},
                    "start_time_ms": 1000, "end_time_ms": 0,
                },
                {
                    "node_id": "bb", "node_ip": "10.0.0.11", "is_head_node": False, "state": "DEAD",
                    "state_message": "Terminated", "labels": {"provision/host": "w1", "provision/config": "c0"},
                    "start_time_ms": 2000, "end_time_ms": 2500,
                },
                {
                    "node_id": "cc", "node_ip": "10.0.0.11", "is_head_node": False, "state": "ALIVE",
                    "state_message": None, "labels": None, "start_time_ms": None,
                },
            ],
            "partial_failure_warning": "",
            "warnings": None,
        }
    },
}  # fmt: skip


class Dashboard:
    """A real HTTP server on loopback that says what it is told to."""

    def __init__(self) -> None:
        self.status = 200
        self.body: bytes = json.dumps(RECORDED).encode()
        self.paths: list[str] = []
        self.token = ""
        """What is asked for, if anything."""
        self.shown: list[str] = []
        dashboard = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                dashboard.paths.append(self.path)
                named = "User-Agent" in self.headers  # Ray 2.48 answers 500 to those who are not
                shown = self.headers.get("Authorization", "")
                dashboard.shown.append(shown)
                known = not dashboard.token or shown == f"Bearer {dashboard.token}"
                refused = 403 if shown else 401
                self.send_response(refused if not known else dashboard.status if named else 500)
                self.end_headers()
                self.wfile.write(dashboard.body)

            def log_message(self, *_: Any) -> None:
                """Stay silent."""

        self._server = QuietServer(("127.0.0.1", 0), Handler)
        self.address = ["127.0.0.1", self._server.server_port]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def nodes(self, *nodes: tuple[str, str, str, str], head: str = "") -> None:
        """Have these nodes: id, host, config, state; the last one is the newest, and ``head`` the id of the head."""
        rows = [
            {"node_id": node, "node_ip": "127.0.0.1", "state": state, "start_time_ms": number,
             "is_head_node": node == head,
             "labels": {"provision/host": host, "provision/config": config}}
            for number, (node, host, config, state) in enumerate(nodes)
        ]  # fmt: skip
        self.body = json.dumps({"data": {"result": {"result": rows}}}).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    made = Dashboard()
    yield made
    made.close()


def free_port() -> int:
    """Return a port that nobody listens on, below those that the system hands out to whoever connects meanwhile, and
    above those that sandboxes take."""
    for port in random.sample(range(24000, 32000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no free port")


class Node:
    """A worker on a stand-in service; the head's dashboard is a real HTTP server."""

    def __init__(self, world: World, dashboard: Dashboard, kind: str = "ray_head") -> None:
        self.world = world
        self.dashboard = dashboard
        self.service = world.service
        self.kind = kind
        self.params: dict[str, Any] = {
            "arguments": ["--block", "--num-cpus=2", "--labels=provision/config=c1,provision/host=w1,zone=a"],
            "env": {"X": "1"}, "environment": "e1", "config": "c1", "node_ip": "127.0.0.1",
            "ports": {"port": free_port()}, "gcs": f"127.0.0.1:{dashboard.address[1]}",
            "dashboard": dashboard.address, "head": "ctl", "temp_dir": str(world.root / "ray"), "secret": [],
            "versions": {"ray": "2.60.0", "python": "3.11.9"},
        }  # fmt: skip
        self.token = ""
        """What the head says the token's fingerprint is."""
        world.controller.answers["ctl", "nodes"] = lambda args: {
            "nodes": ray_state.fetch_nodes(args["dashboard"]), "token": self.token
        }  # fmt: skip
        world.controller.answers["ctl", "destination"] = lambda args: None
        world.controller.answers["controller", "limit"] = []
        self.service.on_restart = lambda: self.join("n1")
        dashboard.nodes()

    def join(self, node: str, config: str | None = None) -> None:
        self.dashboard.nodes(("old", "w1", "c0", "DEAD"), (node, "w1", config or self.params["config"], "ALIVE"))

    def resource(self, **changes: Any) -> Any:
        return make(self.kind, **{**self.params, **changes})

    def differences(self, **changes: Any) -> list[tuple[str, str, str, str]]:
        ray_state._cache.clear()
        return shown(self.resource(**changes).observe(self.world.host()))

    def ensure(self, **changes: Any) -> str:
        self.params.update(changes)
        return str(self.resource().ensure(self.world.host()))
