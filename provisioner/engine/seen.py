"""What a host has said of itself when it was looked at: what is not as declared, play by play."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from provisioner.events import Difference

Message = dict[str, Any]

PURGE = "Remove everything"


class Seen:
    """One look at a host.

    Args:
        host: its name.
        observed: the message with which it says what it saw; None: it was not looked at yet.
    """

    def __init__(self, host: str, observed: Message | None = None) -> None:
        self._known = observed is not None
        told = observed or {"tasks": []}
        self._rows: dict[int, list[Message]] = {}
        found = []
        for row in told["tasks"]:
            self._rows.setdefault(row["play"], []).append(row)
            found += [Difference(host, row["task"], **difference) for difference in row["differences"]]
        self.good = sum(not row["differences"] for row in told["tasks"])
        """How many tasks are as declared."""
        self.purged = tuple(Difference(host, PURGE, **each) for each in told.get("purged") or [])
        """What goes at the very end of a teardown."""
        self.differences: tuple[Difference, ...] = (*found, *self.purged)
        self.stops = tuple(each.stops for each in self.differences if each.stops)
        """What runs and would be stopped, in words."""
        self.cannot: list[str] = told.get("cannot") or []
        """Why this host can do nothing of the kind, whatever happens meanwhile, and what to do instead."""
        self.untidy = bool(told.get("untidy"))
        """Whether a teardown tidies up there even if no task has anything to undo."""
        self.dropped: dict[str, dict[str, Any]] = told.get("dropped") or {}
        """Hosts that are no longer in the inventory, as the head remembers them."""

    def __bool__(self) -> bool:
        """Whether the host was looked at."""
        return self._known

    def is_due(self, play: int) -> bool:
        """Tell whether something of a play is not as declared."""
        return self.count(play) > 0

    def count(self, play: int) -> int:
        """Return how many tasks of a play have something to do."""
        return sum(bool(row["differences"]) for row in self._rows.get(play, []))

    def stops_in(self, play: int) -> bool:
        """Tell whether a play would stop something that runs."""
        return any(difference["stops"] for row in self._rows.get(play, []) for difference in row["differences"])

    def undone(self, done: Collection[tuple[int, str]]) -> list[str]:
        """Return the tasks that had something to do and were not done.

        Args:
            done: number of the play and name of each that was.
        """
        rows = [(play, row) for play, rows in sorted(self._rows.items()) for row in rows if row["differences"]]
        return [row["task"] for play, row in rows if (play, row["task"]) not in done]
