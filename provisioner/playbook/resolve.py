"""What a playbook says to one host: its plays, with the templates filled in and the conditions judged."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provisioner.errors import InputError
from provisioner.inventory.document import Step
from provisioner.inventory.model import Host, Inventory
from provisioner.inventory.problems import Problems, suggestion
from provisioner.inventory.uniqueness import RESERVED
from provisioner.inventory.values import as_text
from provisioner.playbook.load import SCHEMA
from provisioner.playbook.model import Play, Playbook, Task
from provisioner.playbook.templates import BadTemplate, fill, is_template

LATER = ("os", "arch", "changed")
"""Conditions that only the host, or the run itself, can judge."""


@dataclass(frozen=True)
class ResolvedTask:
    """One task for one host: nothing left to fill in."""

    name: str
    resource: str
    params: Mapping[str, Any]
    when: Mapping[str, tuple[str, ...] | bool] = field(default_factory=dict)
    """What is left to judge: ``os`` and ``arch`` (any of the values) on the host, ``changed`` during the run."""


@dataclass(frozen=True)
class ResolvedPlay:
    """One play for one host; without tasks if none of them is for this host."""

    name: str
    needs: tuple[str, ...]
    tasks: tuple[ResolvedTask, ...]


def resolve(playbook: Playbook, host: Host, inventory: Inventory) -> tuple[ResolvedPlay, ...]:
    """The plays of one host, in the playbook's order; for many hosts, make one `Resolver`.

    Raises:
        InputError: a play names hosts that do not exist, or a value cannot be filled in.
    """
    return Resolver(playbook, inventory).plays(host)


class Resolver:
    """Says what a playbook means for each host of an inventory.

    Raises:
        InputError: a play or a condition names something that the inventory does not have.
    """

    def __init__(self, playbook: Playbook, inventory: Inventory) -> None:
        self._playbook = playbook
        self._inventory = inventory
        self._head = _describe(inventory.head)
        _check_names(playbook, inventory)

    def plays(self, host: Host) -> tuple[ResolvedPlay, ...]:
        """The plays of one host, in the playbook's order.

        Raises:
            InputError: a value cannot be filled in.
        """
        context = self.context(host)
        return tuple(
            ResolvedPlay(play.name, play.needs, tuple(self._tasks(play, host, context)))
            for play in self._playbook.plays
            if includes(play, host)
        )

    def context(self, host: Host) -> dict[str, Any]:
        """What templates may name: cluster, ray_version, host, head and vars."""
        return {
            "cluster": self._inventory.cluster,
            "ray_version": self._inventory.ray_version,
            "host": _describe(host),
            "head": self._head,
            "vars": {**self._inventory.vars, **host.vars},
        }

    def _holds(self, key: str, wanted: list[Any], host: Host, variables: Mapping[str, Any]) -> bool:
        return self._inventory.tls in wanted if key == "ray.tls" else _holds(key, wanted, host, variables)

    def _tasks(self, play: Play, host: Host, context: Mapping[str, Any]) -> Iterator[ResolvedTask]:
        for task in play.tasks:
            if all(self._holds(key, _listed(wanted), host, context["vars"]) for key, wanted in task.when.items()):
                params = _params(task, context, self._playbook.file.parent)
                yield ResolvedTask(task.name, task.resource, params, _left_to_judge(task.when))


def includes(play: Play, host: Host) -> bool:
    """Whether a play is for a host."""
    return not host.selectors.isdisjoint(play.hosts)


def _describe(host: Host) -> dict[str, Any]:
    return {
        "name": host.name,
        "address": host.address,
        "role": host.role,
        "python": host.python,
        "groups": list(host.groups),
        "vars": dict(host.vars),
    }


def _holds(key: str, wanted: list[Any], host: Host, variables: Mapping[str, Any]) -> bool:
    """Judge a condition on a host; those that only the host itself can judge hold for now."""
    if key in LATER:
        return True
    if key == "role":
        return host.role in wanted
    if key == "host":
        return host.name in wanted
    if key == "python.match":
        return host.interpreter.match in wanted
    if key == "group":
        return not set(host.groups).isdisjoint(wanted)
    name = key.removeprefix("vars.")
    return name in variables and variables[name] in wanted


def _left_to_judge(when: Mapping[str, Any]) -> dict[str, tuple[str, ...] | bool]:
    return {key: when[key] if key == "changed" else tuple(_listed(when[key])) for key in LATER if key in when}


def _check_names(playbook: Playbook, inventory: Inventory) -> None:
    """Refuse plays and conditions on hosts, groups and variables that do not exist."""
    hosts = {host.name for host in inventory.hosts}
    groups = {group for host in inventory.hosts for group in host.groups}
    variables = {name for host in inventory.hosts for name in host.vars} | set(inventory.vars)
    selectors = {*RESERVED} | hosts | groups
    problems = Problems()
    for play in playbook.plays:
        for name in set(play.hosts) - selectors:
            message = f"'{name}' is neither a host nor a group of {inventory.file}"
            problems.add(message, play.hosts_place or play.place, suggestion(name, selectors, "known"))
        for task in play.tasks:
            tested = (
                ("host", "host", task.when.get("host", []), hosts),
                ("group", "group", task.when.get("group", []), groups),
                *((key, "variable", key[5:], variables) for key in task.when if key.startswith("vars.")),
            )
            for key, what, names, known in tested:
                for name in set(_listed(names)) - known:
                    place = task.places.get(("when", key), task.place)
                    problems.add(f"the inventory has no {what} '{name}'", place, suggestion(name, known, "known"))
    problems.raise_any()


def _params(task: Task, context: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The task's parameters with templates filled, in the types the schema wants."""
    wanted = _schema()["$defs"].get(task.resource, {}).get("properties", {})
    filler = _Filler(task, context)
    params = {key: filler.fill(value, ("params", key), wanted.get(key, {})) for key, value in task.params.items()}
    if "source" in params:
        params["source"] = _local_file(task, params["source"], folder)
    return params


