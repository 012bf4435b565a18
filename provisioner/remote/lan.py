"""HTTP as the hosts speak it among themselves, on plain sockets: http.client alone takes longer to import than a small
file takes to arrive."""

from __future__ import annotations

import socket
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Tuple

LONGEST_HEAD = 4096
"""Bytes of a request or an answer without its body."""


class Broken(Exception):
    """The other side hung up, was too slow, or does not speak as it should."""


def read_head(connection: socket.socket, limit: float) -> Tuple[str, Dict[str, str], bytes]:
    """Return the first line, the headers by small name, and what came of the body with them.

    Args:
        connection: with bytes of nothing else before the head.
        limit: seconds for all of it, however slowly it comes.

    Raises:
        Broken: it did not come in time, is too long, or the other side hung up.
    """
    deadline, said = time.monotonic() + limit, b""
    while b"\r\n\r\n" not in said:
        left = deadline - time.monotonic()
        if left <= 0 or len(said) > LONGEST_HEAD:
            raise Broken("what it says does not end")
        connection.settimeout(left)
        piece = received(connection, LONGEST_HEAD)
        said += piece
    head, _, rest = said.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return first, {name.strip().lower(): value.strip() for name, _, value in pairs}, rest


def received(connection: socket.socket, size: int) -> bytes:
    try:
        piece = connection.recv(size)
    except OSError as error:
        raise Broken(told(error)) from None
    if not piece:
        raise Broken("it hung up")
    return piece


def told(error: OSError) -> str:
    """Return what went wrong on a connection, in few words."""
    if isinstance(error, (socket.timeout, TimeoutError)):
        return "it does not answer"
    return "%s" % (error.strerror or error)


def family(address: str) -> socket.AddressFamily:
    """Return the family of an IP address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def packed(address: str) -> bytes:
    """Return an IP address as bytes, the same for every way to write it; IPv4 inside IPv6 is IPv4."""
    plain = address.partition("%")[0]
    found = socket.inet_pton(family(plain), plain)
    return found[12:] if found.startswith(b"\0" * 10 + b"\xff\xff") and len(found) == 16 else found
