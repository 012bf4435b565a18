"""The addresses of nodes, found before any host is contacted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.engine.addresses import locate
from provisioner.errors import InputError, Place
from provisioner.inventory.model import Host, Inventory, RayOptions

ALIASES = {"alias": "10.0.0.7", "localname": "localhost"}


def inventory(*addresses: str, **options: str) -> Inventory:
    hosts = tuple(
        Host(f"w{number}", "worker", address, "3.11.9", (), RayOptions(options), place=Place("lab.yml", 5, 3))
        for number, address in enumerate(addresses)
    )
    return Inventory("lab", "2.60.0", hosts, Path("lab.yml"))


def ips(found: Inventory) -> list[str]:
    return [str(host.ray.options["node_ip"]) for host in found.hosts]


def ssh_config(host: Host) -> str:
    return ALIASES.get(host.address, host.address)


@pytest.mark.parametrize(
    ("address", "ips_of_it"),
    [
        ("10.0.0.1", ["10.0.0.1"]),
        ("[fe80::1]", ["fe80::1"]),
        ("alias", ["10.0.0.7"]),
        ("localname", ["127.0.0.1", "::1"]),
        ("localhost", ["127.0.0.1", "::1"]),
    ],
)
def test_an_address_becomes_a_number(address: str, ips_of_it: list[str]) -> None:
    assert ips(locate(inventory(address), ssh_config))[0] in ips_of_it


def test_a_given_node_ip_wins() -> None:
    assert ips(locate(inventory("10.0.0.1", node_ip="192.168.1.5"), ssh_config)) == ["192.168.1.5"]


def test_all_unknown_names_are_told_at_once() -> None:
    lab = inventory("10.0.0.1", *(f"w{number}.invalid" for number in range(7)))
    with pytest.raises(InputError) as caught:
        locate(lab, ssh_config)
    assert "w0.invalid, w1.invalid, w2.invalid, w3.invalid, w4.invalid and 2 more" in caught.value.message
    assert str(caught.value.place) == "lab.yml:5:3"
    assert "node_ip" in caught.value.remedy


def test_who_asks_others_is_not_kept_by_a_name_that_leads_nowhere() -> None:
    found = locate(inventory("10.0.0.1", "w1.invalid"), ssh_config, strict=False)
    assert [host.ray.options.get("node_ip") for host in found.hosts] == ["10.0.0.1", None]


def test_nothing_else_of_the_host_changes() -> None:
    lab = inventory("10.0.0.1", num_cpus="2")
    (host,) = locate(lab, ssh_config).hosts
    assert host == replace(lab.hosts[0], ray=RayOptions({"num_cpus": "2", "node_ip": "10.0.0.1"}))
