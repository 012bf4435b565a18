"""What all conversations of a run share, and what they may ask of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from provisioner.engine.census import Census
from provisioner.engine.consent import Consent
from provisioner.engine.mirror import Mirror
from provisioner.engine.options import RunOptions
from provisioner.engine.switchboard import Switchboard
from provisioner.engine.turn import Turn
from provisioner.events import Event
from provisioner.inventory.model import Host
from provisioner.transport.choice import Choice
from provisioner.transport.connect import Connector
from provisioner.transport.session import Become, Session
from provisioner.transport.target import Target


class Packages(Protocol):
    """Where package locks and files come from (provisioner.artifacts)."""

    @property
    def fixed(self) -> bool:
        """Whether it was settled before the run what hosts get, by a lock file or a bundle."""

    def lock(
        self,
        platform_facts: Any,
        python: str,
        requirements: tuple[str, ...],
        progress: Callable[[int, int], None] | None = None,
        *,
        declared: Any,
    ) -> Any: ...

    def interpreter(
        self,
        platform_facts: Any,
        version: str,
        mirror: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Any: ...

    def open(self, sha256: str) -> Any: ...

    def path(self, sha256: str) -> Path: ...


class Shared(Protocol):
    """A run, as one of its conversations sees it."""

    options: RunOptions
    number: int
    """Tells runs apart, and which came first: seconds since the epoch when it began."""
    artifacts: Packages
    connector: Connector
    consent: Consent
    census: Census
    mirror: Mirror
    switchboard: Switchboard
    names: frozenset[str]
    """Of all hosts of the cluster."""
    slots: threading.Semaphore
    """Held while a host works; not while it waits for others."""
    changed: threading.Event
    """Set as soon as anything was changed on any host."""
    turn: Turn
    who: str
    """Who runs this, and on which machine."""
    stopping: threading.Event
    """Set when the run is ended before its time: what is being done is finished, and nothing else is begun."""
    why_stopping: str
    """What a host that was not finished says of the reason, if that is not the user."""

    def emit(self, event: Event) -> None:
        """Tell the reports."""

    def now(self) -> float:
        """Return seconds since the run began."""

    def target(self, host: Host) -> tuple[Target, Become | None]:
        """Return how a host is reached."""

    def choice(self, host: Host, doing: Callable[[str], None]) -> Choice:
        """Return what Python a host's program may run on; ``doing`` is told of what is fetched for it."""

    def answer(self, to: str, what: str, args: Any, asker: Host, moving: Callable[[], None]) -> Any:
        """Answer a host's question, or have another host answer it.

        Args:
            moving: called now and then while it takes long and gets on.

        Raises:
            HostFailed: nobody can.
        """

    def found_dropped(self, hosts: dict[str, dict[str, Any]]) -> None:
        """Take note of hosts that belong to the cluster and are no longer in the inventory."""

    def opened(self, name: str, session: Session, send: Callable[[dict[str, Any]], None]) -> None:
        """Note the connection to a host, through which tunnels go, and how it is asked others' questions."""

    def may_begin(self) -> bool:
        """Tell whether it is certain that this run still has the turn."""

    def others_finished(self, name: str) -> bool:
        """Tell whether every conversation but that host's has ended."""

    def head_is_through(self) -> bool:
        """Tell whether the head has no more work to do."""

    def others_through(self, name: str) -> bool:
        """Tell whether no conversation but that host's has any more work to do."""

    def is_stopped(self, host: Host) -> bool:
        """Tell whether the run is ended before its time and a host is needed by no other one any more."""

    def wake_all(self) -> None:
        """Have every conversation look at what it waits for."""
