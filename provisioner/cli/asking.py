"""What commands have in common that ask hosts and change nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.errors import InputError
from provisioner.inventory.load import find_inventory, load_inventory
from provisioner.inventory.model import Host, Inventory

if TYPE_CHECKING:
    from provisioner.transport.connect import Connector


@dataclass(frozen=True)
class Asking:
    """An inventory, and what makes connections to its hosts."""

    file: Path
    inventory: Inventory
    connector: Connector


@contextmanager
def asking(flags: dict[str, Any]) -> Iterator[Asking]:
    """Load the inventory that the flags name, and close all connections at the end.

    Raises:
        InputError: it can't be loaded.
    """
    file = find_inventory(flags["inventory"], Path.cwd(), os.environ)
    inventory = load_inventory(file)
    from provisioner.engine.inquiry import found
    from provisioner.transport.connect import Connector

    connector = Connector(flags["connect_timeout"], flags["accept_new_host_keys"])
    try:
        yield Asking(file, found(inventory, connector), connector)
    finally:
        connector.close()


def limited(values: tuple[str, ...], inventory: Inventory) -> tuple[str, ...]:
    """Return the names of the hosts that --limit means, in the inventory's order.

    Raises:
        InputError: it names none, or one that does not exist.
    """
    wanted = [name.strip() for value in values for name in value.split(",") if name.strip()]
    if values and not wanted:
        raise InputError("--limit names no host", remedy="name some, or leave it out to work on all")
    chosen: set[str] = set()
    for name in wanted:
        found = {host.name for host in inventory.hosts if name in host.selectors}
        if not found:
            known = [host.name for host in inventory.hosts] + ["head", "workers", "all"]
            raise InputError(f"--limit {name}: no host or group of that name", remedy=_near(name, known))
        chosen |= found
    return tuple(host.name for host in inventory.hosts if host.name in chosen)


def host_of(name: str, inventory: Inventory) -> Host:
    """Return the host of that name, or the head for ``head``; InputError if there is none."""
    if name == "head":
        return inventory.head
    for host in inventory.hosts:
        if host.name == name:
            return host
    known = [host.name for host in inventory.hosts] + ["head"]
    raise InputError(f"{name}: no host of that name in {inventory.file}", remedy=_near(name, known))


def _near(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, 3)
    return f"did you mean {' or '.join(close)}?" if close else "see the inventory for the names of its hosts"
