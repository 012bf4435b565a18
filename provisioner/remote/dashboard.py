"""Requests to the dashboard on this host, with the cluster's token, which is shown to nobody but Ray.

Written for a plain socket, since http.client takes longer to import than most questions take to answer.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any, Callable, Dict, List, Sequence, Tuple

    from provisioner.remote.host import Host

    Trusted = Callable[[socket.socket], bool]

MOST = 64 * 1024 * 1024
"""Bytes of an answer at most: a list of ten thousand nodes takes half of it."""
WHOLE = 4
"""An answer may take so many times as long as its server may be silent."""
REFUSED = (401, 403)
"""What Ray answers where no token was sent, or another one than its own (_private/authentication of 2.60.0)."""


class Request:
    """One request, and how long its answer may be waited for.

    Args:
        path: with its query.
        body: sent as ``kind``, nothing if empty and the method is GET.
        timeout: seconds of silence.
    """

    def __init__(
        self, path: str, method: str = "GET", body: bytes = b"", kind: str = "application/json", timeout: float = 5.0
    ) -> None:
        self.path = path
        self.method = method
        self.body = body
        self.kind = kind
        self.timeout = timeout

    def bytes(self, address: str, token: str) -> bytes:
        """Return it as HTTP/1.0 (so that the answer never comes in chunks)."""
        # Without a User-Agent, dashboards of older releases (2.48) answer 500: is_browser_request reads it unasked.
        head = ["%s %s HTTP/1.0" % (self.method, self.path), "Host: " + address, "User-Agent: provision"]
        if token:
            head.append("Authorization: Bearer " + token)
        if self.body or self.method != "GET":
            head += ["Content-Type: " + self.kind, "Content-Length: %d" % len(self.body)]
        return ("\r\n".join(head) + "\r\n\r\n").encode("ascii") + self.body


def of_this_host(host: Host, dashboard: List[Any], request: Request) -> Tuple[int, bytes]:
    """Return status and body of the answer of the dashboard on this host.

    Raises:
        OSError: nobody answers there.
        ValueError: what answers is another account's program, or no dashboard.
    """
    from provisioner.remote import service
    from provisioner.remote.resources import ray_token

    def trusted(connection: socket.socket) -> bool:
        return service.is_trusted(host, service.service_name(host), connection)

    return ask(dashboard, request, ray_token.shown_to_ray(host), trusted)


def ask(dashboard: List[Any], request: Request, tokens: Sequence[str], trusted: Trusted) -> Tuple[int, bytes]:
    """Return status and body of the answer to a request, as the first token that is taken gives it.

    Args:
        dashboard: address and port.
        tokens: by which Ray may let us in, the likeliest first.
        trusted: tells whether whoever answers may be shown these, and be believed.
    """
    address, port = str(dashboard[0]), int(dashboard[1])
    for token in tokens[:-1]:
        status, body = _ask(address, port, request, token, trusted)
        if status not in REFUSED:
            return status, body
    return _ask(address, port, request, tokens[-1] if tokens else "", trusted)


def _ask(address: str, port: int, request: Request, token: str, trusted: Trusted) -> Tuple[int, bytes]:
    import socket

    deadline = time.monotonic() + WHOLE * request.timeout
    with socket.create_connection((address, port), request.timeout) as connection:
        connection.settimeout(request.timeout)
        if not trusted(connection):
            raise ValueError("another account's program listens there")
        connection.sendall(request.bytes(address, token))
        answer = bytearray()
        while True:
            piece = connection.recv(1 << 18)
            if not piece:
                break
            answer += piece
            if len(answer) > MOST or time.monotonic() > deadline:
                raise ValueError("an answer without end")
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split(b" ")
    if not words[0].startswith(b"HTTP/1.") or len(words) < 2 or not words[1].isdigit():
        raise ValueError("what answers speaks no HTTP")
    return int(words[1]), body


def reason(status: int, body: bytes) -> str:
    """Return in words why a request was not granted."""
    if status in REFUSED:
        return "Ray does not take the token that lies on this host"
    text = body[:2000].decode("utf-8", "replace").strip()
    return "the dashboard answers %d%s" % (status, ": " + text if text else "")


def parsed(status: int, body: bytes) -> Dict[str, Any]:
    """Return the JSON of a good answer; ValueError for any other."""
    import json

    if status != 200:
        raise ValueError(reason(status, body))
    found = json.loads(body)
    return found if isinstance(found, dict) else {"": found}
