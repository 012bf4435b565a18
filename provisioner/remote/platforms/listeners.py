"""Linux: TCP sockets of this host by /proc/net/tcp (proc(5)), and which accounts hold the other end of a connection.

Who listens on a port may have changed since a connection was made, and a connection that nobody has taken from the
listener yet has no owner. So both are looked at, the listeners first: one that has ended by then has ended every
connection that it had not taken.
"""

from __future__ import annotations

import os
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, List, Set, Tuple

LISTENS = "0A"
LOCAL, REMOTE, STATE, UID, INODE = 1, 2, 3, 7, 9
"""Columns of the tables."""


def tables(root: str = "/") -> Iterator[List[List[str]]]:
    """Return the rows of each table that can be read, of IPv4 and of IPv6; addresses and ports are in hexadecimal.

    Args:
        root: where the system's files lie.
    """
    for table in ("tcp", "tcp6"):
        try:
            with open(os.path.join(root, "proc/net", table)) as file:
                yield [line.split() for line in file.readlines()[1:]]
        except OSError:
            continue


def listeners(root: str = "/") -> Iterator[Tuple[str, int, str]]:
    """Return what listens: the address as the kernel prints it, the port, and the socket's inode."""
    for rows in tables(root):
        for row in rows:
            if row[STATE] == LISTENS:
                address, _, port = row[LOCAL].partition(":")
                yield address, int(port, 16), row[INODE]


def is_held_by(connection: socket.socket, uids: Set[int], root: str = "/") -> bool:
    """Tell whether some accounts, and no others, hold the other end of a connection; True if the system does not say.

    Args:
        connection: to a port of this host.
        uids: the accounts.
        root: where the system's files lie.
    """
    own, peer = (_written(name) for name in (connection.getsockname(), connection.getpeername()))
    anywhere = {"0" * 8 + peer[0][-5:], "0" * 32 + peer[0][-5:]}
    known, bound, wildcard, taken = False, [], [], []
    for rows in tables(root):
        known = True
        for row in rows:
            if row[STATE] == LISTENS:
                bound += [int(row[UID])] if row[LOCAL] in peer else []
                wildcard += [int(row[UID])] if row[LOCAL] in anywhere else []
            elif row[LOCAL] in peer and row[REMOTE] in own and row[INODE] != "0":
                taken.append(int(row[UID]))
    holders = {*(bound or wildcard), *taken}
    return not known or (bool(holders) and holders <= uids)


def _written(name: Tuple[str, int]) -> List[str]:
    """Return an address and port as the tables have them: of IPv4 in both, of IPv6 in one."""
    address, port = str(name[0]).partition("%")[0], ":%04X" % name[1]
    if ":" in address:
        return [_words(socket.inet_pton(socket.AF_INET6, address)) + port]
    text = _words(socket.inet_aton(address))
    mapped = _words(b"\0" * 10 + b"\xff\xff" + socket.inet_aton(address))
    return [text + port, mapped + port]


def _words(address: bytes) -> str:
    """Return an address as the kernel prints it: each four bytes as a number of this machine."""
    parts = (address[at : at + 4] for at in range(0, len(address), 4))
    return "".join("%08X" % int.from_bytes(part, sys.byteorder) for part in parts)
