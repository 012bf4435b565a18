"""Ray's resources without Ray: node lists over real HTTP, checks against real sockets, nodes as a stand-in service."""

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
from provisioner.remote.resources import ray_checks, ray_node, ray_proof, ray_spec, ray_state

from .ray_stage import RECORDED, Dashboard, Node, dashboard
from .remote_host import Service, World, make

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
    host = World(tmp_path).host()
    with socket.create_server((bound, 0)) as listener:
        port = listener.getsockname()[1]
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


@pytest.fixture(params=["ray_head", "ray_worker"])
def node(request: pytest.FixtureRequest, tmp_path: Path, dashboard: Dashboard) -> Node:
    return Node(World(tmp_path), dashboard, request.param)


def test_a_node_is_started_found_and_removed(node: Node) -> None:
    role = node.kind[4:]
    bare = node.world.snapshot()
    assert node.differences() == [("add", f"Ray {role}", "", "service ray-lab")]
    assert node.resource().traces(node.world.host()) == []
    assert node.ensure().startswith("in the cluster after")
    assert node.differences() == []
    assert node.ensure() == "in the cluster"
    assert node.service.done == ["restart"]
    spec = node.world.root / "service" / "ray-lab.json"
    assert spec.stat().st_mode & 0o777 == 0o600, "it may hold secrets"
    (trace,) = node.resource().traces(node.world.host())
    assert (trace["action"], trace["stops"]) == ("remove", "Ray on w1")
    node.resource().remove(node.world.host())
    assert not node.service.active and node.service.defined is None
    assert list(node.world.root.iterdir()) == []
    assert node.world.snapshot() == bare


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ("--labels=provision/host=w1,zone=a", "--labels=os=windows,provision/host=w1,zone=a"),
        ("--labels=os=nano,zone=a", "--labels=os=nano,zone=a"),
        ('--labels={"zone": "a"}', '--labels={"os": "windows", "zone": "a"}'),
        ("--resources={}", "--resources={}"),
    ],
)
def test_every_node_says_its_os(labels: str, told: str) -> None:
    assert ray_spec._with_os(["--block", labels], "windows") == ["--block", told]


@pytest.mark.parametrize(
    "argv",
    [
        [r"C:\provision\lab\env\e1\Scripts\ray.exe", "start", "--head", "--labels=zone=a"],
        [
            "/opt/provision/lab/env/e1/bin/python",
            "/opt/provision/lab/env/e1/bin/ray",
            "start",
            "--head",
            "--labels=zone=a",
        ],
    ],
)
def test_the_options_of_a_node_however_it_is_started(argv: list[str]) -> None:
    facets = ray_spec._facets({"argv": argv, "python": "python", "environment": "e1", "env": {}})
    assert {name: facets[name] for name in facets if name not in ("environment", "Ray", "Python")} == {
        "head": "yes", "label zone": "a"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"arguments": ["--block", "--num-cpus=4", "--labels=provision/config=c1,provision/host=w1,zone=a"]},
         [("change", "ray num-cpus", "2", "4")]),
        ({"arguments": ["--block", "--head", "--labels=provision/config=c2,provision/host=w1,gpu=yes,zone=b"]},
         [("change", "ray head", "", "yes"), ("change", "ray label gpu", "", "yes"),
          ("change", "ray label zone", "a", "b"), ("change", "ray num-cpus", "2", "")]),
        ({"arguments": ["--block", "--num-cpus=2", '--labels={"provision/host": "w1", "zone": "a,b"}']},
         [("change", "ray label zone", "a", "a,b")]),
        ({"env": {"X": "2", "Y": "3"}}, [("change", "ray env X", "1", "2"), ("change", "ray env Y", "", "3")]),
        ({"env": {"X": "2"}, "secret": ["env X"]}, [("change", "ray env X", "another secret", "a secret")]),
        ({"environment": "e2"}, [("change", "ray environment", "3.11.9-e1", "3.11.9-e2")]),
        ({"versions": {"ray": "2.61.0", "python": "3.11.10"}},
         [("change", "Python", "3.11.9", "3.11.10"), ("change", "Ray", "2.60.0", "2.61.0")]),
        ({"temp_dir": "/tmp/elsewhere"}, [("change", "ray temp-dir", "ray", "/tmp/elsewhere")]),
    ],
)  # fmt: skip
def test_what_differs_is_told_by_its_name(
    changes: dict[str, Any], told: list[tuple[str, str, str, str]], node: Node
) -> None:
    node.ensure()
    root = f"{node.world.root}/"
    found = [
        (
            action,
            what,
            before.replace(root + "env/", "").replace(root, ""),
            after.replace(root + "env/", ""),
        )
        for action, what, before, after in node.differences(**changes)
        if what != "ray env TMPDIR"
    ]
    assert found == told


