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


class Once(Generic[T]):
    """Makes each thing once, whichever thread asks first; a failure is shared, but not remembered.

    Args:
        what: what is made, for the message if it never ends: ``fetching the packages``.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._guard = threading.Lock()
        self._made: dict[str, Future[T]] = {}

    def get(self, key: str, make: Callable[[], T]) -> T:
        """Return what was made under that key, made now by this thread if nobody has begun.

        Raises:
            ProvisionError: the work failed or did not end; each thread gets an error of its own, to which it may add
                its host.
        """
        with self._guard:
            known = self._made.get(key)
            future: Future[T] = known or self._made.setdefault(key, Future())
        if known is None:
            self._work(key, future, make)
        try:
            error = future.exception(timeout=WAIT_LIMIT)
        except TookTooLong:
            raise ProvisionError(f"{self._what} did not end", remedy="Look at the connection and try again.") from None
        if error is None:
            return future.result()
        raise copy.copy(error) if isinstance(error, ProvisionError) else error

    def _work(self, key: str, future: Future[T], make: Callable[[], T]) -> None:
        """Do the work the others wait for, and forget it if it fails so that it can be tried again."""
        try:
            future.set_result(make())
        except BaseException as error:
            with self._guard:
                self._made.pop(key, None)
            future.set_exception(error)
