"""The IP address of every node, found before any host is contacted: Ray's nodes know each other by nothing else."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from provisioner.errors import InputError
from provisioner.inventory.model import Host, Inventory
from provisioner.inventory.values import is_ip
from provisioner.ray.start import node_ip


def locate(inventory: Inventory, real_name: Callable[[Host], str], strict: bool = True) -> Inventory:
    """Return the inventory with every host's ``node_ip`` filled in: as given, or where its address leads.

    Args:
        inventory: as loaded.
        real_name: returns what ssh_config makes of a host's address.
        strict: every host must be found; else one that is not stays as it is, for whoever asks only others.

    Raises:
        InputError: an address is a name that can't be resolved here; all of them are named at once.
    """
    with ThreadPoolExecutor(max_workers=16) as pool:
        found = list(pool.map(lambda host: _resolve(host, real_name), inventory.hosts))
    lost = [host for host, ip in zip(inventory.hosts, found, strict=True) if ip is None]
    if lost and strict:
        raise _unresolved(lost)
    hosts = (_with_ip(host, ip) if ip else host for host, ip in zip(inventory.hosts, found, strict=True))
    return replace(inventory, hosts=tuple(hosts))


def _resolve(host: Host, real_name: Callable[[Host], str]) -> str | None:
    given = node_ip(host)
    if is_ip(given):
        return given
    name = real_name(host) if given == host.address else given
    if is_ip(name):
        return name
    try:
        return str(socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError:
        return None


def _unresolved(hosts: list[Host]) -> InputError:
    names = [node_ip(host) for host in hosts]
    few = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return InputError(
        f"no IP address is known for {few}: neither ssh_config nor the name service of this machine has one",
        remedy="give the host an `address:` (an IP address), a HostName in ssh_config, or `ray: {node_ip: ...}`",
        place=hosts[0].place,
    )


def _with_ip(host: Host, ip: str) -> Host:
    return replace(host, ray=replace(host.ray, options={**host.ray.options, "node_ip": ip}))
