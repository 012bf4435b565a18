"""One decision before anything that runs is stopped or removed: asked once, for all hosts together."""

from __future__ import annotations

import threading
from collections.abc import Callable

from provisioner.events import Difference


class Consent:
    """Collects what would be stopped, from every host of the run.

    Hosts that stop nothing do not wait for it. The question can be asked as soon as every host has settled, be it by
    having been observed or by having failed.
    """

    def __init__(self, hosts: set[str], given: bool) -> None:
        self._unsettled = set(hosts)
        self._stopping: list[Difference] = []
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self.ready = threading.Event()
        """Set when every host has settled; each host's observation has a limit of its own."""
        self.decision: bool | None = True if given else None

    def listen(self, wake: Callable[[], None]) -> None:
        """Have ``wake`` called when the decision has been made."""
        self._listeners.append(wake)

    def expect(self, host: str) -> None:
        """Wait for one more host, found during the run."""
        with self._lock:
            self._unsettled.add(host)

    def settle(self, host: str, stopping: tuple[Difference, ...] = ()) -> None:
        """Note what a host would stop; nothing if it failed."""
        with self._lock:
            if host not in self._unsettled:
                return
            self._unsettled.discard(host)
            self._stopping.extend(stopping)
            if not self._unsettled:
                self.ready.set()

    def question(self) -> tuple[Difference, ...]:
        """Return what would be stopped."""
        return tuple(self._stopping)

    def decide(self, granted: bool) -> None:
        self.decision = granted
        for wake in list(self._listeners):
            wake()
