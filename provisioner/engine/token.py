"""The cluster's token, fetched from the head for whoever is to use it."""

from __future__ import annotations

import re

from provisioner.engine.inquiry import ask_head
from provisioner.errors import HostFailed, InputError
from provisioner.inventory.model import Inventory
from provisioner.ray import auth
from provisioner.transport.connect import Connector

NAME = "token"


def require(inventory: Inventory) -> None:
    """Raise an InputError if the cluster is declared to have no token."""
    auth.check(inventory)
    if auth.chosen(inventory) == "none":
        why = "the inventory says `auth: none`" if inventory.auth else f"Ray {inventory.ray_version} asks for none"
        remedy = "write `ray: {auth: token}` and `provision apply`" if auth.is_known(inventory) else "take a newer Ray"
        raise InputError(f"this cluster has no token: {why}", place=inventory.auth_place, remedy=remedy)


def fetch(inventory: Inventory, connector: Connector) -> str:
    """Return the cluster's token, as its head keeps it. Nothing is changed anywhere.

    Raises:
        InputError: the cluster is declared to have none.
        Unreachable: the head does not let us in.
        HostFailed: it has none, or does not answer.
    """
    require(inventory)
    with ask_head(inventory, connector) as head:
        return _checked(head.ask("secret", NAME), head.host.name)


def _checked(value: object, head: str) -> str:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise HostFailed("what it says is no token", host=head)
    return value
