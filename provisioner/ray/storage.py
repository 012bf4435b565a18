"""Where a head keeps the cluster's state: in its own memory, or in Redis, from which the next head reads it again.

Ray knows Redis by RAY_REDIS_ADDRESS, tells clusters in it apart by RAY_external_storage_namespace, and has a password
by ``--redis-password`` only (ray/_private/node.py, services.py of 2.60.0).
"""

from __future__ import annotations

from typing import Any

from provisioner.errors import InputError
from provisioner.inventory.model import Host, Inventory
from provisioner.ray.ports import refuse_taken

LOOPBACK = "127.0.0.1"
RECONNECT_LIMIT = "600"
"""Seconds for which a worker waits for a head that is away: as long as a machine may take to start. Ray's own limit is
60 s (gcs_rpc_server_reconnect_timeout_s), after which a node ends with everything on it."""


def address(inventory: Inventory, node_ip: str) -> tuple[str, int] | None:
    """Return where the head reaches Redis, None if it keeps everything in memory.

    Args:
        node_ip: of the host that runs the cluster's own.
    """
    redis = inventory.redis
    if redis is None:
        return None
    if redis.host is None:
        return redis.address, redis.port
    return (LOOPBACK if redis.host == inventory.head.name else node_ip), redis.port


def as_text(address: tuple[str, int]) -> str:
    """Return ADDRESS:PORT as Ray reads it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def variables(inventory: Inventory, host: Host, address: tuple[str, int] | None) -> dict[str, str]:
    """Return the variables by which a node of the cluster knows that its state is kept."""
    if address is None:
        return {}
    if host.role == "worker":
        return {"RAY_gcs_rpc_server_reconnect_timeout_s": RECONNECT_LIMIT}
    return {"RAY_REDIS_ADDRESS": as_text(address), "RAY_external_storage_namespace": inventory.cluster}


def client_params(inventory: Inventory, address: tuple[str, int] | None) -> dict[str, Any] | None:
    """Return what the head needs to know of Redis beside its variables.

    ``host`` is the one that knows the password; None: ``password`` is it, or None if there is none.
    """
    redis = inventory.redis
    if redis is None or address is None:
        return None
    given = redis.password.reveal() if redis.password else None
    return {"address": list(address), "host": redis.host, "password": given}


def server_params(inventory: Inventory, host: Host, node_ip: str) -> dict[str, Any]:
    """Return the parameters of ``redis_server`` (see remote/resources/redis_server.py).

    Raises:
        InputError: its port is one of the node's.
    """
    redis = inventory.redis
    if redis is None or redis.host != host.name:
        raise InputError(
            f"the playbook wants Redis on '{host.name}', and the inventory does not",
            remedy="write redis: {host: NAME}, and `hosts: redis-host` in the play",
            place=host.place,
        )
    refuse_taken(host, redis.port, "Redis", "redis")
    elsewhere = [] if host.role == "head" else [node_ip]
    given = {"password": redis.password.reveal()} if redis.password else {}
    return {"port": redis.port, "bind": [LOOPBACK, *elsewhere], **given}
