"""One work and its result for all threads that ask for the same thing."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TookTooLong
from typing import Generic, TypeVar

from provisioner.errors import ProvisionError

WAIT_LIMIT = 4500.0
"""Seconds that a thread waits at most for another one: uv's own limit and that of the downloads, and some."""

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""Called with the bytes that have arrived and the bytes to come in all."""


class Once(Generic[T]):
    """Makes each thing once, whichever thread asks first; a failure is shared, but not remembered.

    Args:
        what: what is made, for the message if it never ends: ``fetching the packages``.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._guard = threading.Lock()
        self._made: dict[str, Future[T]] = {}
        self._listeners: dict[str, list[Progress]] = {}

    def get(self, key: str, make: Callable[[Progress], T], progress: Progress | None = None) -> T:
        """Return what was made under that key, made now by this thread if nobody has begun.

        Args:
            key: names the thing.
            make: makes it, and tells how far it is.
            progress: told while this thread waits, whichever thread does the work.

        Raises:
            ProvisionError: the work failed or did not end; each thread gets an error of its own, to which it may add
                its host.
        """
        with self._guard:
            known = self._made.get(key)
            future: Future[T] = known or self._made.setdefault(key, Future())
            if progress and not future.done():
                self._listeners.setdefault(key, []).append(progress)
        if known is None:
            self._work(key, future, make)
        try:
            error = future.exception(timeout=WAIT_LIMIT)
        except TookTooLong:
            raise ProvisionError(f"{self._what} did not end", remedy="Look at the connection and try again.") from None
        if error is None:
            return future.result()
        raise copy.copy(error) if isinstance(error, ProvisionError) else error

    def _work(self, key: str, future: Future[T], make: Callable[[Progress], T]) -> None:
        """Do the work the others wait for, and forget it if it fails so that it can be tried again."""
        try:
            made = make(lambda done, total: self._tell(key, done, total))
        except BaseException as error:
            with self._guard:
                self._made.pop(key, None)
                self._listeners.pop(key, None)
            future.set_exception(error)
            return
        future.set_result(made)
        with self._guard:
            self._listeners.pop(key, None)

    def _tell(self, key: str, done: int, total: int) -> None:
        with self._guard:
            listeners = list(self._listeners.get(key, ()))
        for progress in listeners:
            progress(done, total)
