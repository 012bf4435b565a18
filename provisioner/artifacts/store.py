"""The front door of this room: locks and their files, made once however many hosts ask at the same time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.artifacts.cache import Cache
from provisioner.artifacts.lock import Lock
from provisioner.artifacts.once import Once
from provisioner.artifacts.platform import Platform
from provisioner.artifacts.sources import Sources
from provisioner.errors import ProvisionError
from provisioner.inventory.model import ArtifactOptions

if TYPE_CHECKING:
    from provisioner.artifacts.compile import Request
    from provisioner.artifacts.interpreter import Archive


class Artifacts:
    """Locks and the files they name, in the cache of this machine. Any number of threads may use one object.

    Args:
        cache_folder: where the cache is; None: what PROVISION_CACHE says, else the user's cache folder.
        options: where packages come from, as the inventory has it.
    """

    def __init__(self, cache_folder: Path | None = None, options: ArtifactOptions | None = None) -> None:
        self.cache = Cache(cache_folder)
        self.sources = Sources(options or ArtifactOptions())
        self._locks = Once[Lock]("locking and fetching the packages")
        self._interpreters = Once["Archive"]("fetching the interpreter")

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
        from provisioner.artifacts.compile import Request
        from provisioner.artifacts.resolve import fingerprint

        request = Request(Platform.from_facts(platform_facts), python, requirements, self.sources)
        return self._locks.get(fingerprint(request), lambda: self._make(request, progress))

    def interpreter(
        self,
        platform_facts: Mapping[str, Any],
        version: str,
        mirror: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Archive:
        """Return the archive of an interpreter for a host, with its file in the cache. Shared as ``lock`` is.

        Args:
            platform_facts: ``os``, ``arch`` and, if known, ``libc`` and ``libc_version``.
            version: the exact version of Python.
            mirror: URL or folder of a copy of python-build-standalone's releases; None: as uv is told, or the original.
            progress: told about the download.

        Raises:
            HostFailed: Ray can't run on that platform.
            ProvisionError: there is no such archive, or it cannot be fetched.
        """
        from provisioner.artifacts.catalogue import Origin
        from provisioner.artifacts.interpreter import interpreter_fingerprint, resolve_interpreter

        platform = Platform.from_facts(platform_facts)
        origin = Origin.of(mirror, os.environ)
        key = interpreter_fingerprint(platform, version, origin)
        return self._interpreters.get(key, lambda: resolve_interpreter(platform, version, origin, self.cache, progress))

    def open(self, sha256: str) -> Path:
        """Return the path of a file that a lock names; ProvisionError if it is not in the cache."""
        if path := self.cache.find(sha256):
            return path
        raise ProvisionError(
            f"the file {sha256} is not in the cache {self.cache.folder}", remedy="Run the same command again."
        )

    def _make(self, request: Request, progress: Callable[[int, int], None] | None) -> Lock:
        from provisioner.artifacts.resolve import resolve_lock

        lock = resolve_lock(request, self.cache)
        self._fetch(lock, progress)
        return lock

    def _fetch(self, lock: Lock, progress: Callable[[int, int], None] | None) -> None:
        """Have all files of a lock in the cache."""
        from provisioner.artifacts.fetch import fetch

        for wheel in lock.wheels:
            if wheel.sdist and not self.cache.find(wheel.sha256, wheel.size):
                from provisioner.artifacts.sdists import build_again

                build_again(wheel, lock.python, self.sources, self.cache)
        fetch((*lock.wheels, lock.uv), self.cache, progress, login=self.sources.login)
