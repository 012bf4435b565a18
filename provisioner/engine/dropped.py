"""Hosts that the inventory has dropped: what is known of them, and what they are not given any more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from provisioner.inventory.model import Host, Inventory, RayOptions

NOWHERE = RayOptions(options={"node_ip": "0.0.0.0"})  # noqa: S104 - for a node that is only taken down
"""Stands for Ray's options of a host of which the inventory says nothing any more."""


def dropped_host(inventory: Inventory, name: str, how: Mapping[str, Any]) -> Host:
    """Return a host of the head's memory as if the inventory still had it, with the cluster's own settings.

    It may be in other hands by now: what the inventory gives for another host alone, no password of that one is told
    to it. Of what counts for the whole cluster, it is given what it needs to be taken down.

    Args:
        how: it was declared, as the head noted it (remote/resources/members.py).
    """
    like = inventory.workers[0] if inventory.workers else inventory.head
    logins = inventory.logins
    ssh = replace(like.ssh, **{key: how[key] for key in ("port", "user", "jump") if key in how})
    return replace(
        like, name=name, role="worker", address=str(how["address"]), groups=(), ray=NOWHERE,
        ssh=replace(ssh, password=logins.password, passphrase=logins.passphrase),
        become=bool(how.get("become", like.become)), become_password=logins.become_password,
        root=how.get("root", like.root), account=how.get("account", like.account), account_password=None,
        service=how.get("service", like.service), keeps_redis=False, place=None,
    )  # fmt: skip