class _Filler:
    """Fills the values of one task."""

    def __init__(self, task: Task, context: Mapping[str, Any]) -> None:
        self._task = task
        self._context = context

    def fill(self, value: Any, path: tuple[Step, ...], schema: Mapping[str, Any]) -> Any:
        """A value with its templates filled, converted to what the schema wants there."""
        if isinstance(value, str) and is_template(value):
            value = self._guard(lambda: fill(value, self._context), path)
        if "$ref" in schema:
            schema = _schema()["$defs"][schema["$ref"].rpartition("/")[2]]
        if isinstance(value, Mapping):
            inner = schema.get("additionalProperties")
            self._check(inner is not None, value, path, schema)
            return {key: self.fill(item, (*path, key), inner or {}) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            self._check("items" in schema, value, path, schema)
            return [self.fill(item, (*path, index), schema["items"]) for index, item in enumerate(value)]
        text = as_text(value)
        self._check(value is not None and re.search(schema.get("pattern", ""), text) is not None, value, path, schema)
        return text

    def _guard(self, action: Callable[[], Any], path: tuple[Step, ...]) -> Any:
        try:
            return action()
        except BadTemplate as error:
            raise self._error(str(error), path, error.remedy) from None

    def _check(self, fits: bool, value: Any, path: tuple[Step, ...], schema: Mapping[str, Any]) -> None:
        if not fits:
            wants = schema.get("x-wants", "a text")
            raise self._error(f"'{path[-1]}' wants {wants}; the template gives {value!r}", path)

    def _error(self, message: str, path: tuple[Step, ...], remedy: str = "") -> InputError:
        places = self._task.places
        around = [places[path[:end]] for end in range(len(path) + 1) if path[:end] in places]
        nearest = around[-1] if around else self._task.place
        return InputError(f"task '{self._task.name}': {message}", place=nearest, remedy=remedy)


def _local_file(task: Task, text: str, folder: Path) -> str:
    place = task.places.get(("params", "source"), task.place)
    try:
        path = folder / Path(text).expanduser()
        if path.is_file():
            return str(path)
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(f"cannot look for '{text}': {error}", place=place) from None
    raise InputError(f"there is no file {path}", place=place, remedy="'source' counts from the playbook's folder")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@functools.cache
def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(SCHEMA.read_bytes())
    return schema
