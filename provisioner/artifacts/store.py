"""The front door of this room: locks and their files, made once however many hosts ask at the same time."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TookTooLong
from pathlib import Path
from typing import Any

from provisioner.artifacts.cache import Cache
from provisioner.artifacts.lock import Lock, fingerprint, resolve_lock, settings_in
from provisioner.artifacts.platform import Platform
from provisioner.errors import ProvisionError

WAIT_LIMIT = 4500.0
"""Seconds that a thread waits at most for another one that makes the same lock: uv's limit and fetch's, and some."""


class Artifacts:
    """Locks and the files they name, in the cache of this machine. Any number of threads may use one object.

    Args:
        cache_folder: where the cache is; None: what PROVISION_CACHE says, else the user's cache folder.
    """

    def __init__(self, cache_folder: Path | None = None) -> None:
        self.cache = Cache(cache_folder)
        self._guard = threading.Lock()
        self._made: dict[str, Future[Lock]] = {}

    def lock(
        self,
        platform_facts: Mapping[str, Any],
        python: str,
        requirements: tuple[str, ...],
        progress: Callable[[int, int], None] | None = None,
    ) -> Lock:
        """Return the lock for a host, with all its files in the cache.

        Several threads that ask for the same share one work and its result, be it a lock or an error; a failure is
        not remembered. Only the first one's ``progress`` is called, with the bytes that arrived and those to come.

        Args:
            platform_facts: what the host reports: ``os``, ``arch``, ``libc``, ``libc_version``.
            python: the exact version of Python on it.
            requirements: what to install, as pip writes it.
            progress: told about the downloads.
        """
        platform = Platform.from_facts(platform_facts)
        key = fingerprint(platform, python, requirements, settings_in(os.environ))
        with self._guard:
            known = self._made.get(key)
            ours: Future[Lock] = known or self._made.setdefault(key, Future())
        if known is None:
            self._work(key, ours, lambda: self._make(platform, python, requirements, progress))
        return _outcome(ours)

    def open(self, sha256: str) -> Path:
        """Return the path of a file that a lock names; ProvisionError if it is not in the cache."""
        if path := self.cache.find(sha256):
            return path
        raise ProvisionError(
            f"the file {sha256} is not in the cache {self.cache.folder}", remedy="Run the same command again."
        )

    def _make(
        self,
        platform: Platform,
        python: str,
        requirements: tuple[str, ...],
        progress: Callable[[int, int], None] | None,
    ) -> Lock:
        from provisioner.artifacts.fetch import fetch

        lock = resolve_lock(platform, python, requirements, self.cache)
        fetch((*lock.wheels, lock.uv), self.cache, progress)
        return lock

    def _work(self, key: str, future: Future[Lock], make: Callable[[], Lock]) -> None:
        """Do the work the others wait for, and forget it if it fails so that it can be tried again."""
        try:
            future.set_result(make())
        except BaseException as error:
            with self._guard:
                self._made.pop(key, None)
            future.set_exception(error)


def _outcome(future: Future[Lock]) -> Lock:
    """Return the lock or raise the error; each thread gets an error of its own, to which it may add its host."""
    try:
        error = future.exception(timeout=WAIT_LIMIT)
    except TookTooLong:
        raise ProvisionError(
            "locking and fetching the packages did not end", remedy="Look at the connection and try again."
        ) from None
    if error is None:
        return future.result()
    raise copy.copy(error) if isinstance(error, ProvisionError) else error
