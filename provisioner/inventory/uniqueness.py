"""Checks across all hosts: names that can be told apart, and addresses used once."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from provisioner.inventory import values
from provisioner.inventory.model import Host
from provisioner.inventory.problems import Problems
from provisioner.inventory.values import BadValue

RESERVED = ("all", "head", "workers", "redis-host", "prometheus-host")

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


def check_hosts(hosts: Iterable[Host], problems: Problems) -> None:
    """Note bad and repeated names, repeated addresses, and groups that cannot be told from hosts."""
    by_name: dict[str, Host] = {}
    by_door: dict[tuple[str, int, str | None], Host] = {}
    for host in hosts:
        _check_name(host, problems)
        if host.name in by_name:
            problems.add(f"the host '{host.name}' is declared twice{_first(by_name[host.name], host)}", host.place)
            continue
        by_name[host.name] = host
        door = (_normal(host.address), host.ssh.port or 22, host.ssh.jump)
        if door in by_door:
            other = by_door[door]
            message = f"'{host.name}' and '{other.name}' have the same address {host.address}, port {door[1]}"
            problems.add(message, host.place, "give each host its own address")
        by_door.setdefault(door, host)
    for host in by_name.values():
        _check_groups(host, by_name, problems)


def _check_name(host: Host, problems: Problems) -> None:
    if not _NAME.fullmatch(host.name):
        wants = "a host's name has at most 63 letters, digits, '.', '_' and '-', the first and last a letter or digit"
        problems.add(f"'{host.name}' cannot name a host", host.place, wants)
        return
    if host.name in RESERVED and host.name != host.role:
        problems.add(f"'{host.name}' cannot name a {host.role}: it stands for hosts in playbooks", host.place)
    if host.address == host.name:
        try:
            values.address(host.address)
        except BadValue as error:
            problems.add(str(error), host.place, "give the host an 'address'")


def _check_groups(host: Host, by_name: dict[str, Host], problems: Problems) -> None:
    for group in host.groups:
        if group in RESERVED:
            problems.add(f"'{group}' cannot name a group: it stands for hosts in playbooks", host.place)
        elif group in by_name:
            problems.add(f"'{group}' names both a group and a host", host.place, "rename the group")


def _normal(address: str) -> str:
    return str(ipaddress.ip_address(address)) if values.is_ip(address) else address.lower().rstrip(".")


def _first(first: Host, second: Host) -> str:
    """Where the first of two declarations is, if it is another place."""
    here = first.place is None or first.place == second.place
    return "" if here or first.place is None else f", first at line {first.place.line}, column {first.place.column}"
