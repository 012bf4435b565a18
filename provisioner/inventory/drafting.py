"""Writes a first inventory: hosts in, commented text out."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from provisioner.inventory.document import plain_value
from provisioner.inventory.importing.found import FoundHost

_PLAIN = re.compile(r"[A-Za-z0-9~/][A-Za-z0-9._/@~+-]*")
_RESERVED = ("all", "head", "workers", "worker", "redis-host", "controller", "none")
_COMMON = ("user", "port", "key", "jump", "become", "os", "arch")


@dataclass(frozen=True)
class DraftHost:
    """A host for a new inventory.

    Args:
        host: where it is and how it is reached.
        arch: ``x86_64`` or ``aarch64``; None: not known.
        note: said of it in a comment.
    """

    host: FoundHost
    arch: str | None = None
    note: str = ""


def draft(cluster: str, python: str, ray: str, hosts: Sequence[DraftHost], ssh_config: str | None = None) -> str:
    """Return the text of an inventory; what all hosts have in common is written once.

    Args:
        cluster: its name, made one that is allowed.
        python, ray: exact versions.
        hosts: at least one; the one that is marked as head, else the first, becomes it.
        ssh_config: the file that connections are made with; None: the user's own.
    """
    named = _named(hosts)
    head = next((each for each in named if each.host.is_head), named[0])
    told = [_said(each) for each in named]
    common = {key: told[0].get(key) for key in _COMMON if all(said.get(key) == told[0].get(key) for said in told)}
    workers = [each for each in named if each is not head]
    lines = [
        f"cluster: {cluster_name(cluster)}", "",
        f"python: {python}                  # exact, brought to every host",
        "# packages: [duckdb]             # beside ray[default]", "",
        "ray:", f"  version: {ray}               # exact, the same on every node",
        *_top(common, ssh_config), "",
        "head:", _line(head, common), "",
        "workers:" if workers else "# workers:                       # names, with their addresses if names do not do",
        *(_line(each, common) for each in workers),
        *([] if workers else ["#   w1: {address: 192.0.2.11}"]),
    ]  # fmt: skip
    return "\n".join([*_PREAMBLE, *lines]) + "\n"


_SCHEMA = "inventory.schema.json"
_PREAMBLE = (
    f"# yaml-language-server: $schema={_SCHEMA}",
    f"# Completion and help in your editor: provision schema inventory > {_SCHEMA}",
    "#",
    "# What stands at the left margin holds for every host; a host's own value wins.",
    "",
)


def cluster_name(text: str) -> str:
    """Return a name that a cluster may have, as near to a text as it goes.

    >>> cluster_name("My Lab_2")
    'my-lab-2'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:31].strip("-") or "lab"


def _named(hosts: Sequence[DraftHost]) -> list[DraftHost]:
    """Return hosts with names that are allowed, each once; what served as an address still does."""
    taken: set[str] = set(_RESERVED) | {group for each in hosts for group in each.host.groups}
    named = []
    for each in hosts:
        old = each.host.name
        base = re.sub(r"[^A-Za-z0-9_.-]+", "-", old).strip("-_.")[:60].strip("-_.") or "host"
        name, number = base, 2
        while name in taken:
            name, number = f"{base}-{number}", number + 1
        taken.add(name)
        address = each.host.address or (old if name != old else None)
        groups = tuple(group for group in each.host.groups if re.fullmatch(r"[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?", group))
        kept = tuple(group for group in groups if group not in _RESERVED)
        named.append(replace(each, host=replace(each.host, name=name, address=address, groups=kept)))
    return named


def _said(each: DraftHost) -> dict[str, Any]:
    host = each.host
    said = {"user": host.user, "port": host.port, "key": host.key, "jump": host.jump, "become": host.become or None,
            "os": host.os, "arch": each.arch}  # fmt: skip
    return {key: value for key, value in said.items() if value is not None}


def _top(common: dict[str, Any], ssh_config: str | None) -> list[str]:
    ssh = _mapping({**{key: common.get(key) for key in ("user", "port", "key", "jump")}, "config": ssh_config})
    reach = f"ssh: {ssh}" if ssh != "{}" else "# ssh: {user: ray, key: ~/.ssh/id_ed25519}   # left out: as ssh does it"
    become = "become: true" if common.get("become") else "# become: true                   # work as root through sudo"
    return ["", reach, become, *(f"{key}: {common[key]}" for key in ("os", "arch") if common.get(key))]


def _line(each: DraftHost, common: dict[str, Any]) -> str:
    own = {key: value for key, value in _said(each).items() if common.get(key) != value}
    ssh = {key: own[key] for key in ("user", "port", "key", "jump") if key in own}
    values = {
        "address": each.host.address, "os": own.get("os"), "arch": own.get("arch"), "become": own.get("become"),
        "groups": list(each.host.groups) or None, "ssh": ssh or None,
    }  # fmt: skip
    note = re.sub(r"[^\x20-\x7e]+", " ", each.note).strip()
    return f"  {_scalar(each.host.name)}: {_mapping(values)}" + (f"   # {note}" if note else "")


def _mapping(values: dict[str, Any]) -> str:
    said = [f"{key}: {_value(value)}" for key, value in values.items() if value is not None]
    return "{" + ", ".join(said) + "}"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return _mapping(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return str(value).lower() if isinstance(value, (bool, int)) else _scalar(str(value))


def _scalar(text: str) -> str:
    """Return a text as YAML, in quotes where it would be something else without."""
    return text if _PLAIN.fullmatch(text) and plain_value(text) == text else json.dumps(text)
