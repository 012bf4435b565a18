"""The section ``redis``: where the head keeps the cluster's state, and what may be wrong with saying so."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from provisioner.inventory import values
from provisioner.inventory.document import Document
from provisioner.inventory.implied import check_not_twice
from provisioner.inventory.model import Host, Redis, Secret
from provisioner.inventory.problems import Problems, suggestion
from provisioner.inventory.values import BadValue

OWN_PORT = 6378
"""Of the cluster's own; 6379 and those above belong to Ray."""
USUAL_PORT = 6379
"""Of every other Redis."""
OURS = ("RAY_REDIS_ADDRESS", "RAY_external_storage_namespace")
"""Variables that follow from ``redis``."""
_PASSWORD = re.compile(r"[!-~]{1,512}")
_WAYS = "write {host: head}, {host: NAME} or {external: ADDRESS:PORT}"


def read_redis(
    document: Document, hosts: list[Host], secret: Callable[[Mapping[str, str]], Secret], problems: Problems
) -> Redis | None:
    """Convert the section ``redis``; None if there is none, or it means nothing.

    Args:
        secret: reads a value that is in the environment or in a file.
    """
    section = document.value.get("redis")
    if section is None:
        return None
    check_not_twice(document, OURS, "redis", problems)
    password = _password(section, document, secret, problems)
    if "external" in section:
        return _external(section, password, document, problems)
    return _own(section, password, document, hosts, problems)


def with_keeper(hosts: list[Host], redis: Redis | None) -> list[Host]:
    """Return the hosts, the one that runs the cluster's own Redis marked."""
    if redis is None or redis.host is None:
        return hosts
    return [replace(host, keeps_redis=True) if host.name == redis.host else host for host in hosts]


def _external(
    section: Mapping[str, Any], password: Secret | None, document: Document, problems: Problems
) -> Redis | None:
    for key in ("host", "port"):
        if key in section:
            message = f"'{key}' and 'external' do not go together"
            problems.add(
                message, document.key_place("redis", key), "write external: ADDRESS:PORT" if key == "port" else _WAYS
            )
    address, port = _split(section["external"])
    if not 1 <= port <= 65535:
        problems.add(f"{port} is no port", document.place("redis", "external"), "write external: ADDRESS:PORT")
        return None
    try:
        return Redis(None, values.address(address), port, password)
    except BadValue as error:
        problems.add(str(error), document.place("redis", "external"), "write external: ADDRESS:PORT")
        return None


def _split(text: str) -> tuple[str, int]:
    """Return address and port; an IPv6 address has brackets."""
    found = re.fullmatch(r"\[([^\]]+)\](?::([0-9]+))?|([^:]+)(?::([0-9]+))?", text)
    assert found is not None, "the schema has seen to it"
    return found[1] or found[3], int(found[2] or found[4] or USUAL_PORT)


def _own(
    section: Mapping[str, Any], password: Secret | None, document: Document, hosts: list[Host], problems: Problems
) -> Redis | None:
    if "host" not in section:
        problems.add("'redis' lacks the key 'host' or 'external'", document.key_place("redis"), _WAYS)
        return None
    wanted, place = section["host"], document.place("redis", "host")
    host = next((each for each in hosts if each.name == wanted or (wanted == "head" and each.role == "head")), None)
    if host is None:
        problems.add(
            f"'{wanted}', which shall run Redis, is no host of this inventory", place,
            suggestion(wanted, ["head", *(each.name for each in hosts)], "known"),
        )  # fmt: skip
        return None
    if host.os == "windows":
        message = f"'{host.name}' is Windows: there is no Redis server for it"
        problems.add(message, place, "name a Linux or macOS host, or write external: ADDRESS:PORT")
    return Redis(host.name, "", section.get("port", OWN_PORT), password)


def _password(
    section: Mapping[str, Any], document: Document, secret: Callable[[Mapping[str, str]], Secret], problems: Problems
) -> Secret | None:
    if "password" not in section:
        return None
    place = document.place("redis", "password")
    try:
        found = secret(section["password"])
    except BadValue as error:
        problems.add(str(error), place)
        return None
    if not _PASSWORD.fullmatch(found.reveal()):
        message = "the password of Redis has more than 512 characters, or others than ASCII letters, digits and signs"
        problems.add(message, place, "give Redis another one, without blanks")
    return found
