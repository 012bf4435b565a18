"""What changes in a running cluster: a host that was away, a label, a host taken out of the inventory."""

from __future__ import annotations

import pytest

from .cluster import Answer, Cluster, ours, ray_pids, undisturbed
from .command import Provision
from .conftest import MachineFactory
from .plumbing import NETWORK


@pytest.fixture(scope="module")
def cluster(module_machines: MachineFactory, provision: Provision, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Three bare hosts."""
    made = Cluster(provision, tmp_path_factory.mktemp("changes") / "lab.yml", module_machines(3))
    made.declare()
    return made


@pytest.fixture(scope="module")
def without_third(cluster: Cluster) -> Answer:
    """What apply says from bare, while the third host is cut off."""
    cluster.machines[2].cut()
    try:
        return cluster.apply("--connect-timeout", "3", code=4)
    finally:
        cluster.machines[2].uncut()


@pytest.fixture(scope="module")
def complete(cluster: Cluster, without_third: Answer) -> Answer:
    """What the next apply says; from then on all three hosts are in the cluster."""
    return cluster.apply()


def test_others_are_finished_when_one_host_is_unreachable(without_third: Answer) -> None:
    assert without_third.status() == {"h1": "changed", "h2": "changed", "h3": "unreachable"}
    assert sorted(without_third.proven()) == ["h1", "h2"]
    assert f"root@{NETWORK}.13:22" in without_third.said("h3")
    assert without_third.host("h3")["remedy"]


def test_next_apply_completes_the_cluster(cluster: Cluster, complete: Answer) -> None:
    assert [host for host, _ in complete.changed() if host == "h2"] == []
    assert sorted(complete.proven()) == ["h1", "h2", "h3"]
    assert cluster.alive() == ["h1", "h2", "h3"]
    assert cluster.check().differences() == []


@pytest.mark.usefixtures("complete")
def test_changed_label_restarts_that_node_only(cluster: Cluster) -> None:
    before = undisturbed(cluster.machines)
    cluster.declare(workers={"h2": {"ray": {"labels": {"zone": "b"}}}})
    assert cluster.check(code=2).differences() == [("h2", "add", "ray label zone", "", "b")]
    refused = cluster.apply(code=1)
    assert refused.status()["h2"] == "skipped"
    assert "Ray on h2" in refused.said("h2")
    assert "--yes" in refused.said("h2")
    assert undisturbed(cluster.machines) == before
    done = cluster.apply("--yes")
    assert ("h2", "Run a Ray worker") in done.changed()
    assert sorted(done.proven()) == ["h1", "h2", "h3"]
    after = undisturbed(cluster.machines)
    assert (after["h1"], after["h3"]) == (before["h1"], before["h3"])
    assert not set(after["h2"]) & set(before["h2"])
    labels = {node["labels"]["provision/host"]: node["labels"].get("zone") for node in cluster.nodes()}
    assert labels == {"h1": None, "h2": "b", "h3": None}
    cluster.declare(workers={"h2": {"ray": {"labels": {"zone": "c"}}}})
    assert cluster.check(code=2).differences() == [("h2", "change", "ray label zone", "b", "c")]


@pytest.mark.usefixtures("complete")
def test_dropped_worker_that_is_away_stays_named(cluster: Cluster) -> None:
    h1, h2, h3 = cluster.machines
    cluster.declare([h1, h2], workers={"h2": {"ray": {"labels": {"zone": "b"}}}})
    dropped = ("h1", "remove", "member h3", "dropped from the inventory", "")
    assert dropped in cluster.check(code=2).differences()
    h3.cut()
    try:
        away = cluster.apply("--yes", "--connect-timeout", "3", code=4)
        assert away.status()["h3"] == "unreachable"
        assert away.host("h3")["message"]
        assert dropped in cluster.check(code=2).differences()
    finally:
        h3.uncut()
    cluster.wait_alive("h1", "h2", "h3")


@pytest.mark.usefixtures("complete")
def test_dropped_worker_is_torn_down(cluster: Cluster) -> None:
    h1, h2, h3 = cluster.machines
    cluster.declare([h1, h2], workers={"h2": {"ray": {"labels": {"zone": "b"}}}})
    refused = cluster.apply(code=1)
    assert refused.status()["h3"] == "skipped"
    assert "raylet" in ray_pids(h3).values()
    before = undisturbed([h1, h2])
    done = cluster.apply("--yes")
    assert ("h3", "Run a Ray worker") in done.changed()
    assert sorted(done.proven()) == ["h1", "h2"]
    assert ours(h3) == []
    assert not h3.exec(["systemctl", "cat", "ray-lab"], check=False).stdout
    assert "RAY_ENABLE" not in h3.exec(["cat", "/etc/environment"], check=False).stdout
    assert undisturbed([h1, h2]) == before
    assert cluster.check().differences() == []
    assert "h3" not in h1.read(f"{cluster.root}/members.json")


@pytest.mark.usefixtures("complete")
def test_limit_touches_only_the_named_hosts(cluster: Cluster) -> None:
    h2 = cluster.machines[1]
    cluster.declare(workers={"h2": {"ray": {"labels": {"zone": "b"}}}})
    seen = h2.sshd_log()
    done = cluster.apply("--limit", "h3")
    assert h2.sshd_log() == seen
    assert ("h3", "Run a Ray worker") in done.changed()
    cluster.wait_alive("h1", "h2", "h3")
    cluster.apply()
    assert cluster.check().differences() == []


@pytest.mark.usefixtures("complete")
def test_another_package_builds_an_environment_beside_the_old_one(cluster: Cluster) -> None:
    h1, h2, h3 = cluster.machines
    cluster.declare(workers={"h2": {"ray": {"labels": {"zone": "b"}}, "packages": ["iniconfig"]}})
    said = cluster.check(code=2).differences()
    assert {(host, action) for host, action, _, _, _ in said} == {("h2", "add"), ("h2", "change")}
    assert any("iniconfig" in after for _, _, _, _, after in said)
    before = undisturbed(cluster.machines)
    done = cluster.apply("--yes")
    assert ("h2", "Install Ray") in done.changed()
    after = undisturbed(cluster.machines)
    assert (after["h1"], after["h3"]) == (before["h1"], before["h3"])
    assert [len(host.exec(["ls", f"{cluster.root}/env"]).stdout.split()) for host in (h1, h2, h3)] == [1, 2, 1]
    assert cluster.check().differences() == []
