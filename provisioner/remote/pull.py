"""Files from the mirror host of a run in place of the controller; whatever is wrong with it, the controller remains."""

from __future__ import annotations

import socket
import time

from provisioner.remote import lan
from provisioner.remote.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional

    from provisioner.remote.store import Arrival, Meter
    from provisioner.remote.wire import Wire

ASK_LIMIT = 1900.0
"""Seconds for the controller to say where files come from; its own limits are shorter."""
CONNECT_LIMIT = 5.0
"""Seconds to get through to the mirror."""
ANSWER_LIMIT = 10.0
"""Seconds without a byte from the mirror."""
PATIENCE = 30.0
"""Seconds in which the mirror must at least receive something itself while we wait for a file."""
SLOWEST = 32 * 1024
"""Bytes in a second, on average over ``PATIENCE``; below that it is no help."""
ATTEMPTS = 2
"""Connections for one file: one may break for no reason."""


class Lost(Exception):
    """The mirror is of no use; in the user's words, after "not from h1:"."""


class Neighbour:
    """The mirror, as this host sees it. After a failure it is not tried again in the same conversation.

    Args:
        wire: the way to the controller.
        own: the address under which the other hosts know this one.
    """

    def __init__(self, wire: Wire, own: str) -> None:
        self._wire = wire
        self._own = own
        self._lost = False

    def receive(self, arrivals: List[Arrival], meter: Meter, keep: Callable[[Arrival], bool]) -> List[Arrival]:
        """Receive what the mirror has and return the rest, which must come from the controller.

        Args:
            arrivals: what is wanted.
            meter: told what arrives.
            keep: takes a file that has come; tells whether it is the right one.
        """
        source = None if self._lost else self._ask(arrivals)
        if source is None:
            return arrivals
        left = list(arrivals)
        meter.begin(source["name"])
        connection = Connection(source, self._own)
        try:
            for arrival in arrivals:
                if arrival.sha256 in source["files"]:
                    _get(connection, arrival, meter, keep)
                    left.remove(arrival)
        except Lost as lost:
            self._lost = True
            self._wire.send({"type": "detour", "reason": str(lost)})
        finally:
            connection.close()
        return left

    def _ask(self, arrivals: List[Arrival]) -> Optional[Dict[str, Any]]:
        wanted = [arrival.sha256 for arrival in arrivals]
        try:
            source: Optional[Dict[str, Any]] = self._wire.ask("controller", "source", {"files": wanted}, ASK_LIMIT)
        except Failure:
            self._lost = True
            return None
        return source


def _get(connection: Connection, arrival: Arrival, meter: Meter, keep: Callable[[Arrival], bool]) -> None:
    """Receive one file whole; Lost if the mirror does not hand it out as it should."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            connection.get(arrival, meter.into(arrival.take))
            break
        except lan.Broken as broken:
            connection.close()
            if attempt == ATTEMPTS:
                raise Lost("%s: %s" % (connection.place, broken)) from None
    if keep(arrival):
        return
    if not arrival.resumed:
        arrival.drop()
        arrival.begin()
        raise Lost("what it handed out as %s is damaged" % arrival.filename)
    arrival.begin_anew()
    _get(connection, arrival, meter, keep)


class Connection:
    """HTTP to the mirror, connected when it is first used.

    Args:
        source: ``address``, ``port`` and ``token``.
        own: the address to come from, for the mirror serves members only.
    """

    def __init__(self, source: Dict[str, Any], own: str) -> None:
        self._address: str = source["address"]
        self._port: int = source["port"]
        self._token: str = source["token"]
        self._own = own
        self.place = "%s port %d" % (self._address, self._port)
        self._socket: Optional[socket.socket] = None

    def get(self, arrival: Arrival, sink: Callable[[bytes], None]) -> None:
        """Hand what is missing of a file to the sink.

        Raises:
            Lost: the mirror does not have it, or is too slow.
            lan.Broken: the connection broke.
        """
        if arrival.have == arrival.size and arrival.have:
            return
        length, rest = self._await(arrival)
        if length != arrival.size - arrival.have:
            raise Lost("it hands out %s with another size" % arrival.filename)
        pace = Pace()
        while True:
            if rest:
                sink(rest[:length])
                length -= len(rest)
                pace.count(len(rest))
            if length <= 0:
                return
            rest = self._receive()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _await(self, arrival: Arrival) -> Any:
        """Return the length of the body that follows and its first bytes, once the mirror has the file itself."""
        patience = Patience()
        while True:
            status, headers, rest = self._ask(arrival)
            if status in ("200", "206"):
                return int(headers.get("content-length", "-1")), rest
            if status != "503":
                raise Lost("it answers HTTP %s" % status)
            if headers.get("connection") == "close":
                self.close()
                time.sleep(1.0)
            patience.check(headers.get("x-received", ""))

    def _ask(self, arrival: Arrival) -> Any:
        lines = ["GET /%s HTTP/1.1" % arrival.sha256, "Authorization: Bearer " + self._token]
        if arrival.have:
            lines.append("Range: bytes=%d-" % arrival.have)
        try:
            if self._socket is None:
                self._socket = self._connect()
            self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        except OSError as error:
            raise lan.Broken(lan.told(error)) from None
        first, headers, rest = lan.read_head(self._socket, ANSWER_LIMIT)
        if not first.startswith("HTTP/1."):
            raise lan.Broken("what answers there is no mirror")
        return first.partition(" ")[2][:3], headers, rest

    def _connect(self) -> socket.socket:
        import errno

        where = (self._address, self._port)
        same = bool(self._own) and lan.family(self._own) == lan.family(self._address)
        try:
            try:
                made = socket.create_connection(where, CONNECT_LIMIT, (self._own, 0) if same else None)
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL:
                    raise
                made = socket.create_connection(where, CONNECT_LIMIT)  # the mirror may know us under another
        except OSError as error:
            raise Lost("%s: %s" % (self.place, lan.told(error))) from None
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def _receive(self) -> bytes:
        assert self._socket is not None
        self._socket.settimeout(ANSWER_LIMIT)
        return lan.received(self._socket, 1 << 18)


class Pace:
    """Gives up on a mirror that sends, but too slowly to be of use."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._bytes = 0

    def count(self, size: int) -> None:
        self._bytes += size
        now = time.monotonic()
        if now - self._since < PATIENCE:
            return
        speed = self._bytes / (now - self._since)
        if speed < SLOWEST:
            raise Lost("it sends only %d kB a second" % (speed // 1000))
        self._since, self._bytes = now, 0


class Patience:
    """Gives up on a mirror that has not got the file and does not receive anything itself."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._received = ""

    def check(self, received: str) -> None:
        now = time.monotonic()
        if received != self._received:
            self._since, self._received = now, received
        elif now - self._since > PATIENCE:
            raise Lost("it receives nothing itself" if received else "too many hosts fetch from it")
