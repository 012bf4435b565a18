"""The head's node list: the only thing to believe about who is in the cluster.

Read from the dashboard's HTTP API (``/api/v0/nodes``, live; ``/nodes?view=summary`` is cached and showed a stopped node
as alive), without importing ray: 9 ms in place of 900. Written for a plain socket, since http.client takes longer to
import than the question takes to answer.
"""

from __future__ import annotations

import json
import threading
import time

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
MOST = 64 * 1024 * 1024
"""Bytes of an answer at most: ten thousand nodes take half of it."""
WHOLE = 4
"""An answer may take so many times as long as its server may be silent."""


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
            body = _get_with(tokens, address, port, timeout, trusted)
            rows = json.loads(body)["data"]["result"]["result"]
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


class Refused(ValueError):
    """Ray asks for a token, and that was none or another one."""


def of_this_host(host: Host, dashboard: List[Any], max_age: float = 0.0) -> Optional[List[Node]]:
    """Return the nodes that the dashboard on this host tells, as ``fetch_nodes``; None as well if it is another
    account's program that answers there."""
    from provisioner.remote import service
    from provisioner.remote.resources import ray_token

    def trusted(connection: socket.socket) -> bool:
        return service.is_trusted(host, service.service_name(host), connection)

    return fetch_nodes(dashboard, max_age, tokens=ray_token.shown_to_ray(host), trusted=trusted)


def _get_with(tokens: Sequence[str], address: str, port: int, timeout: float, trusted: Trusted) -> bytes:
    """Return the list as the first token that is taken gives it; ValueError for any status but 200."""
    for token in tokens[:-1]:
        try:
            return _get(address, port, timeout, token, trusted)
        except Refused:
            continue
    return _get(address, port, timeout, tokens[-1] if tokens else "", trusted)


def _get(address: str, port: int, timeout: float, token: str, trusted: Trusted) -> bytes:
    """Return the body of an HTTP/1.0 GET (so never in chunks).

    Raises:
        Refused: no token was sent, or another one than Ray's (401 and 403; _private/authentication of 2.60.0).
        ValueError: any other status but 200, or somebody else answers.
    """
    import socket

    # Without a User-Agent, dashboards of older releases (2.48) answer 500: is_browser_request reads it unasked.
    request = "GET %s HTTP/1.0\r\nHost: %s\r\nUser-Agent: provision\r\n" % (PATH, address)
    request += "Authorization: Bearer %s\r\n\r\n" % token if token else "\r\n"
    deadline = time.monotonic() + WHOLE * timeout
    with socket.create_connection((address, port), timeout) as connection:
        connection.settimeout(timeout)
        if not trusted(connection):
            raise ValueError("another account's program listens there")
        connection.sendall(request.encode("ascii"))
        answer = bytearray()
        while True:
            piece = connection.recv(1 << 18)
            if not piece:
                break
            answer += piece
            if len(answer) > MOST or time.monotonic() > deadline:
                raise ValueError("an answer without end")
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    status = head.split(b"\r\n", 1)[0]
    if b" 401 " in status or b" 403 " in status:
        raise Refused(status[:100].decode("latin-1"))
    if b" 200 " not in status:
        raise ValueError(status[:100].decode("latin-1"))
    return body
