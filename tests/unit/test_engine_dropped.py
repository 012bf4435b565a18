"""What a host is given that the inventory has dropped: no other host's passwords."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from provisioner.declaration import greeting
from provisioner.engine.dropped import dropped_host
from provisioner.engine.reached import reached
from provisioner.events import Verb
from provisioner.inventory.load import load_inventory
from provisioner.inventory.model import Inventory, Secret, Ssh

LAB = """
cluster: lab
python: 3.11.9
ray: {version: 2.60.0}
COMMON
head: {ctl: {address: 10.0.0.1}}
workers:
  w1: {address: 10.0.0.2OWN}
"""
VALUES = {name: f"{name}-value" for name in ("SSH1", "KEY1", "SUDO1", "RAY1", "SSH0", "KEY0", "SUDO0", "RAY0")}
OF_W1 = """, ssh: {password: {from_env: SSH1}, passphrase: {from_env: KEY1}}, become_password: {from_env: SUDO1},
       service: {account: ray, password: {from_env: RAY1}}"""
OF_ALL = """ssh: {password: {from_env: SSH0}, passphrase: {from_env: KEY0}}
become: true
become_password: {from_env: SUDO0}
service: {account: ray, password: {from_env: RAY0}}"""


def lab(tmp_path: Path, common: str, own: str) -> Inventory:
    path = tmp_path / "lab.yml"
    path.write_text(LAB.replace("COMMON", common).replace("OWN", own))
    return load_inventory(path, VALUES)


@pytest.mark.parametrize(
    ("common", "own", "given"),
    [
        ("become: true", "", (None, None, None)),
        ("become: true", OF_W1, (None, None, None)),
        (OF_ALL, "", ("SSH0-value", "KEY0-value", "SUDO0-value")),
        (OF_ALL, OF_W1, ("SSH0-value", "KEY0-value", "SUDO0-value")),
    ],
    ids=["none", "another worker's", "the cluster's", "the cluster's and another worker's"],
)
def test_a_dropped_host_gets_no_password_of_another_one(
    common: str, own: str, given: tuple[Any, ...], tmp_path: Path
) -> None:
    inventory = lab(tmp_path, common, own)
    host = dropped_host(inventory, "old", {"address": "10.0.0.9", "port": 2222, "user": "kim", "account": "ray"})
    target, become = reached(host)
    assert (target.address, target.port, target.user) == ("10.0.0.9", 2222, "kim")
    assert become is not None
    assert (target.password, target.passphrase, become.password) == given
    told = str(greeting(host, inventory, "teardown"))
    assert [value for value in VALUES.values() if value in told] == []


@pytest.mark.parametrize(
    ("common", "own", "key", "user"),
    [
        ("become: true", OF_W1, None, None),
        ("ssh: {key: /k/cluster, user: kim}", OF_W1, "cluster", "kim"),
        ("ssh: {key: /k/cluster, user: kim}", "", "cluster", "kim"),
        ("become: true", ", ssh: {user: lee, key: /k/own, jump: gate}", None, None),
    ],
)
def test_nor_another_ones_key_user_or_way(
    common: str, own: str, key: str | None, user: str | None, tmp_path: Path
) -> None:
    """A key of its own opens nothing elsewhere, and its passphrase is not told either."""
    for name in ("cluster", "own"):
        (tmp_path / name).write_text("a key")
    inventory = lab(tmp_path, common.replace("/k", str(tmp_path)), own.replace("/k", str(tmp_path)))
    host = dropped_host(inventory, "old", {"address": "10.0.0.9"})
    assert (host.ssh.key and host.ssh.key.name, host.ssh.user, host.ssh.jump) == (key, user, None)


def test_what_all_hosts_have_is_taken_for_a_dropped_one(tmp_path: Path) -> None:
    """As where the head and the workers say it each."""
    ssh = Ssh(user="kim", key=Path("/k/all"))
    for passphrase, key in ((None, ssh.key), (Secret("x", "KEY1"), None)):
        inventory = lab(tmp_path, "", "")
        hosts = [replace(host, ssh=replace(ssh, passphrase=passphrase)) for host in inventory.hosts]
        host = dropped_host(replace(inventory, hosts=tuple(hosts)), "old", {"address": "10.0.0.9"})
        assert (host.ssh.user, host.ssh.key, host.ssh.passphrase) == ("kim", key, None)


@pytest.mark.parametrize(("verb", "told"), [(verb, verb != "teardown") for verb in get_args(Verb)])
def test_the_password_of_rays_account_goes_only_where_something_is_started(
    verb: str, told: bool, tmp_path: Path
) -> None:
    inventory = lab(tmp_path, "", OF_W1)
    assert ("account_password" in greeting(inventory.workers[0], inventory, verb)) == told


def test_passwords_that_only_a_dropped_host_would_be_given_are_hidden(tmp_path: Path) -> None:
    inventory = lab(tmp_path, OF_ALL, OF_W1)
    lone = Inventory("lab", "2.60.0", (inventory.workers[0],), inventory.file, logins=inventory.logins)
    assert {"SSH0-value", "KEY0-value", "SUDO0-value", "SSH1-value"} <= set(lone.secrets())
