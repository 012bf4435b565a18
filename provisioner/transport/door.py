"""The door before a cluster's dashboard on this machine: opens to one browser, and shows Ray the token itself.

Whoever can reach a port of the loopback is not yet the user: other accounts of this machine can, and any web page that
the user's browser shows. So the browser gets a key in a cookie, by a path that works once; requests without it, for
another name than ours (DNS rebinding) or from other pages are refused. The token is put into each request on its way:
it is in no URL, no browser and no process list. One request per connection, so that only heads are ever looked at.
"""

from __future__ import annotations

import hmac
import re
import secrets
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus

from provisioner.transport.forward import Open, both_ways

LONGEST_HEAD = 64 * 1024
"""Bytes of a request's head at most."""
PATIENCE = 30.0
"""Seconds for a browser to say what it wants."""
_REQUEST = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.[01]\Z")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*\Z")
_OURS = {
    b"host",
    b"authorization",
    b"connection",
    b"cookie",
    b"keep-alive",
    b"proxy-connection",
    b"x-ray-authorization",
}
"""Fields that are not handed on as the browser says them."""

Field = tuple[bytes, bytes]


class Refused(Exception):
    """A request that is not handed on; the status says why."""


class Door:
    """Judges requests, and hands the good ones on.

    Args:
        token: returns what the dashboard asks for; "": it asks for nothing.
        host: as the dashboard is called on its own machine (``127.0.0.1:8265``).
    """

    def __init__(self, token: Callable[[], str], host: str) -> None:
        self._token = token
        self._host = host
        self._key = secrets.token_urlsafe(32)
        self._once: set[str] = set()
        self._lock = threading.Lock()
        self.port = 0
        """Of the door itself; set when it is known."""

    def invitation(self) -> str:
        """Return an address that lets one browser in, once."""
        word = secrets.token_urlsafe(32)
        with self._lock:
            self._once.add(word)
        return f"http://127.0.0.1:{self.port}/enter/{word}"

    def serve(self, near: socket.socket, open_far: Open) -> None:
        """Answer one request of a browser."""
        near.settimeout(PATIENCE)
        try:
            head, rest = _read_head(near)
            method, path, fields = _parsed(head)
            word = path.removeprefix("/enter/")
            self._check_name(fields)
            if word != path:
                _send(near, HTTPStatus.SEE_OTHER, self._let_in(word))
                return
            self._check(method, fields)
        except Refused as refusal:
            _send(near, refusal.args[0])
            return
        near.settimeout(None)
        try:
            far = open_far()
        except OSError:
            _send(near, HTTPStatus.BAD_GATEWAY)
            return
        try:
            far.sendall(self._handed_on(method, path, fields) + rest)
            both_ways(near, far)
        finally:
            far.close()

    def _let_in(self, word: str) -> tuple[str, ...]:
        with self._lock:
            known = next((each for each in self._once if hmac.compare_digest(each, word)), None)
            if known is None:
                raise Refused(HTTPStatus.FORBIDDEN)
            self._once.discard(known)
        cookie = f"{self._cookie()}={self._key}; Path=/; HttpOnly; SameSite=Strict"
        return f"Set-Cookie: {cookie}", "Location: /"

    def _cookie(self) -> str:
        """Return its name; cookies know no ports, so that each door needs one of its own."""
        return f"provision-{self.port}"

    def _check_name(self, fields: list[Field]) -> None:
        names = [value for name, value in fields if name.lower() == b"host"]
        ours = {f"{name}:{self.port}".encode() for name in ("127.0.0.1", "localhost")}
        if len(names) != 1 or names[0] not in ours:
            raise Refused(HTTPStatus.MISDIRECTED_REQUEST)

    def _check(self, method: str, fields: list[Field]) -> None:
        """Raise Refused for whoever has no key, or asks for another page's sake."""
        found = {name.lower(): value for name, value in fields}
        cookies = b"; ".join(value for name, value in fields if name.lower() == b"cookie").split(b"; ")
        wanted = f"{self._cookie()}={self._key}".encode()
        if not any(hmac.compare_digest(each, wanted) for each in cookies):
            raise Refused(HTTPStatus.FORBIDDEN)
        origin = found.get(b"origin")
        if origin is not None and origin not in (b"http://" + found[b"host"], b"null"):
            raise Refused(HTTPStatus.FORBIDDEN)
        if origin == b"null" and method not in ("GET", "HEAD"):
            raise Refused(HTTPStatus.FORBIDDEN)
        if (
            found.get(b"sec-fetch-site") in (b"cross-site", b"same-site")
            and found.get(b"sec-fetch-mode") != b"navigate"
        ):
            raise Refused(HTTPStatus.FORBIDDEN)

    def _handed_on(self, method: str, path: str, fields: list[Field]) -> bytes:
        upgrade = any(name.lower() == b"upgrade" for name, _ in fields)
        lines = [f"{method} {path} HTTP/1.1".encode(), b"Host: " + self._host.encode()]
        for name, value in fields:
            if name.lower() == b"origin":
                lines.append(b"Origin: http://" + self._host.encode())
            elif name.lower() == b"cookie":
                kept = [each for each in value.split(b"; ") if not each.startswith(b"provision-")]
                lines += [b"Cookie: " + b"; ".join(kept)] if kept else []
            elif name.lower() not in _OURS:
                lines.append(name + b": " + value)
        lines.append(b"Connection: " + (b"Upgrade" if upgrade else b"close"))
        token = self._token()
        if token:
            lines.append(b"Authorization: Bearer " + token.encode("ascii"))
        return b"\r\n".join(lines) + b"\r\n\r\n"


def _read_head(near: socket.socket) -> tuple[bytes, bytes]:
    """Return the head of a request, and what came after it; Refused if it never ends."""
    data = b""
    while b"\r\n\r\n" not in data:
        try:
            piece = near.recv(16384)
        except TimeoutError:
            raise Refused(HTTPStatus.REQUEST_TIMEOUT) from None
        if not piece:
            raise Refused(HTTPStatus.BAD_REQUEST)
        data += piece
        if len(data) > LONGEST_HEAD:
            raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _parsed(head: bytes) -> tuple[str, str, list[Field]]:
    first, *lines = head.split(b"\r\n")
    request = _REQUEST.match(first)
    fields = [_FIELD.match(line) for line in lines]
    if request is None or any(field is None for field in fields):
        raise Refused(HTTPStatus.BAD_REQUEST)
    pairs = [(field[1], field[2]) for field in fields if field is not None]
    return request[1].decode("ascii"), request[2].decode("ascii"), pairs


WHY = {
    HTTPStatus.FORBIDDEN: "Open this page by the address that `provision dashboard` prints; each works once.",
    HTTPStatus.BAD_GATEWAY: "The head does not answer: `provision status` says more.",
}


def _send(near: socket.socket, status: HTTPStatus, more: tuple[str, ...] = ()) -> None:
    body = f"{status.phrase}. {WHY.get(status, '')}\n".encode()
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}", "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}", "Connection: close", "Cache-Control: no-store", "Referrer-Policy: no-referrer",
        *more,
    ]  # fmt: skip
    near.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
