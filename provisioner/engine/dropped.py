"""Hosts that the inventory has dropped: what is known of them, and what they are not given any more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from provisioner.inventory.model import Host, Inventory, RayOptions, Ssh

NOWHERE = RayOptions(options={"node_ip": "0.0.0.0"})  # noqa: S104 - for a node that is only taken down
"""Stands for Ray's options of a host of which the inventory says nothing any more."""

PUBLIC = ("user", "port", "key", "jump", "known_hosts", "config")
"""What of a login is no password."""


def dropped_host(inventory: Inventory, name: str, how: Mapping[str, Any]) -> Host:
    """Return a host of the head's memory as if the inventory still had it, with the cluster's own settings.

    It may be in other hands by now: what the inventory gives for another host alone, no password of that one is told
    to it. Of what counts for the whole cluster, it is given what it needs to be taken down.

    Args:
        how: it was declared, as the head noted it (remote/resources/members.py).
    """
    like = inventory.workers[0] if inventory.workers else inventory.head
    return replace(
        like, name=name, role="worker", address=str(how["address"]), groups=(), ray=NOWHERE,
        ssh=_ssh(inventory, how),
        become=bool(how.get("become", like.become)), become_password=inventory.logins.become_password,
        root=how.get("root", like.root), account=how.get("account", like.account), account_password=None,
        service=how.get("service", like.service), keeps_redis=False, runs_prometheus=False, place=None,
    )  # fmt: skip


def _ssh(inventory: Inventory, how: Mapping[str, Any]) -> Ssh:
    """Return how it is reached: as was noted, else as the inventory says of all hosts, else as it says of each."""
    common = inventory.logins.ssh
    known = {name: getattr(common, name) or _agreed(inventory, name) for name in PUBLIC}
    return replace(common, **{**known, **{name: how[name] for name in ("port", "user", "jump") if name in how}})


def _agreed(inventory: Inventory, name: str) -> Any:
    """Return what every host has, None if they differ, or if it is a key whose passphrase is none of the cluster's."""
    found = {getattr(host.ssh, name) for host in inventory.hosts}
    passphrases = {host.ssh.passphrase for host in inventory.hosts}
    if len(found) > 1 or (name == "key" and passphrases != {inventory.logins.ssh.passphrase}):
        return None
    return found.pop()
