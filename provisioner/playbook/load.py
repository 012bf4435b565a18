"""Reads a playbook: the file, and everything that may be wrong with it before a host is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from provisioner.errors import InputError, Place
from provisioner.inventory.document import Document, Step, load_document
from provisioner.inventory.problems import Problems, suggestion
from provisioner.inventory.validation import validate
from provisioner.playbook.model import Play, Playbook, Task

SCHEMA = Path(__file__).with_name("schema.json")


def default_playbook() -> Path:
    """The playbook that comes with the program: installed beside this module, or in the checkout.

    Raises:
        InputError: it is in neither place.
    """
    installed = Path(__file__).with_name("cluster.yml")
    checkout = Path(__file__).parents[2] / "playbooks" / "cluster.yml"
    for path in (installed, checkout):
        if path.is_file():
            return path
    raise InputError(f"the playbook that comes with provision is missing: {installed}", remedy="install it again")


def load_playbook(path: Path) -> Playbook:
    """Read a playbook file.

    Raises:
        InputError: something is wrong with it; InputErrors if there are several mistakes.
    """
    document = load_document(path)
    validate(document, SCHEMA)
    problems = Problems()
    loader = _Loader(document, problems)
    plays = tuple(loader.play(index, raw) for index, raw in enumerate(document.value))
    _check_names(plays, problems)
    _check_needs(plays, document, problems)
    problems.raise_any()
    return Playbook(plays, path)


class _Loader:
    """Turns a valid document into plays and tasks."""

    def __init__(self, document: Document, problems: Problems) -> None:
        self._document = document
        self._problems = problems

    def play(self, index: int, raw: Mapping[str, Any]) -> Play:
        return Play(
            name=raw["play"],
            hosts=_names(raw["hosts"]),
            tasks=tuple(self._task((index, "tasks", number), task) for number, task in enumerate(raw["tasks"])),
            needs=_names(raw.get("needs", [])),
            place=self._document.place(index),
            hosts_place=self._document.place(index, "hosts"),
        )

    def _task(self, path: tuple[Step, ...], raw: Mapping[str, Any]) -> Task:
        name, place = raw["name"], self._document.place(*path)
        resources = [key for key in raw if key not in ("name", "when")]
        if len(resources) != 1:
            found = f"has {len(resources)} resources: {', '.join(resources)}" if resources else "has no resource"
            self._problems.add(f"the task '{name}' {found}", place, "give every task exactly one resource")
            return Task(name, "", {}, place=place)
        resource = resources[0]
        params, when = raw[resource] or {}, raw.get("when", {})
        self._check_choice(resource, params, self._document.key_place(*path, resource))
        places = {
            **self._places(params, ("params",), (*path, resource)),
            **self._places(when, ("when",), (*path, "when")),
        }
        return Task(name, resource, params, when, place, places)

    def _check_choice(self, resource: str, params: Mapping[str, Any], place: Place) -> None:
        """Note what the schema cannot say in words a user understands."""
        if resource == "file" and ("content" in params) == ("source" in params):
            self._problems.add("'file' wants either 'content' or 'source'", place)
        if resource == "command" and not {"creates", "unless"} & set(params):
            remedy = "say when the command need not run: creates: PATH, or unless: [PROGRAM, ARGUMENT]"
            self._problems.add("'command' wants 'creates' or 'unless'", place, remedy)

    def _places(self, value: Any, inner: tuple[Step, ...], outer: tuple[Step, ...]) -> dict[tuple[Step, ...], Place]:
        """The place of every value inside a value."""
        places = {inner: self._document.place(*outer)}
        for step in _steps(value):
            places.update(self._places(value[step], (*inner, step), (*outer, step)))
        return places


def _steps(value: Any) -> list[Step]:
    if isinstance(value, Mapping):
        return list(value)
    return list(range(len(value))) if isinstance(value, list) else []


def _names(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _check_names(plays: tuple[Play, ...], problems: Problems) -> None:
    first: dict[str, Play] = {}
    for play in plays:
        other = first.setdefault(play.name, play)
        if other is not play and other.place:
            problems.add(f"the play '{play.name}' is declared twice, first at line {other.place.line}", play.place)


def _check_needs(plays: tuple[Play, ...], document: Document, problems: Problems) -> None:
    names = [play.name for play in plays]
    for index, play in enumerate(plays):
        for number, needed in enumerate(play.needs):
            place = document.place(index, "needs", number)
            if needed == play.name:
                problems.add(f"the play '{needed}' needs itself", place)
            elif needed not in names:
                problems.add(f"there is no play '{needed}'", place, suggestion(needed, names, "plays"))
            elif needed not in names[:index]:
                problems.add(f"the play '{needed}' comes later", place, "a play can only need earlier ones")