def test_a_node_with_another_configuration_is_restarted(node: Node) -> None:
    node.ensure()
    (change,) = node.resource(env={"X": "2"}).observe(node.world.host())
    assert change["stops"] == "Ray on w1"
    node.service.on_restart = lambda: node.join("n2", "c2")
    assert node.ensure(env={"X": "2"}, config="c2").startswith("in the cluster after")
    assert node.service.done == ["restart", "stop", "restart"]
    assert node.differences() == []


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        ([], ("change", "not in the cluster", "in the cluster")),
        ([("n1", "w1", "c1", "DEAD")], ("change", "not in the cluster", "in the cluster")),
        ([("n1", "w2", "c1", "ALIVE")], ("change", "not in the cluster", "in the cluster")),
        ([("n1", "w1", "c0", "ALIVE")], ("change", "runs an older configuration", "restarted")),
        ([("n1", "w1", "c0", "ALIVE"), ("n2", "w1", "c1", "ALIVE")], None),
    ],
)
def test_only_the_node_list_is_believed(nodes: Any, told: tuple[str, str, str] | None, node: Node) -> None:
    node.ensure()
    node.dashboard.nodes(*nodes)
    found = node.differences()
    assert [(action, before, after) for action, _, before, after in found] == ([told] if told else [])


def test_a_head_that_does_not_answer(node: Node) -> None:
    node.ensure()
    node.dashboard.status = 500
    assert node.differences() == [
        ("change", f"Ray {node.kind[4:]}", "the head does not answer", "in the cluster")
    ]  # fmt: skip


def test_a_stopped_or_edited_service(node: Node) -> None:
    node.ensure()
    node.service.active = False
    assert node.differences() == [("change", f"Ray {node.kind[4:]}", "stopped", "running")]
    node.service.defined = "edited"
    assert node.differences() == [("change", "service ray-lab", "edited or incomplete", "as declared")]
    (node.world.root / "service" / "ray-lab.json").write_text("{")
    node.service.active = True
    assert ("change", "Ray's start", "unknown", "as declared") in node.differences()


def test_a_copy_that_ray_s_account_has_changed_is_not_believed(node: Node) -> None:
    node.ensure()
    copy = node.world.root / "service" / "ray-lab.run.json"
    spec = json.loads(copy.read_text())
    assert copy.stat().st_mode & 0o777 == 0o600
    copy.write_text(json.dumps({**spec, "python": "/tmp/stranger"}))
    assert node.differences() == [("change", "service ray-lab", "edited or incomplete", "as declared")]
    assert service.read_spec(node.world.host(), "ray-lab") == spec
    service.write_spec(node.world.host(), "ray-lab", spec)
    assert json.loads(copy.read_text()) == spec
    assert node.differences() == []


def test_a_node_that_ends_at_once_says_why(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_node, "START_LIMIT", 20.0)

    def crash() -> None:
        node.service.active, node.service.failing = False, True
        log = Path(service.log_path(node.world.host(), "ray-lab"))
        log.write_text("RuntimeError: Version mismatch\n")

    node.service.on_restart = crash
    with pytest.raises(Failure, match="Ray ended right after its start: RuntimeError: Version mismatch"):
        node.ensure()
    node.service.on_restart = lambda: node.join("n1")
    node.service.failing = False
    node.ensure()


def test_a_node_that_never_joins_is_given_up(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_node, "START_LIMIT", 0.3)
    node.service.on_restart = lambda: None
    with pytest.raises(Failure, match="was not in the head's node list after 0 s"):
        node.ensure()


def test_the_node_of_before_is_no_proof(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a crash the old node may stay in the list as alive for a while."""
    monkeypatch.setattr(ray_node, "START_LIMIT", 0.3)
    node.join("n0")
    node.service.on_restart = lambda: None
    with pytest.raises(Failure, match="was not in the head's node list"):
        node.ensure()


def test_nothing_is_stopped_for_a_node_that_cannot_start(node: Node) -> None:
    node.ensure()
    with pytest.raises(Failure, match="is not an address of this host"):
        node.ensure(node_ip="192.0.2.7", config="c2")
    assert node.service.active


@pytest.mark.parametrize("inside", [True, False])
def test_a_temp_dir_that_was_there_before_stays(inside: bool, node: Node, tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    folder.mkdir()
    (folder / "theirs").write_text("x")
    made = folder / "ray" if inside else folder
    access = made.stat().st_uid if made.exists() else None
    node.ensure(temp_dir=str(made))
    node.ensure()
    assert access in (None, made.stat().st_uid)
    (made / "session_1").mkdir()
    node.resource().remove(node.world.host())
    assert (folder / "theirs").exists()
    assert made.exists() is not inside


def test_a_temp_dir_of_before_goes_when_another_is_declared(node: Node, tmp_path: Path) -> None:
    node.ensure(temp_dir=str(tmp_path / "one"))
    node.service.on_restart = lambda: node.join("n2")
    node.ensure(temp_dir=str(tmp_path / "two"))
    assert not (tmp_path / "one").exists() and (tmp_path / "two").is_dir()


def test_another_service_manager_hands_over(node: Node) -> None:
    node.ensure()
    former, latter = node.service, Service()
    latter.kind = "other"
    node.world._platform._managers = {"auto": latter, "stand-in": former}
    node.service = latter
    latter.on_restart = lambda: node.join("n2")
    node.ensure()
    assert (former.active, former.defined, latter.active) == (False, None, True)
    node.world._platform._managers = {"auto": former, "other": latter}
    node.resource().remove(node.world.host())
    assert (latter.active, latter.defined) == (False, None)


def test_a_worker_asks_before_it_starts_whether_the_head_is_there(
    tmp_path: Path, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_checks, "HEAD_LIMIT", 0.0)
    worker = Node(World(tmp_path), dashboard, "ray_worker")
    with pytest.raises(Failure, match=r"the head ctl can't be reached from this host at 127.0.0.1:1: refused"):
        worker.ensure(gcs="127.0.0.1:1")
    assert worker.service.done == []


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
