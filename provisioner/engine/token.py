"""The cluster's token, fetched from the head for whoever is to use it."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from typing import Any

from provisioner.declaration import greeting
from provisioner.engine.addresses import locate
from provisioner.engine.line import Line
from provisioner.engine.manners import Manners
from provisioner.engine.run import reached
from provisioner.errors import HostFailed, InputError, Unreachable
from provisioner.inventory.model import Inventory
from provisioner.ray import auth
from provisioner.transport.choice import Choice, NothingThere, Ours
from provisioner.transport.connect import Connector
from provisioner.transport.session import open_session

Message = dict[str, Any]

LIMIT = 30.0
"""Seconds for the head to answer."""
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
    inventory = locate(inventory, lambda host: connector.real_name(host.address, host.ssh.config))
    head = inventory.head
    target, become = reached(head)
    hello = dict(greeting(replace(head, account_password=None), inventory, "check"), plays=[])
    choice = Choice(head.python, leave=Ours(inventory.cluster, head.root))
    try:
        session = open_session(connector, target, become, hello, choice, lambda doing: None)
    except NothingThere:
        raise HostFailed(
            f"{head.name} has nothing of this cluster", remedy="`provision apply` makes it", host=head.name
        ) from None
    line = Line(head.name, Manners(head.role, [head.name], 0), _take, lambda now: None)
    try:
        line.connect(session)
        line.expect("observed", LIMIT)
        line.send({"type": "query", "id": 1, "what": "secret", "args": NAME})
        return _token(line.expect("reply", LIMIT), head.name)
    finally:
        with suppress(Unreachable):
            line.send({"type": "end", "clean": False, "purge": False})
        line.close()


def _take(message: Message) -> None:
    """Take what is no answer; HostFailed or Unreachable if there will be none."""
    if message["type"] == "error":
        raise HostFailed(str(message["message"]), remedy=str(message.get("remedy", "")))
    if message["type"] == "closed":
        raise Unreachable("the connection broke off", remedy="run the same command again")


def _token(reply: Message, head: str) -> str:
    value = reply.get("value")
    if "error" in reply or not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise HostFailed(
            str(reply.get("error") or "what it says is no token"), remedy=str(reply.get("remedy", "")), host=head
        )
    return value
