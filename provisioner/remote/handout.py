"""Hands whole files of the store to the other hosts of a run, while the conversation lasts and not a moment longer.

A small HTTP server: GET and HEAD of ``/<sha256>``, only for files that the controller named, only with the run's token,
only to the members' addresses. A file that is still on its way here is waited for. Whoever else connects is
hung up on before a byte of it is read.
"""

from __future__ import annotations

import os
import socket
import threading
import time

from provisioner.remote import lan
from provisioner.remote.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Set

    from provisioner.remote.host import Host
    from provisioner.remote.store import Store, Wanted

MOST = 256
"""Connections at the same time."""
MOST_EACH = 4
"""Connections at the same time from one host."""
HEAD_LIMIT = 20.0
"""Seconds for a request to arrive; longer than any host pauses between two."""
SLOW = 30.0
"""Seconds in which a host that fetches a file must take some of it."""
WAIT = 3.0
"""Seconds that a request for a file on its way here waits before it is told to come again."""
PAUSE = 0.1
"""Seconds until the next one is let in after this could not be done, for want of file handles or threads."""
_opening = threading.Lock()


def hold(host: Host, order: Dict[str, Any]) -> int:
    """Have files in the store soon, hand them out, and return the port.

    Args:
        host: this one, whose lock the program holds.
        order: ``files``, ``members`` (IP addresses), ``token`` and ``port`` (0: any).

    Raises:
        Failure: the port can't be opened.
    """
    with _opening:
        handout: Optional[Handout] = host.shared.get("handout")
        if handout is None:
            handout = host.shared["handout"] = Handout(host, order)
    handout.hold(order["files"])
    return handout.port


class Handout:
    """The server.

    Args:
        host: this one.
        order: see ``hold``.
    """

    def __init__(self, host: Host, order: Dict[str, Any]) -> None:
        self._host = host
        self._store: Store = host.store
        self._received = host.wire
        self._token = "Bearer " + str(order["token"])
        self._members = {lan.packed(address) for address in order["members"]}
        self._lock = threading.Lock()
        self._held: Set[str] = set()
        self._served: Dict[bytes, int] = {}
        self._closed = False
        self._listener = _listen(host, int(order["port"]))
        self.port: int = self._listener.getsockname()[1]
        self._host = host
        self._gate = host.platform.firewall() if host.platform.privileged() else None
        if self._gate is not None:
            self._gate.lend(host, self.port, order["members"])
        threading.Thread(target=self._accept, daemon=True, name="handout").start()

    def hold(self, files: List[Wanted]) -> None:
        """Hand out these files too; those that are not here are fetched."""
        with self._lock:
            new = [each for each in files if each["sha256"] not in self._held]
            self._held.update(each["sha256"] for each in new)
        if new:
            threading.Thread(target=self._fetch, args=(new,), daemon=True, name="hold").start()

    def close(self) -> None:
        """Let nobody connect any more."""
        self._closed = True
        try:
            self._listener.shutdown(socket.SHUT_RDWR)  # Linux listens on while a thread is in accept
        except OSError:
            pass
        self._listener.close()
        if self._gate is not None:
            self._gate.reclaim(self._host)

    def _fetch(self, files: List[Wanted]) -> None:
        """Have the files here; those that can't be had are handed out no more."""
        from provisioner.remote.brought import adopt

        try:
            for each in files:
                adopt(self._host, each["sha256"], each["filename"])
            self._store.fetch_all(files, "files for the other hosts", direct=True)
        except Exception:  # the disk is full, or the controller gone: whoever wants them is told when it asks
            with self._lock:
                self._held -= {each["sha256"] for each in files if not self._store.whole(each["sha256"])}

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection, peer = self._listener.accept()
            except OSError:  # closed, or whoever connected has hung up, or too many files are open
                time.sleep(PAUSE)
                continue
            try:
                self._admit(connection, lan.packed(peer[0]))
            except (OSError, RuntimeError):  # it is gone, or there can be no further thread
                connection.close()
                time.sleep(PAUSE)

    def _admit(self, connection: socket.socket, address: bytes) -> None:
        if address not in self._members:
            connection.close()
            return
        if not self._enters(address):
            connection.settimeout(1.0)
            _answer(connection, "503 Busy", {"Retry-After": "1", "Connection": "close"})
            connection.close()
            return
        try:
            threading.Thread(target=self._serve, args=(connection, address), daemon=True).start()
        except RuntimeError:
            self._leaves(address)
            raise

    def _enters(self, address: bytes) -> bool:
        with self._lock:
            count = self._served.get(address, 0)
            if count >= MOST_EACH or sum(self._served.values()) >= MOST:
                return False
            self._served[address] = count + 1
            return True

    def _leaves(self, address: bytes) -> None:
        with self._lock:
            self._served[address] -= 1

    def _serve(self, connection: socket.socket, address: bytes) -> None:
        try:
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while self._reply(connection):
                    pass
        except (lan.Broken, OSError):
            return  # whoever it was asks again, or goes elsewhere
        finally:
            self._leaves(address)

    def _reply(self, connection: socket.socket) -> bool:
        """Answer one request; tell whether another may follow."""
        import hmac

        first, headers, rest = lan.read_head(connection, HEAD_LIMIT)
        method, _, path = first.rpartition(" ")[0].partition(" ")
        connection.settimeout(SLOW)
        if not hmac.compare_digest(headers.get("authorization", "").encode("latin-1"), self._token.encode("ascii")):
            return _answer(connection, "403 Forbidden", {"Connection": "close"})
        if method not in ("GET", "HEAD") or rest:
            return _answer(connection, "405 Method Not Allowed", {"Connection": "close"})
        sha256 = path[1:]
        if sha256 not in self._held:
            return _answer(connection, "404 Not Found", {})
        found = self._store.whole(sha256, WAIT)
        if found is None:
            return _answer(connection, "503 On its way", {"X-Received": str(self._received.received)})
        return _send(connection, found, headers.get("range", ""), method == "GET")


