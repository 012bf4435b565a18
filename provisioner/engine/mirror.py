"""The mirror host of a run: it receives each file once over the way from here, and the other hosts fetch it there.

Only packages and interpreters go that way, for they are the same on many hosts and no secret of one of them.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from provisioner.errors import HostFailed, NoTurn

CONNECT_LIMIT = 180.0
"""Seconds without progress until the mirror is there, which may be as bare as the others: to wait is quicker than to
send all to each."""
HOLD_LIMIT = 20.0
"""Seconds for the mirror to say where it hands out files; it fetches them meanwhile."""
RECOVERY = 60.0
"""Seconds in which a mirror that failed is not asked again: others need not wait for it too."""
NO_MIRROR = "or set `artifacts: {mirror: none}`"

File = dict[str, Any]
"""``sha256``, ``filename`` and ``size`` in bytes."""


class Mirror:
    """Who hands out files in a run, if anybody, and whether it still does.

    Args:
        name: the host that does; None: everything comes from here.
        members: the IP address of every host of the run, by name.
        port: the TCP port; 0: any free one.
        ask: asks a host a question: name, what, arguments, limit in seconds, and another for it to connect.
        tell: tells the user of a host once: name, message, remedy.
    """

    def __init__(
        self,
        name: str | None,
        members: Mapping[str, str],
        port: int,
        ask: Callable[[str, str, Any, float, float], Any],
        tell: Callable[[str, str, str], None],
    ) -> None:
        self.name = name
        self._members = dict(members)
        self._port = port
        self._ask = ask
        self._tell = tell
        self._token = secrets.token_hex(32)
        self._lock = threading.Lock()
        self._offered: dict[str, File] = {}
        self._failed: float | None = None
        self._told: set[str] = set()

    def offer(self, files: list[File]) -> None:
        """Note what hosts of this run were told to fetch: nothing else is handed out."""
        with self._lock:
            self._offered.update({each["sha256"]: each for each in files})

    def has(self, sha256: str) -> bool:
        """Tell whether that file is one of those."""
        with self._lock:
            return sha256 in self._offered

    def serves(self, host: str) -> bool:
        """Tell whether a host may get files from it."""
        return self.name is not None and host != self.name and host in self._members

    def source(self, asker: str, wanted: list[str]) -> dict[str, Any] | None:
        """Return where a host gets files, None: from here.

        Args:
            asker: the host's inventory name.
            wanted: the sha256 of each file that it lacks.

        Returns:
            ``name``, ``address``, ``port``, ``token``, and the ``files`` (sha256) that are there, or soon will be.

        Raises:
            NoTurn: nothing may be sent anywhere.
        """
        name = self.name
        if name is None or not self.serves(asker) or self._is_recovering():
            return None
        with self._lock:
            files = [self._offered[sha256] for sha256 in wanted if sha256 in self._offered]
        if not files:
            return None
        members = sorted(set(self._members.values()))
        order = {"port": self._port, "token": self._token, "members": members, "files": files}
        try:
            port = self._ask(name, "hold", order, HOLD_LIMIT, CONNECT_LIMIT)
            if not isinstance(port, int) or not 1 <= port <= 65535:
                raise HostFailed("it does not say on which port")
        except NoTurn:
            raise
        except HostFailed as failure:
            self._failed = time.monotonic()
            self._tell_once(name, f"it hands no files to the other hosts, they get them from here: {failure.message}")
            return None
        held = [each["sha256"] for each in files]
        return {"name": name, "address": self._members[name], "port": port, "token": self._token, "files": held}

    def _is_recovering(self) -> bool:
        return self._failed is not None and time.monotonic() - self._failed < RECOVERY

    def detour(self, host: str, reason: str, remedy: str = "") -> None:
        """Note that a host could not get its files from the mirror and gets them from here; what could be done about
        it, if it is not the port."""
        self._tell_once(host, f"its files come from here and not from {self.name}: {reason}", remedy)

    def _tell_once(self, host: str, message: str, remedy: str = "") -> None:
        """Tell the first host's trouble of a kind: the others' is the same."""
        port = f"open a TCP port of {self.name} to the other hosts (`artifacts: {{port: 7000}}`)"
        with self._lock:
            told = remedy in self._told
            self._told.add(remedy)
        if not told:
            self._tell(host, message, f"{remedy or port}, {NO_MIRROR}")
