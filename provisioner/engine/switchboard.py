"""Carries one host's questions to another: a worker asks the head who is in the cluster."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as NoAnswer
from contextlib import suppress
from typing import Any

from provisioner.errors import HostFailed, SaysNothing

Message = dict[str, Any]

CONNECT_LIMIT = 30.0
"""Seconds without progress to wait for the asked host to be there at all."""
CONNECT_MOST = 1800.0
"""Seconds to wait for it however it gets on."""
MOST = 48
"""Questions to one host that may be open at once; it refuses more than 64."""


class Switchboard:
    """Knows who can be asked, and lets equal questions that are asked at the same time share one answer."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._lines: dict[str, Future[Any]] = {}
        self._pending: dict[int, tuple[str, Future[Any]]] = {}
        self._shared: dict[str, Future[Any]] = {}
        self._moved: dict[str, float] = {}
        self._number = 0

    def expect(self, host: str) -> None:
        """Note that a host will be there."""
        with self._lock:
            self._lines.setdefault(host, Future())

    def moved(self, host: str) -> None:
        """Note that something goes on with a host; before it is connected, an interpreter may be sent to it."""
        self._moved[host] = time.monotonic()

    def connect(self, host: str, send: Callable[[Message], None]) -> None:
        """Note how a host is asked, now that its conversation is open."""
        self._lines[host].set_result(send)

    def gone(self, host: str) -> None:
        """Note that a host answers no more; whoever waits for it is told."""
        failure = HostFailed(f"{host} is not there to answer")
        with self._lock:
            line, self._lines[host] = self._lines.get(host), Future()
            pending = [future for asked, future in self._pending.values() if asked == host]
        self._lines[host].set_exception(failure)
        for future in ([line] if line is not None else []) + pending:
            _settle(future, failure)
        with self._lock:
            self._lock.notify_all()

    def ask(self, host: str, what: str, args: Any, timeout: float, connect: float = CONNECT_LIMIT) -> Any:
        """Return a host's answer.

        Args:
            args: JSON; or what returns it, called when the host is there.

        Raises:
            HostFailed: the host is not part of the run, is gone, can't say, was not there after ``connect`` seconds
                without progress, or (SaysNothing) said nothing in ``timeout`` seconds.
        """
        if host not in self._lines:
            raise HostFailed(f"{host} takes no part in this run")
        self._await(host, connect)
        args = args() if callable(args) else args
        key = json.dumps([host, what, args], sort_keys=True)
        try:
            begun = time.monotonic()
            future = self._put(host, key, what, args, timeout)
            return future.result(max(0.0, timeout - (time.monotonic() - begun)))
        except NoAnswer:
            raise SaysNothing(f"{host} did not answer within {timeout:.0f} s") from None
        finally:
            with self._lock:
                self._shared.pop(key, None)

    def _await(self, host: str, limit: float) -> None:
        """Wait until a host is there."""
        begun = time.monotonic()
        while True:
            now, end = time.monotonic(), max(begun, self._moved.get(host, begun)) + limit
            try:
                self._lines[host].result(max(0.0, min(end, begun + CONNECT_MOST) - now))
                return
            except NoAnswer:
                if time.monotonic() > max(begun, self._moved.get(host, begun)) + limit or now > begun + CONNECT_MOST:
                    raise HostFailed(f"{host} did not connect within {time.monotonic() - begun:.0f} s") from None

    def reply(self, message: Message) -> None:
        """Take the answer that came from a host."""
        with self._lock:
            _, future = self._pending.pop(message.get("id", -1), ("", None))
            self._lock.notify_all()
        if future is None:
            return
        if "error" in message:
            _settle(future, HostFailed(str(message["error"]), remedy=str(message.get("remedy", ""))))
            return
        with suppress(InvalidStateError):
            future.set_result(message.get("value"))

    def _has_room(self, host: str) -> bool:
        """Tell whether a host may be asked one more; one that is gone may, for it answers nothing."""
        open_now = [number for number, (asked, future) in self._pending.items() if asked == host and not future.done()]
        return len(open_now) < MOST

    def _put(self, host: str, key: str, what: str, args: Any, limit: float) -> Future[Any]:
        with self._lock:
            if not self._lock.wait_for(lambda: key in self._shared or self._has_room(host), limit):
                raise NoAnswer
            if key in self._shared:
                return self._shared[key]
            self._number += 1
            number, future = self._number, Future[Any]()
            self._shared[key] = future
            self._pending[number] = (host, future)
            line = self._lines[host]
        try:
            line.result(0)({"type": "query", "id": number, "what": what, "args": args})
        except Exception as error:
            _settle(future, error)
        return future


def _settle(future: Future[Any], failure: Exception) -> None:
    """Have whoever waits be told that nothing comes, unless something came in this very moment."""
    with suppress(InvalidStateError):
        future.set_exception(failure)