def _listen(host: Host, port: int) -> socket.socket:
    """Return a socket that listens on the address under which the other nodes know this host."""
    address = host.node_ip
    listener = socket.socket(lan.family(address), socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # on Windows it would let others take the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(MOST)
    except OSError as error:
        listener.close()
        taken = " by %s" % host.platform.port_owner(port) if port and _is_taken(error) else ""
        raise Failure("it can't listen on %s port %d: %s%s" % (address, port, error.strerror, taken)) from None
    return listener


def _is_taken(error: OSError) -> bool:
    import errno

    return error.errno == errno.EADDRINUSE


def _answer(connection: socket.socket, status: str, headers: Dict[str, str], length: int = 0) -> bool:
    """Send the head of an answer; tell whether another request may follow."""
    lines = ["HTTP/1.1 " + status, "Content-Length: %d" % length]
    lines += ["%s: %s" % header for header in headers.items()]
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    return headers.get("Connection") != "close"


def _send(connection: socket.socket, path: str, wanted: str, with_body: bool) -> bool:
    """Send a file, or the rest of it from the offset that is wanted."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        digits = wanted[len("bytes=") : -1] if wanted.startswith("bytes=") and wanted.endswith("-") else ""
        offset = int(digits) if digits.isdigit() else 0
        if offset and offset >= size:
            return _answer(connection, "416 Range Not Satisfiable", {"Content-Range": "bytes */%d" % size})
        status, headers = "200 OK", {}
        if offset:
            status = "206 Partial Content"
            headers = {"Content-Range": "bytes %d-%d/%d" % (offset, size - 1, size)}
        _answer(connection, status, headers, size - offset)
        if with_body and size > offset:
            connection.sendfile(file, offset, size - offset)
        return True
