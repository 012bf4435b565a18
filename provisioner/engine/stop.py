"""The end of a run before its time: in good order when the user asks once, at once when asked twice. A run that lost
its turn ends in good order, too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from provisioner import portable
from provisioner.engine.conversation import STOP_LIMIT, Conversation

INTERRUPTED = 130
"""Exit code of a run that the user ended."""
HEAD_LIMIT = 5.0
"""Seconds that the head, which the others may still need, gets to end after them."""


class Stoppable(Protocol):
    """A run, as far as it is ended here."""

    stopping: threading.Event
    """Set when nothing more may begin on any host."""

    def all(self) -> Sequence[Conversation]:
        """Return every conversation that was begun."""

    def begin_to_stop(self) -> None:
        """Have nothing more begun on any host."""

    def tell_now(self, message: str, remedy: str) -> None:
        """Tell the user something at once."""


class Stop:
    """Waits with an ear for the user.

    Args:
        run: what is waited for, and ended.
        interruptions: returns how often the user wanted the run ended.
    """

    def __init__(self, run: Stoppable, interruptions: Callable[[], int]) -> None:
        self._run = run
        self._interruptions = interruptions
        self._since = 0.0
        self.begun = False
        """Whether the user wants it ended."""

    def wait(self, event: threading.Event) -> bool:
        """Wait for an event; returns False when the run was ended before."""
        while not event.wait(portable.POLL):
            wanted = self.look()
            if wanted > 1 or (self._since and self._is_over()):
                return False
        self.look()
        return True

    def look(self) -> int:
        """Begin to stop if the user wants that; returns how often that was said."""
        wanted = self._interruptions()
        if wanted and not self.begun:
            self._begin()
        if self._run.stopping.is_set():
            self._since = self._since or time.monotonic()
        return wanted

    def wait_for_all(self) -> None:
        """Wait for every conversation, also for those that begin meanwhile."""
        while talk := next((talk for talk in self._run.all() if not talk.finished.is_set()), None):
            if not self.wait(talk.finished):
                return

    def _begin(self) -> None:
        self.begun, self._since = True, time.monotonic()
        self._run.begin_to_stop()
        self._run.tell_now(
            f"stopping: each host finishes or undoes its current step (within {STOP_LIMIT:.0f} s), no other is begun",
            "once more Ctrl-C ends it at once",
        )

    def _is_over(self) -> bool:
        """Give up those that were never reached, or do not come to an end; tell whether nobody is left."""
        passed = time.monotonic() - self._since
        for talk in self._run.all():
            late = passed > STOP_LIMIT + (HEAD_LIMIT if talk.host.role == "head" else 0.0)
            if late or not talk.reached:
                talk.abandon()
        return all(talk.finished.is_set() for talk in self._run.all())
