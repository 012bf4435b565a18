"""Node lists over real HTTP, and the checks before a start against real sockets."""

from __future__ import annotations

import json
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote import service
from provisioner.remote.failure import Failure
from provisioner.remote.resources import ray_checks, ray_state

from .ray_stage import RECORDED, Dashboard, dashboard, free_port
from .remote_host import World

__all__ = ["dashboard"]


def test_a_recorded_answer_is_read_newest_first(dashboard: Dashboard) -> None:
    nodes = ray_state.fetch_nodes(dashboard.address)
    assert nodes == [
        {"id": "bb", "ip": "10.0.0.11", "host": "w1", "config": "c0", "alive": False, "head": False, "start": 2000},
        {"id": "aa", "ip": "10.0.0.10", "host": "ctl", "config": "c1", "alive": True, "head": True, "start": 1000},
        {"id": "cc", "ip": "10.0.0.11", "host": "", "config": "", "alive": True, "head": False, "start": 0},
    ]
    assert dashboard.paths == ["/api/v0/nodes?limit=10000&detail=true"]


def test_an_answer_may_be_used_again_while_it_is_fresh(dashboard: Dashboard) -> None:
    first = ray_state.fetch_nodes(dashboard.address, max_age=5.0)
    dashboard.nodes()
    assert ray_state.fetch_nodes(dashboard.address, max_age=5.0) == first
    assert ray_state.fetch_nodes(dashboard.address) == []
    assert ray_state.fetch_nodes(dashboard.address, max_age=5.0) == []
    assert len(dashboard.paths) == 2


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b""),
        (403, json.dumps(RECORDED).encode()),
        (500, b"oops"),
        (200, b""),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b'{"data": null}'),
        (200, b'{"data": {"result": {"result": ["x"]}}}'),
        (200, b'{"data": {"result": {"result": {"a": 1}}}}'),
        (200, b'{"data": {"result": {"result": [{"node_id": 1}]}}}'),
        (200, b'{"data": {"result": {"result": [{"node_id": 1, "node_ip": "", "state": "", "labels": [1]}]}}}'),
        (200, b"\xff\xfe"),
    ],
)
def test_whatever_else_answers_is_no_head(status: int, body: bytes, dashboard: Dashboard) -> None:
    dashboard.status, dashboard.body = status, body
    assert ray_state.fetch_nodes(dashboard.address) is None


def test_nobody_there_or_silent_or_rude() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = ["127.0.0.1", listener.getsockname()[1]]
        assert ray_state.fetch_nodes(address, timeout=0.1) is None
        listener.accept()[0].close()
        threading.Thread(target=lambda: listener.accept()[0].close()).start()
        assert ray_state.fetch_nodes(address) is None
    assert ray_state.fetch_nodes(address) is None


@pytest.mark.parametrize(
    ("address", "ok"),
    [("127.0.0.1", True), ("::1", True), ("192.0.2.7", False), ("2001:db8::1", False), ("no address", False)],
)
def test_a_node_ip_must_be_the_hosts_own(address: str, ok: bool) -> None:
    if ok:
        ray_checks.check_address(address)
        return
    with pytest.raises(Failure) as caught:
        ray_checks.check_address(address)
    assert caught.value.message.startswith(f"node_ip {address} is not an address of this host (it has ")
    assert "node_ip" in caught.value.remedy


@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port_is_named_with_its_owner(bound: str, tmp_path: Path) -> None:
    host, port = World(tmp_path).host(), free_port()
    with socket.create_server((bound, port)):
        comm = Path("/proc/self/comm").read_text().strip()
        with pytest.raises(Failure) as caught:
            ray_checks.check_ports(host, {"dashboard_port": port})
    assert caught.value.message == f"port {port} (dashboard_port) is taken by {comm} (pid {os.getpid()})"
    assert caught.value.remedy == "end that program, or give the node another port: `ray: {dashboard_port: ...}`"
    ray_checks.check_ports(host, {"dashboard_port": port})


def test_a_port_that_this_account_may_not_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("socket.socket.bind", refuse)
    with pytest.raises(Failure, match=r"port 80 \(port\) may not be used by this account"):
        ray_checks.check_ports(World(tmp_path).host(), {"port": 80})


