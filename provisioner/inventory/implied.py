"""Variables of Ray that follow from a section of the inventory, and must not be said a second time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from provisioner.inventory.document import Document
from provisioner.inventory.problems import Problems


def check_not_twice(document: Document, names: Sequence[str], section: str, problems: Problems) -> None:
    """Note what says by Ray's own names, for the cluster or its head, what a section says.

    Args:
        names: of the variables that follow from it.
    """
    head = document.value.get("head")
    levels = [("ray",), *(("head", name, "ray") for name in (head if isinstance(head, Mapping) else ()))]
    for level in levels:
        ray: Any = document.value
        for step in level:
            ray = (ray.get(step) if isinstance(ray, Mapping) else None) or {}
        for name in names:
            if name in (ray.get("env") or {}):
                place = document.key_place(*level, "env", name)
                problems.add(f"{name} follows from '{section}'", place, "leave one of them out")
