"""The head's node list: the only thing to believe about who is in the cluster.

Read from the dashboard's HTTP API (``/api/v0/nodes``, live; ``/nodes?view=summary`` is cached and showed a stopped node
as alive), without importing ray: 9 ms in place of 900.
"""

from __future__ import annotations

import threading
import time

from provisioner.remote.dashboard import Request, ask, parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

    from provisioner.remote.host import Host

    Node = Dict[str, Any]
    Trusted = Callable[[socket.socket], bool]

HOST_LABEL = "provision/host"
CONFIG_LABEL = "provision/config"
PATH = "/api/v0/nodes?limit=10000&detail=true"


_cache: Dict[Tuple[str, int], Tuple[float, List[Node]]] = {}
_lock = threading.Lock()


def fetch_nodes(
    dashboard: List[Any],
    max_age: float = 0.0,
    timeout: float = 5.0,
    tokens: Sequence[str] = (),
    trusted: Trusted = lambda connection: True,
) -> Optional[List[Node]]:
    """Return the nodes, newest first; None if no dashboard answers.

    Each is ``{"id", "ip", "host", "config", "alive", "head", "start"}``; ``host`` is empty without our label.

    Args:
        dashboard: address and port of the dashboard on this host.
        max_age: an answer at most this many seconds old will do.
        tokens: by which Ray may let us in, the likeliest first.
        trusted: tells whether whoever answers may be shown these, and be believed.
    """
    address, port = str(dashboard[0]), int(dashboard[1])
    with _lock:
        known = _cache.get((address, port))
        if known and time.monotonic() - known[0] <= max_age:
            return known[1]
        try:
            answer = ask(dashboard, Request(PATH, timeout=timeout), tokens, trusted)
            rows = parsed(*answer)["data"]["result"]["result"]
            nodes = sorted((_node(row) for row in rows), key=lambda node: -float(node["start"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        _cache[address, port] = (time.monotonic(), nodes)
        return nodes


def _node(row: Dict[str, Any]) -> Node:
    labels = row.get("labels") or {}
    return {
        "id": row["node_id"],
        "ip": row["node_ip"],
        "host": labels.get(HOST_LABEL, ""),
        "config": labels.get(CONFIG_LABEL, ""),
        "alive": row["state"] == "ALIVE",
        "head": bool(row.get("is_head_node")),
        "start": row.get("start_time_ms") or 0,
    }


def living(nodes: Optional[List[Node]], name: str, node_ip: str) -> List[Node]:
    """Return the living nodes of a host: anybody may start one under its name, so the address counts as well.

    Args:
        node_ip: the host's; one of the loopback, which Ray replaces, or "" counts for nothing.
    """
    mine = [node for node in nodes or [] if node["alive"] and node["host"] == name]
    return [node for node in mine if node_ip[:4] in ("", "127.", "::1") or _plain(node["ip"]) == _plain(node_ip)]


def _plain(address: str) -> str:
    """Return an address in its one form: those of IPv6 have several."""
    import socket

    try:
        return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, address))
    except (OSError, ValueError, TypeError):
        return str(address)


def of_this_host(host: Host, dashboard: List[Any], max_age: float = 0.0) -> Optional[List[Node]]:
    """Return the nodes that the dashboard on this host tells, as ``fetch_nodes``; None as well if it is another
    account's program that answers there."""
    from provisioner.remote import service
    from provisioner.remote.resources import ray_token

    def trusted(connection: socket.socket) -> bool:
        return service.is_trusted(host, service.service_name(host), connection)

    return fetch_nodes(dashboard, max_age, tokens=ray_token.shown_to_ray(host), trusted=trusted)
