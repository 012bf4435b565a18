"""Our end of the channel to one host: an inbox that a thread of its own fills, and waiting that has limits."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from provisioner.engine.manners import Manners
from provisioner.errors import HostFailed, ProvisionError, Unreachable
from provisioner.transport.session import SILENCE, Session

Message = dict[str, Any]

BEAT = 5.0
"""Seconds between two signs of life to the host, which gives us up after 30."""
WAITED = {
    "facts": "to say what it is",
    "observed": "to look at what it has been told",
    "bye": "to tidy up at the end",
    "stopped": "to finish or undo what it was doing",
}
"""What a host is waited for, in words, by the message that ends the wait."""


class Line:
    """Messages to and from one host. One thread waits; any thread may send and wake it.

    Args:
        name: the host's inventory name, for the reading thread.
        manners: judges what the host says before anybody hears it.
        take: called with every message that is not the one waited for.
        watch: called with ``time.monotonic()`` about once a second while waiting; may raise to end the wait.
    """

    def __init__(
        self, name: str, manners: Manners, take: Callable[[Message], None], watch: Callable[[float], None]
    ) -> None:
        self._name = name
        self._manners = manners
        self._take = take
        self._watch = watch
        self._inbox: queue.Queue[Message] = queue.Queue()
        self._session: Session | None = None
        self._over = threading.Event()
        self._depends = False
        """Waits for something that other conversations do; only then is it worth waking."""

    def connect(self, session: Session) -> None:
        """Begin to read what the host says; HostFailed if that begins badly."""
        self._session = session
        self._inbox.put(self._manners.check(session.first))
        threading.Thread(target=self._read, args=(session,), daemon=True, name=f"read {self._name}").start()
        threading.Thread(target=self._beat, args=(session,), daemon=True, name=f"beat {self._name}").start()

    @property
    def session(self) -> Session:
        assert self._session is not None
        return self._session

    @property
    def silence(self) -> float:
        """Seconds since the host gave a sign of life; 0 before it was reached."""
        return time.monotonic() - self._session.wire.last_heard if self._session else 0.0

    def send(self, message: Message) -> None:
        """Send one message; Unreachable if the connection is gone."""
        self._manners.sent(message)
        self.session.wire.send(message)

    def wake(self) -> None:
        """Have ``wait`` look at its condition again."""
        if self._depends:
            self._inbox.put({"type": "wake"})

    def expect(self, kind: str, limit: float | None) -> Message:
        """Take messages until one of that kind comes; ``limit`` in seconds, None: whatever watches sets one.

        Raises:
            HostFailed, Unreachable: it did not come in time, or the host is silent.
        """
        found: list[Message] = []

        def is_it(message: Message) -> bool:
            if message["type"] == kind:
                found.append(message)
            return bool(found)

        self._depends = False
        self._pump(lambda: bool(found), is_it, limit, kind)
        return found[0]

    def wait(self, done: Callable[[], bool]) -> None:
        """Take messages until ``done()``, which is asked after each message and each ``wake``."""
        self._depends = True
        self._pump(done, lambda message: False, None, "")

    def close(self) -> None:
        self._over.set()
        if self._session is not None:
            self._session.close()

    def _read(self, session: Session) -> None:
        """Put every message into the inbox until the host ends the conversation or breaks its rules."""
        try:
            while (message := session.wire.receive()) is not None:
                self._manners.check(message)
                if message["type"] in ("reply", "piece"):
                    session.wire.forgive()
                if message["type"] == "bye" and message.get("left"):
                    self._over.set()  # the program has ended: nobody is there to be told of us
                    session.sweep(message["left"])
                self._inbox.put(message)
        except ProvisionError as error:
            self._inbox.put({"type": "error", "message": error.message, "remedy": error.remedy, "task": ""})
        self._over.set()
        session.close()  # what is being sent on a link that went dead would keep everybody waiting
        self._inbox.put({"type": "closed"})

    def _beat(self, session: Session) -> None:
        """Tell the host that we are there. Not in a thread that does anything else: one that tells the user something
        waits as long as the terminal is held (Ctrl-S, a text that is being marked)."""
        while not self._over.wait(BEAT):
            try:
                session.wire.send({"type": "beat"})
            except Unreachable:
                return  # who reads notices it too

    def _pump(self, done: Callable[[], bool], is_it: Callable[[Message], bool], limit: float | None, kind: str) -> None:
        """Take messages from the inbox until ``done()``."""
        begun = time.monotonic()
        while not done():
            if limit and time.monotonic() - begun > limit:
                raise HostFailed(
                    f"the host took more than {limit:.0f} s {WAITED.get(kind, f'to say {kind!r}')}",
                    remedy="look at its load and disk, then run the same command again",
                )
            self._look_around()
            try:
                message = self._inbox.get(timeout=1.0)
            except queue.Empty:
                continue
            if message["type"] != "wake" and not is_it(message):
                self._take(message)

    def _look_around(self) -> None:
        now = time.monotonic()
        silent = now - self.session.wire.last_heard
        if silent > SILENCE:
            raise Unreachable(f"the host has been silent for {silent:.0f} s", remedy="is it on, and its link up?")
        self._watch(now)
