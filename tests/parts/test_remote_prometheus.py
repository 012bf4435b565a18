"""The cluster's own Prometheus under our supervisor, for real, with a small server in its place.

The server of Debian's packages is in tests/lab/test_metrics.py.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote import service
from provisioner.remote.failure import Failure
from provisioner.remote.host import Host
from provisioner.remote.platforms.supervised import Supervised
from provisioner.remote.resources import old_environments, prometheus_config, prometheus_server
from provisioner.remote.resources.prometheus_server import Prometheus
from tests import waiting
from tests.unit.remote_host import World, shown

SERVER = f"""\
#!{sys.executable}
import http.server, json, os, sys
told = dict(each[2:].split("=", 1) for each in sys.argv[1:])
json.loads("".join(line for line in open(told["config.file"]) if not line.startswith("#")))
open(os.path.join(told["storage.tsdb.path"], "kept"), "ab").write(b"x")
address, _, port = told["web.listen-address"].rpartition(":")

class Talk(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/-/ready" else 404)
        self.end_headers()

http.server.ThreadingHTTPServer.allow_reuse_address = True
http.server.ThreadingHTTPServer((address, int(port)), Talk).serve_forever()
"""
TARGETS = {"w1": ["10.0.0.11:6385"], "ctl": ["10.0.0.10:6385", "10.0.0.10:44217"]}


class Stage:
    """A host in a folder on which the program is found."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.program = folder / "world" / "prometheus"
        self.program.write_text(SERVER)
        self.program.chmod(0o755)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    def host(self) -> Host:
        host = self.world.host()
        host.service_manager = Supervised()
        host.shared["interpreter"] = sys.executable
        return host

    def task(self, **params: Any) -> Prometheus:
        return Prometheus({"port": self.port, "address": "127.0.0.1", "targets": TARGETS, **params})

    def pid(self) -> int:
        pid: int = Supervised().observe(self.host(), "prometheus-lab")["pid"]
        return pid


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    made = Stage(tmp_path)
    monkeypatch.setattr(prometheus_server.PACKAGE, "find", lambda: str(made.program))
    yield made
    host = made.host()
    Supervised().stop(host, "prometheus-lab")
    host.platform.kill(host.platform.processes_of(service.mark(host, "prometheus-lab")))


def test_it_comes_stays_and_goes(stage: Stage) -> None:
    host, task = stage.host(), stage.task()
    assert shown(task.observe(host)) == [("add", "Prometheus", "", f"service prometheus-lab, port {stage.port}")]
    assert task.ensure(host).startswith("answers after")
    assert stage.task().observe(stage.host()) == []
    pid = stage.pid()
    assert stage.task().ensure(stage.host()) == ""
    assert stage.pid() == pid

    (trace,) = stage.task().traces(stage.host())
    assert (trace["action"], trace["what"], trace["before"]) == ("remove", "Prometheus", "service prometheus-lab")
    assert stage.task().remove(stage.host()) == f"stopped and removed; its data stay in {prometheus_config.data(host)}"
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", stage.port), 5).close()
    left = sorted(str(path.relative_to(stage.world.root)) for path in stage.world.root.rglob("*") if path.is_file())
    assert left == ["prometheus/data/kept"]
    assert stage.task().traces(stage.host()) == []
    (kept,) = old_environments.all_that_is_kept(stage.host())
    assert kept["what"] == "Prometheus' data"


@pytest.mark.parametrize(
    ("params", "what"),
    [
        ({"targets": {"w1": ["10.0.0.11:6385"]}}, "whom Prometheus asks"),
        ({"address": "127.0.0.2"}, "what service prometheus-lab starts"),
    ],
)
def test_what_differs_is_named_and_mended(stage: Stage, params: dict[str, Any], what: str) -> None:
    stage.task().ensure(stage.host())
    assert what in [each["what"] for each in stage.task(**params).observe(stage.host())]
    stage.task(**params).ensure(stage.host())
    assert stage.task(**params).observe(stage.host()) == []


def test_a_configuration_edited_by_hand_is_seen_and_mended(stage: Stage) -> None:
    stage.task().ensure(stage.host())
    Path(prometheus_config.path(stage.host())).write_text("{}")
    assert [each["what"] for each in stage.task().observe(stage.host())] == ["whom Prometheus asks"]
    stage.task().ensure(stage.host())
    assert stage.task().observe(stage.host()) == []


def test_one_that_was_killed_is_seen_and_started(stage: Stage) -> None:
    stage.task().ensure(stage.host())
    os.kill(stage.pid(), 9)  # the server itself goes on, and has the port
    waiting.soon(lambda: stage.pid() == 0)
    assert stage.task().observe(stage.host()) != []
    stage.task().ensure(stage.host())
    assert stage.task().observe(stage.host()) == []


def test_a_port_that_is_taken_is_told(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", stage.port)), pytest.raises(Failure) as caught:
        stage.task().ensure(stage.host())
    assert f"port {stage.port}, for Prometheus, is taken by" in caught.value.message
    assert caught.value.remedy == "end that program, or write another one: `metrics: {port: ...}`"


def test_one_that_ends_at_once_is_told_with_its_log(stage: Stage) -> None:
    stage.program.write_text("#!/bin/sh\necho 'Error loading config' >&2\nexit 2\n")
    with pytest.raises(Failure) as caught:
        stage.task().ensure(stage.host())
    assert "Error loading config" in caught.value.message
    assert "prometheus-lab.log" in caught.value.remedy


def test_windows_has_none(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    host = stage.host()
    monkeypatch.setattr(type(host.platform), "os", "windows")
    with pytest.raises(Failure, match="not run on Windows"):
        stage.task().observe(host)


def test_its_configuration_names_every_host() -> None:
    lines = prometheus_config.text(TARGETS).splitlines()
    told = json.loads("\n".join(line for line in lines if not line.startswith("#")))
    (job,) = told["scrape_configs"]
    assert job["job_name"] == "ray"
    assert {each["labels"]["host"]: each["targets"] for each in job["static_configs"]} == TARGETS