def test_a_port_owner_that_can_not_be_seen(tmp_path: Path) -> None:
    assert World(tmp_path).host().platform.port_owner(1) == "another process"


def test_a_reachable_head() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ray_checks.check_reachable(f"127.0.0.1:{listener.getsockname()[1]}", "ctl")


@pytest.mark.parametrize(
    ("error", "how", "cause"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "refused", "listens elsewhere"),
        (TimeoutError("timed out"), "no answer", "a firewall"),
        (OSError(113, "No route to host"), "No route to host", "the route"),
    ],
)
def test_an_unreachable_head(error: OSError, how: str, cause: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(ray_checks, "HEAD_LIMIT", 0.0)
    monkeypatch.setattr("socket.create_connection", fail)
    with pytest.raises(Failure) as caught:
        ray_checks.check_reachable("10.0.0.10:6379", "ctl")
    assert caught.value.message == f"the head ctl can't be reached from this host at 10.0.0.10:6379: {how}"
    assert cause in caught.value.remedy


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        ("", "its log is empty"),
        ("one\ntwo\n\n", "two"),
        ("RuntimeError: Version mismatch: x\nsee the docs\n", "RuntimeError: Version mismatch: x"),
        ("\x1b[31mConnectionError\x1b[0m\nbye\n", "ConnectionError"),
        ("x" * 30_000 + "\nlast\n", "last"),
    ],
)
def test_the_cause_of_a_failed_start_is_in_its_log(log: str, cause: str, tmp_path: Path) -> None:
    world = World(tmp_path)
    path = Path(service.log_path(world.host(), "ray-lab"))
    path.parent.mkdir(parents=True)
    path.write_text(log)
    failure = ray_checks.start_failure(world.host(), "ray-lab", "ended")
    assert failure.message == f"Ray ended: {cause}"
    assert str(path) in failure.remedy


def node(*workers: str) -> dict[str, Any]:
    ports = {"node_manager_port": 6380, "port": 6379, "dashboard_port": 8265}
    return {"ports": ports, "argv": [r"C:\env\Scripts\ray.exe", "start", "--port=6379", *workers]}


SPAN = ("--min-worker-port=10002", "--max-worker-port=19999")
KEPT: dict[str, tuple[tuple[str, ...], list[tuple[int, int]], str]] = {
    "none": (SPAN, [(5357, 5357), (6381, 8264), (20000, 20099)], ""),
    "part of the workers'": (SPAN, [(9990, 10101), (15000, 15000), (19950, 20049)], "10002-10101, 15000, 19950-19999"),
    "one of a list": (("--worker-port-list=12000,12001,12002",), [(12001, 12001)], "12001"),
    "workers without ports of their own": ((), [(10002, 19999)], ""),
}


@pytest.mark.parametrize(("workers", "spans", "told"), KEPT.values(), ids=list(KEPT))
def test_ports_of_workers_that_the_system_keeps_are_said(
    workers: tuple[str, ...], spans: list[tuple[int, int]], told: str
) -> None:
    said = ray_checks.check_allowed(node(*workers), spans)
    assert said == (f"; Windows keeps {told} of worker_ports, which Ray leaves out" if told else "")


@pytest.mark.parametrize(
    ("workers", "spans", "message"),
    [
        (SPAN, [(6370, 6379), (8265, 8300)],
         "of the node from every program: 6379 (port) in 6370-6379, 8265 (dashboard_port) in 8265-8300"),
        (SPAN, [(10000, 12000), (12001, 30000)],
         "all ports of the node's worker processes from every program: 10002-12000, 12001-19999"),
        (("--worker-port-list=12000,12001",), [(12000, 12001)],
         "all ports of the node's worker processes from every program: 12000, 12001"),
    ],
    ids=["its own", "all of a span", "all of a list"],
)  # fmt: skip
def test_a_node_that_can_not_start_is_told_before_it_is_stopped(
    workers: tuple[str, ...], spans: list[tuple[int, int]], message: str
) -> None:
    with pytest.raises(Failure) as caught:
        ray_checks.check_allowed(node(*workers), spans)
    assert caught.value.message.endswith(message)
