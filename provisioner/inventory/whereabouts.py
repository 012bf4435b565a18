"""Where an inventory asks for something, for messages about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress

from provisioner.errors import InputError, Place
from provisioner.inventory.document import Document, Step, load_document
from provisioner.inventory.model import Host, Inventory


def place_of(what: str, host: Host, inventory: Inventory) -> Place | None:
    """Return where the inventory asks for ``python`` or for a package of a host; the host's place if it can't be told.

    Args:
        what: ``python``, or the normal name of a package, ``ray`` among them.
        host: what it is asked for; its own words count before the cluster's.
        inventory: the cluster.
    """
    with suppress(InputError):
        document = load_document(inventory.file)
        if what == "ray":
            return document.place("ray", "version")
        for level in (("head" if host.role == "head" else "workers", host.name), ()):
            if place := _said_at(level, what, document):
                return place
    return host.place


def _said_at(level: tuple[Step, ...], what: str, document: Document) -> Place | None:
    said = document.value
    for step in level:
        said = said.get(step) if isinstance(said, Mapping) else None
    if not isinstance(said, Mapping):
        return None
    if what == "python":
        return document.place(*level, "python") if "python" in said else None
    names = [re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0] for text in said.get("packages", ())]
    found = [re.sub(r"[-_.]+", "-", name).lower() for name in names]
    return document.place(*level, "packages", found.index(what)) if what in found else None
