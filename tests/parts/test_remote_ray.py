"""Ray nodes without Ray: a stand-in service, the head as a real HTTP server."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote import service
from provisioner.remote.failure import Failure
from provisioner.remote.resources import ray_checks, ray_node, ray_spec
from tests.unit.ray_stage import Dashboard, Node, dashboard
from tests.unit.remote_host import Service, World

__all__ = ["dashboard"]


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
         [("add", "ray head", "", "yes"), ("add", "ray label gpu", "", "yes"),
          ("change", "ray label zone", "a", "b"), ("remove", "ray num-cpus", "2", "")]),
        ({"arguments": ["--block", "--num-cpus=2", '--labels={"provision/host": "w1", "zone": "a,b"}']},
         [("change", "ray label zone", "a", "a,b")]),
        ({"env": {"X": "2", "Y": "3"}}, [("change", "ray env X", "1", "2"), ("add", "ray env Y", "", "3")]),
        ({"env": {"X": "2"}, "secret": ["env X"]}, [("change", "ray env X", "another secret", "a secret")]),
        ({"env": {}}, [("remove", "ray env X", "1", "")]),
        ({"env": {"X": "1", "Y": "2"}, "secret": ["env Y"]}, [("add", "ray env Y", "", "a secret")]),
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


@pytest.mark.parametrize(
    "labels", ["--labels=provision/config=c1,provision/host=w1", '--labels={"provision/config": "c1", "zone": "a"}']
)
def test_a_node_of_a_version_that_set_no_label_for_the_os_says_why_it_restarts(labels: str, node: Node) -> None:
    """Its configuration has the same hash: what it was started with is compared."""
    node.ensure(arguments=["--block", labels])
    host = node.world.host()
    spec = service.read_spec(host, service.service_name(host))
    assert spec is not None
    spec["argv"] = [labels if each.startswith("--labels=") else each for each in spec["argv"]]
    service.write_spec(host, service.service_name(host), spec)
    (change,) = node.resource(arguments=["--block", labels]).observe(node.world.host())
    assert (change["what"], change["before"], change["after"]) == ("ray label os", "", "linux")
    assert change["stops"] == "Ray on w1"


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
    node.service.defined = None
    assert node.differences() == [("add", "service ray-lab", "", "as declared")]
    node.service.defined = "edited"
    assert node.differences() == [("change", "service ray-lab", "other settings", "as declared")]
    (node.world.root / "service" / "ray-lab.json").write_text("{")
    node.service.active = True
    assert ("change", "Ray's start", "unknown", "as declared") in node.differences()


def test_a_copy_that_ray_s_account_has_changed_is_not_believed(node: Node) -> None:
    node.ensure()
    copy = node.world.root / "service" / "ray-lab.run.json"
    spec = json.loads(copy.read_text())
    assert copy.stat().st_mode & 0o777 == 0o600
    copy.write_text(json.dumps({**spec, "python": "/tmp/stranger"}))
    assert node.differences() == [("change", "what service ray-lab starts", "edited or incomplete", "as declared")]
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


def test_a_node_whose_machine_was_too_busy_gets_another_try(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_node, "LOOK", 0.1)

    def time_out() -> None:
        node.service.active, node.service.failing = False, True
        log = Path(service.log_path(node.world.host(), "ray-lab"))
        log.write_text("Traceback\nException: The current node timed out during startup. This could be\n")
        threading.Timer(0.5, node.join, ["n1"]).start()  # the service tries again by itself

    node.service.on_restart = time_out
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


def test_nothing_is_stopped_for_a_definition_that_is_refused(node: Node) -> None:
    node.ensure()
    before, node.service.refuses, done = service.read_spec(node.world.host(), "ray-lab"), True, list(node.service.done)
    with pytest.raises(Failure, match=r"^the new definition is refused$"):
        node.ensure(config="c2")
    assert (node.service.active, node.service.done) == (True, done)
    assert service.read_spec(node.world.host(), "ray-lab") == before


def test_what_only_the_system_needs_to_be_told_again_stops_nothing(node: Node) -> None:
    node.ensure()
    node.service.stale, done = "its password changed", list(node.service.done)
    (told,) = node.resource().observe(node.world.host())
    assert (told["what"], told["before"], told["stops"]) == ("service ray-lab", "its password changed", "")
    node.ensure()
    assert [node.service.stale, *node.service.done] == [None, *done]


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


@pytest.fixture
def upgraded(node: Node, monkeypatch: pytest.MonkeyPatch) -> Node:
    """A node that runs as the release before had it: with nothing of ours around the folder that Ray opens."""
    platform, root = type(node.world.host().platform), str(node.world.root)
    monkeypatch.setattr(platform, "enclosure", lambda self, root: root + "/ray")
    node.ensure(temp_dir=root + "/ray")
    Path(root, "ray", "session_1").mkdir()
    entry = node.world.host().marker.get("ray")
    assert entry is not None and entry.pop("enclosed") is False
    node.world.host().marker.put("ray", entry)
    del node.params["temp_dir"]
    return node


def test_a_folder_of_the_release_before_is_worth_no_restart(upgraded: Node) -> None:
    assert upgraded.differences() == []
    assert upgraded.ensure() == "in the cluster" and upgraded.service.done == ["restart"]
    folder = f"{upgraded.world.root}/ray"
    found = upgraded.differences(env={"X": "2"})
    assert ("change", "ray temp-dir", folder, folder + "/s") in found, "with what restarts it, it is told"


@pytest.mark.parametrize("why", ["another variable", "stopped", "its service"])
def test_the_folder_of_the_release_before_goes_with_the_next_start(why: str, upgraded: Node) -> None:
    if why == "stopped":
        upgraded.service.active = False
    elif why == "its service":
        upgraded.service.defined = "edited"
    upgraded.service.on_restart = lambda: upgraded.join("n2")
    upgraded.ensure(**({"env": {"X": "2"}} if why == "another variable" else {}))
    host = upgraded.world.host()
    spec, folder = service.read_spec(host, "ray-lab"), upgraded.world.root / "ray"
    assert spec and (spec["temp_dir"], spec["enclosure"]) == (f"{folder}/s", str(folder))
    assert [each.name for each in folder.iterdir()] == ["s"], "others could get at what was there"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert upgraded.differences() == []
    upgraded.resource().remove(host)
    assert not folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what belongs to somebody else")
@pytest.mark.parametrize("noted", [True, False])
def test_a_folder_that_we_gave_to_another_account_is_made_anew(
    noted: bool, upgraded: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Ray runs as root the release before gave it away all the same; a stranger's is refused as ever."""
    platform, scratch, host = type(upgraded.world.host().platform), tmp_path / "scratch", upgraded.world.host()
    monkeypatch.delenv("PROVISION_SANDBOX", raising=False)
    monkeypatch.setattr(platform, "privileged", lambda self: True)
    monkeypatch.setattr(platform, "enclosure", lambda self, root: str(scratch / "rp-0a1b2c3d"))
    monkeypatch.setattr(Service, "runs_as", lambda self, host: "")
    scratch.mkdir()
    scratch.chmod(0o1777)
    theirs = scratch / "rp-0a1b2c3d"
    theirs.mkdir()
    os.chown(theirs, 65534, 65534)
    if noted:
        entry = {"manager": "stand-in", "temp_dir": str(theirs), "made_temp_dir": True}
        host.marker.put("ray", entry)
    upgraded.service.on_restart = lambda: upgraded.join("n2")
    if not noted:
        with pytest.raises(Failure, match="is a folder of nobody"):
            upgraded.ensure(env={"X": "2"})
        return
    upgraded.ensure(env={"X": "2"})
    assert (theirs.stat().st_uid, theirs.stat().st_mode & 0o777) == (0, 0o700)


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
