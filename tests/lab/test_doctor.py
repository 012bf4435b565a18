"""Faults made for real, and the doctor's first word on them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from .cluster import Cluster
from .command import Provision
from .conftest import MachineFactory
from .machines import Machine
from .shell import wait_until

UNIT = "/etc/systemd/system/ray-lab.service"
TOKEN = "/opt/provision/lab/service/token"


@pytest.fixture(scope="module")
def made(
    module_machines: MachineFactory, provision: Provision, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    cluster = Cluster(provision, tmp_path_factory.mktemp("doctor") / "lab.yml", module_machines(3))
    cluster.declare()
    cluster.apply()
    yield cluster


@pytest.fixture
def cluster(made: Cluster) -> Iterator[Cluster]:
    """A cluster that is well, and is well again afterwards."""
    yield made
    for machine in made.machines:
        if not machine.running:
            machine.boot()
        machine.nft_reset()
    made.declare()
    made.apply("--yes")


def examined(cluster: Cluster, *words: str) -> tuple[int, dict[str, Any]]:
    ended = cluster.provision.start("doctor", cluster.inventory, *words, "--json").wait(200)
    assert ended.code in (0, 2), ended.err
    found: dict[str, Any] = json.loads(ended.out)
    return ended.code, found


def first(cluster: Cluster, host: str) -> tuple[str, str, str]:
    """Return kind, area and message of what is said first of a host."""
    _, found = examined(cluster, host)
    each = found["findings"][0]
    return each["kind"], each["area"], each["message"]


def shell(machine: Machine, text: str) -> None:
    machine.exec(["sh", "-c", text], timeout=90)


def test_healthy_hosts_get_a_clean_bill(made: Cluster) -> None:
    code, found = examined(made)
    assert (code, found["well"], found["members"]) == (0, True, ["h1", "h2", "h3"])
    assert [each for each in found["findings"] if each["kind"] != "note"] == []
    assert found["connections"] == 14


def test_a_port_that_is_blocked_one_way(cluster: Cluster) -> None:
    _, two, three = cluster.machines
    two.nft(f"input ip saddr {three.ip} tcp dport 6380 drop")
    kind, area, message = first(cluster, "h2")
    assert (kind, area) == ("cause", "ports")
    assert message.startswith("h3 can't reach it on 6380 (node_manager_port): no answer at all")
    assert first(cluster, "h3")[2].startswith("it can't reach h2 on 6380")


def test_a_head_that_is_walled_off(cluster: Cluster) -> None:
    cluster.head.nft("input tcp dport 6379 reject with tcp reset")
    kind, area, message = first(cluster, "h1")
    assert (kind, area) == ("cause", "ports")
    assert message.startswith("nobody reaches it on 6379 (port): refused although somebody listens there")


def test_a_stopped_service_and_ports_without_ray(cluster: Cluster) -> None:
    shell(cluster.machines[1], "systemctl stop ray-lab")
    assert first(cluster, "h2") == ("cause", "service", "the service is stopped")
    cluster.machines[1].nft("input tcp dport 6381 drop")
    _, found = examined(cluster, "h2")
    assert any(each["area"] == "ports" and "6381" in each["message"] for each in found["findings"])


def test_a_token_that_was_removed(cluster: Cluster) -> None:
    shell(cluster.machines[1], f"systemctl stop ray-lab; rm {TOKEN}; systemctl start ray-lab")
    kind, area, message = first(cluster, "h2")
    assert (kind, area) == ("cause", "token") and "missing" in message


def test_a_unit_that_was_edited_by_hand(cluster: Cluster) -> None:
    shell(cluster.machines[1], f"sed -i s/RestartSec=5/RestartSec=50/ {UNIT}; systemctl daemon-reload")
    assert first(cluster, "h2") == ("cause", "service", "service ray-lab: RestartSec: 50 in place of 5")


def test_another_adapter(cluster: Cluster) -> None:
    text = cluster.inventory.read_text()
    cluster.inventory.write_text(text.replace("  h2:\n", "  h2:\n    ray: {node_ip: 10.99.99.9}\n"))
    kind, area, message = first(cluster, "h2")
    assert (kind, area) == ("cause", "address")
    assert "10.99.99.9 is not an address of this host" in message


def test_another_version(cluster: Cluster) -> None:
    cluster.inventory.write_text(cluster.inventory.read_text().replace("2.60.0", "2.59.0"))
    kind, area, message = first(cluster, "h2")
    assert (kind, area, message) == ("cause", "versions", "it runs ray 2.60.0, the inventory says 2.59.0")


def test_a_head_that_is_off(cluster: Cluster) -> None:
    cluster.head.power_off()
    kind, area, _ = first(cluster, "h1")
    assert (kind, area) == ("cause", "SSH")
    cluster.head.boot()
    wait_until(lambda: examined(cluster)[0] == 0, "everybody to be back", 240, 2.0)
