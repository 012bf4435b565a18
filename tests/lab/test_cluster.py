"""The life of a cluster of three real hosts: from bare, at rest, through crashes and reboots, to nothing left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from .cluster import Answer, Cluster, contacts, ours, ray_pids, raylet, undisturbed
from .command import Provision
from .conftest import MachineFactory
from .listing import Listing, changes
from .machines import Machine
from .shell import wait_until


@dataclass
class Story:
    """A cluster that was made from bare hosts, and what was said meanwhile."""

    cluster: Cluster
    listings: dict[str, Listing]
    check_before: Answer
    apply: Answer
    check_after: Answer

    @property
    def machines(self) -> list[Machine]:
        return list(self.cluster.machines)


@pytest.fixture(scope="module")
def story(
    module_machines: MachineFactory, provision: Provision, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Story]:
    machines = module_machines(3)
    cluster = Cluster(provision, tmp_path_factory.mktemp("life") / "lab.yml", machines)
    cluster.declare()
    listings = {machine.name: machine.listing() for machine in machines}
    yield Story(cluster, listings, cluster.check(code=2), cluster.apply(), cluster.check())


def test_check_names_what_bare_hosts_lack(story: Story) -> None:
    lacking = {(host, action, what.split()[0]) for host, action, what, _, _ in story.check_before.differences()}
    for name in ("h1", "h2", "h3"):
        assert {(name, "add", "environment"), (name, "add", "variable"), (name, "add", "Ray")} <= lacking
    said = [each for each in story.check_before.differences() if each[0] == "h2"]
    assert any("ray[default]==2.60.0" in after for _, _, _, _, after in said)
    assert any(what == "Ray worker" for _, _, what, _, _ in said)
    assert ("h1", "add", "members", "", "h1, h2, h3") in story.check_before.differences()


def test_packages_that_are_in_no_lock_file_are_said_to_be_locked_for_this_run(story: Story) -> None:
    said = [notice for notice in story.apply.document["notices"] if "locked for this run only" in notice["message"]]
    assert [notice["remedy"].split()[:2] for notice in said] == [["`provision", "lock"]]
    assert not any("locked" in notice["message"] for notice in story.check_before.document["notices"])


def test_apply_from_bare_proves_a_task_on_every_node(story: Story) -> None:
    assert story.apply.status() == {"h1": "changed", "h2": "changed", "h3": "changed"}
    proven = story.apply.proven()
    assert {name: proof["hostname"] for name, proof in proven.items()} == {"h1": "h1", "h2": "h2", "h3": "h3"}
    assert {(proof["ray"], proof["python"]) for proof in proven.values()} == {("2.60.0", "3.11.2")}
    assert story.apply.document["dashboard"].startswith("http://127.0.0.1:8265")


def test_ray_itself_lists_three_nodes_with_our_labels(story: Story) -> None:
    nodes = story.cluster.nodes()
    assert len(nodes) == 3
    assert {node["labels"]["provision/host"]: node["node_ip"] for node in nodes} == {
        machine.name: machine.ip for machine in story.machines
    }
    assert len({node["labels"]["provision/config"] for node in nodes}) == 3
    assert all(len(node["labels"]["provision/config"]) == 16 for node in nodes)


def test_check_afterwards_finds_nothing(story: Story) -> None:
    assert story.check_after.differences() == []
    assert set(story.check_after.status().values()) == {"ok"}


def test_to_lock_what_hosts_have_restarts_nothing(story: Story) -> None:
    before = undisturbed(story.machines)
    made = story.cluster.provision("lock", story.cluster.inventory)
    assert made.code == 0, made.err
    try:
        assert story.cluster.check().differences() == []
        assert story.cluster.apply().changed() == []
    finally:
        story.cluster.inventory.with_name("lab.lock.yml").unlink()
    assert undisturbed(story.machines) == before


@pytest.mark.parametrize("verb", ["apply", "check"])
def test_nothing_to_do_costs_one_connection_and_one_exec(story: Story, verb: str) -> None:
    before = undisturbed(story.machines)
    answers: list[Answer] = []
    seen = contacts(story.machines, lambda: answers.append(story.cluster.run(verb)))
    assert seen == {"h1": (1, 1), "h2": (1, 1), "h3": (1, 1)}
    assert answers[0].changed() == []
    assert answers[0].differences() == []
    assert undisturbed(story.machines) == before


def test_variable_and_unit_are_as_declared(story: Story) -> None:
    for machine in story.machines:
        assert 'RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="1"' in machine.read("/etc/environment")
        assert machine.exec(["systemctl", "is-enabled", "ray-lab"]).stdout.strip() == "enabled"
        assert machine.ssh("echo $RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER").stdout.strip() == "1"


def test_killed_raylet_comes_back_by_itself(story: Story) -> None:
    worker = story.machines[1]
    killed = raylet(worker)
    worker.exec(["kill", "-9", str(killed)])
    wait_until(lambda: killed not in ray_pids(worker), "the raylet to be gone", 5)
    wait_until(lambda: "raylet" in ray_pids(worker).values(), "another raylet", 30)
    story.cluster.wait_alive("h1", "h2", "h3")
    assert raylet(worker) != killed
    assert story.cluster.check().differences() == []


def test_rebooted_worker_comes_back_by_itself(story: Story) -> None:
    story.machines[2].reboot()
    story.cluster.wait_alive("h1", "h2", "h3")
    assert story.cluster.check().differences() == []


def test_rebooted_head_comes_back_with_all_its_workers(story: Story) -> None:
    story.cluster.head.reboot()
    story.cluster.wait_alive("h1", "h2", "h3", limit=120)
    assert story.cluster.check().differences() == []
    assert story.cluster.apply().changed() == []


def test_teardown_without_a_terminal_wants_yes(story: Story) -> None:
    before = undisturbed(story.machines)
    refused = story.cluster.run("teardown", code=1)
    assert "--yes" in refused.result.err + refused.result.out
    assert undisturbed(story.machines) == before


def test_teardown_keeps_only_the_environment(story: Story) -> None:
    done = story.cluster.teardown()
    assert set(done.status().values()) == {"changed"}
    for machine in story.machines:
        assert ours(machine) == []
        assert "RAY_ENABLE" not in machine.exec(["cat", "/etc/environment"], check=False).stdout
        left = changes(story.listings[machine.name], machine.listing())
        kept = ("+ /opt/provision", "+ /root/.provision")
        assert [line for line in left if not line.startswith(kept)] == []
        assert machine.exec(["ls", "-A", story.cluster.root]).stdout.split() == ["env"]


def test_teardown_twice_has_nothing_to_do(story: Story) -> None:
    again = story.cluster.teardown()
    assert again.changed() == []
    assert again.differences() == []


def test_apply_after_teardown_uses_the_kept_environment(story: Story) -> None:
    back = story.cluster.apply()
    assert not any(task == "Install Ray" for _, task in back.changed())
    assert sorted(back.proven()) == ["h1", "h2", "h3"]


def test_purge_leaves_the_machines_as_they_were(story: Story) -> None:
    story.cluster.teardown("--purge")
    for machine in story.machines:
        assert changes(story.listings[machine.name], machine.listing()) == []
        assert ours(machine) == []
        units = machine.exec(["systemctl", "list-units", "--all", "--no-legend", "ray-*"]).stdout
        assert units.strip() == ""
    assert story.cluster.teardown("--purge").changed() == []
    assert all(changes(story.listings[machine.name], machine.listing()) == [] for machine in story.machines)
