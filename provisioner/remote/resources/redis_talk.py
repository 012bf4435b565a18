"""A word with the Redis on this host, in its own protocol (redis.io, RESP): is it there, and is it ours?"""

from __future__ import annotations

import socket
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    Trusted = Callable[[socket.socket], bool]

LIMIT = 3.0
"""Seconds for it to answer; it is on this very machine."""
MOST = 65536
"""Bytes of an answer at most."""
STRANGER = "another account's program listens on port %d"


def is_strangers(port: int, trusted: Trusted) -> bool:
    """Tell whether somebody who must not be shown the password listens on a port of this host's loopback."""
    try:
        with socket.create_connection(("127.0.0.1", port), LIMIT) as connection:
            return not trusted(connection)
    except OSError:
        return False


def problem(port: int, password: str, trusted: Trusted, limit: float = LIMIT) -> str:
    """Return in words why no Redis with that password answers on this host's loopback, empty if one does.

    Args:
        port: where it listens.
        password: is shown to whoever ``trusted`` says may see it.
        trusted: judges a connection.
        limit: seconds for all of it.
    """
    deadline = time.monotonic() + limit
    commands = [_command("AUTH", password)] * bool(password) + [_command("PING")]
    try:
        with socket.create_connection(("127.0.0.1", port), limit) as connection:
            connection.settimeout(limit)
            if not trusted(connection):
                return STRANGER % port
            connection.sendall(b"".join(commands))
            said = b""
            while said.count(b"\r\n") < len(commands) and len(said) < MOST:
                connection.settimeout(max(0.01, deadline - time.monotonic()))
                piece = connection.recv(4096)
                if not piece:
                    break
                said += piece
    except OSError as error:
        return error.strerror or str(error) or "no answer"
    if said.endswith(b"+PONG\r\n"):
        return ""
    refusals = [line for line in said.split(b"\r\n") if line.startswith(b"-")]
    return refusals[0][1:200].decode("ascii", "replace") if refusals else "it speaks no Redis"


def _command(*words: str) -> bytes:
    encoded = [word.encode("utf-8") for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
