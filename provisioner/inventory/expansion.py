"""Writes out the ranges of an inventory: one entry for every host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from provisioner.errors import Place
from provisioner.inventory import ranges, values
from provisioner.inventory.document import Document, Step
from provisioner.inventory.model import Role
from provisioner.inventory.options import ONE_HOST_ONLY
from provisioner.inventory.problems import Problems
from provisioner.inventory.ranges import BadRange
from provisioner.inventory.values import BadValue

_SECTIONS: tuple[tuple[str, Role], ...] = (("head", "head"), ("workers", "worker"))


@dataclass(frozen=True)
class Entry:
    """One host as the file declares it."""

    name: str
    role: Role
    values: Mapping[str, Any]
    along: Mapping[str, str]
    """Values that run along with the name's range: address, node_ip, node_name."""
    path: tuple[Step, ...]
    place: Place


class Expansion:
    """Finds the hosts of a document, noting what is wrong with their ranges."""

    def __init__(self, document: Document, problems: Problems) -> None:
        self._document = document
        self._problems = problems

    def entries(self) -> Iterator[Entry]:
        """Every host of the file, the head first."""
        for section, role in _SECTIONS:
            declared = self._document.value.get(section) or {}
            if isinstance(declared, Mapping):
                for name, own in declared.items():
                    yield from self._expand((section, name), name, role, own or {})
            else:
                for index, name in enumerate(declared):
                    yield from self._expand((section, index), name, role, {})

    def _expand(self, path: tuple[Step, ...], pattern: str, role: Role, own: Mapping[str, Any]) -> Iterator[Entry]:
        place = self._document.key_place(*path)
        try:
            names = ranges.expand(pattern)
        except BadRange as error:
            self._problems.add(str(error), place)
            return
        columns = {"address": self._column((*path, "address"), own.get("address"), names)}
        for key in ONE_HOST_ONLY:
            columns[key] = self._column((*path, "ray", key), own.get("ray", {}).get(key), names)
        for index, name in enumerate(names):
            along = {key: column[index] for key, column in columns.items() if column}
            yield Entry(name, role, own, along, path, place)

    def _column(self, path: tuple[Step, ...], text: str | None, names: list[str]) -> list[str]:
        """One value for each name of a range; none if nothing usable was given."""
        if text is None:
            return []
        place = self._document.place(*path)
        try:
            column = ranges.expand(text)
            if len(column) == len(names):
                return column if path[-1] == "node_name" else [values.address(item) for item in column]
            message = f"'{text}' stands for {len(column)} value(s) and '{path[1]}' for {len(names)} host(s)"
            self._problems.add(message, place, "give both ranges the same length")
        except (BadRange, BadValue) as error:
            self._problems.add(str(error), place)
        return []
