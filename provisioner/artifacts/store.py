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
    from provisioner.artifacts.bundle import Bundle
    from provisioner.artifacts.compile import Request
    from provisioner.artifacts.interpreter import Archive
    from provisioner.artifacts.lockset import LockSet
    from provisioner.artifacts.slice import Slice


class Artifacts:
    """Locks and the files they name, in the cache of this machine. Any number of threads may use one object.

    Args:
        cache_folder: where the cache is; None: what PROVISION_CACHE says, else the user's cache folder.
        options: where packages come from, as the inventory has it.
        locks: exactly these packages and interpreters are given, and no others are looked for.
        bundle: all files are in it, and nothing is fetched.
    """

    def __init__(
        self,
        cache_folder: Path | None = None,
        options: ArtifactOptions | None = None,
        locks: LockSet | None = None,
        bundle: Bundle | None = None,
    ) -> None:
        self.cache = Cache(cache_folder)
        self.sources = Sources(options or ArtifactOptions())
        self.locks = locks
        self.bundle = bundle
        self._locks = Once[Lock]("locking and fetching the packages")
        self._interpreters = Once["Archive"]("fetching the interpreter")

    @property
    def fixed(self) -> bool:
        """Whether it was settled before what hosts get, by a lock file or a bundle."""
        return self.locks is not None

    def lock(
        self,
        platform_facts: Mapping[str, Any],
        python: str,
        requirements: tuple[str, ...],
        progress: Callable[[int, int], None] | None = None,
        *,
        declared: Platform | None = None,
    ) -> Lock:
        """Return the lock for a host, with all its files in the cache.

        Several threads that ask for the same share one work and its result, be it a lock or an error; a failure is
        not remembered. Each one's ``progress`` is called, with the bytes that arrived and those to come.

        Args:
            platform_facts: what the host reports: ``os``, ``arch``, ``libc``, ``libc_version``, ``macos_version``.
            python: the exact version of Python on it.
            requirements: what to install, as pip writes it.
            progress: told about the downloads.
            declared: the platform that the inventory says the host has, or that was assumed of it.

        Raises:
            HostFailed: Ray can't run on that platform, or nothing was locked for the host.
            ProvisionError: the packages cannot be locked or fetched.
        """
        from provisioner.artifacts.compile import Request
        from provisioner.artifacts.resolve import fingerprint

        actual = Platform.from_facts(platform_facts)
        if self.locks is not None:
            locked = self.locks.lock_for(actual, declared or actual, python, requirements)
            return self._locks.get(locked.digest, lambda tell: self._provide(locked, tell), progress)
        request = Request(actual, python, requirements, self.sources)
        return self._locks.get(fingerprint(request), lambda tell: self._make(request, tell), progress)

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
            HostFailed: Ray can't run on that platform, or nothing was locked for the host.
            ProvisionError: there is no such archive, or it cannot be fetched.
        """
        from provisioner.artifacts.catalogue import Origin
        from provisioner.artifacts.interpreter import interpreter_fingerprint, resolve_interpreter
        from provisioner.artifacts.provide import provide_interpreter

        platform = Platform.from_facts(platform_facts)
        if self.locks is not None:
            locked = self.locks.interpreter_for(platform, version)
            if self.bundle:
                return locked
            return self._interpreters.get(
                locked.sha256, lambda tell: provide_interpreter(locked, platform, mirror, self.cache, tell), progress
            )
        origin = Origin.of(mirror, os.environ)
        key = interpreter_fingerprint(platform, version, origin)
        return self._interpreters.get(
            key, lambda tell: resolve_interpreter(platform, version, origin, self.cache, tell), progress
        )

    def open(self, sha256: str) -> Path | Slice:
        """Return where a file is that a lock names: in the bundle, else in the cache; see ``path``."""
        return (self.bundle.find(sha256) if self.bundle else None) or self.path(sha256)

    def path(self, sha256: str) -> Path:
        """Return the path of a file in the cache, copied from the bundle if it is there.

        It is hashed before a process gives it away for the first time.

        Raises:
            ProvisionError: it is nowhere, or was damaged in the cache since it came there.
        """
        if part := self.bundle.find(sha256) if self.bundle else None:
            self.cache.keep(sha256, sha256, part.chunks, size=part.size)
        if path := self.cache.find_whole(sha256):
            return path
        raise ProvisionError(
            f"the file {sha256} is not in the cache {self.cache.folder}", remedy="Run the same command again."
        )

    def _make(self, request: Request, progress: Callable[[int, int], None] | None) -> Lock:
        from provisioner.artifacts.resolve import resolve_lock

        return self._provide(resolve_lock(request, self.cache), progress)

    def _provide(self, lock: Lock, progress: Callable[[int, int], None] | None) -> Lock:
        from provisioner.artifacts.provide import provide

        if self.bundle:
            return lock
        return provide(lock, self.cache, self.sources, progress)
