"""Answers hosts that ask for packages, for an interpreter, and where their files come from."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from provisioner.artifacts.platform import Platform
from provisioner.engine.mirror import Mirror
from provisioner.engine.shared import Packages
from provisioner.errors import HostFailed
from provisioner.inventory.model import Host, Inventory
from provisioner.ray import start

_VERSION = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}([a-z]+[0-9]+)?\+?")
TELL = 0.5
"""Seconds between two words about a download."""


class Supplies:
    """What hosts are supplied with.

    Args:
        inventory: the cluster.
        artifacts: where it comes from.
        mirror: who hands it out, beside this machine.
        doing: tells what a host waits for.
        notice: tells the user something: host or nothing, message, remedy.
    """

    def __init__(
        self,
        inventory: Inventory,
        artifacts: Packages,
        mirror: Mirror,
        doing: Callable[[str, str], None],
        notice: Callable[[str, str, str], None],
    ) -> None:
        self._inventory = inventory
        self._artifacts = artifacts
        self._mirror = mirror
        self._doing = doing
        self._notice = notice
        self._told_of_locking = threading.Event()

    def lock(self, args: Any, asker: Host, moving: Callable[[], None]) -> dict[str, Any]:
        """Return the packages of a host; ``moving`` is called while a download gets on."""
        _require(args, facts=dict, python=str)
        if not _VERSION.fullmatch(args["python"]):
            raise HostFailed(f"there is no Python {args['python'][:40]!r}")
        wanted = tuple(start.requirements(asker, self._inventory))
        progress = self._progress(asker, f"packages for {Platform.from_facts(args['facts']).key}", moving)
        declared = Platform.of_host(asker)
        lock = self._artifacts.lock(args["facts"], args["python"], wanted, progress, declared=declared)
        if not self._artifacts.fixed:
            self._tell_of_locking()
        wheels, uv = [self._file(wheel) for wheel in lock.wheels], self._file(lock.uv)
        return {"digest": lock.digest, "requirements": lock.requirements, "wheels": wheels, "uv": uv}

    def interpreter(self, args: Any, asker: Host, moving: Callable[[], None]) -> dict[str, Any]:
        """Return the archive with an interpreter for a host; only mirrors that the inventory names are asked."""
        _require(args, facts=dict, version=str)
        if not _VERSION.fullmatch(args["version"]):
            raise HostFailed(f"there is no Python {args['version'][:40]!r}")
        mirror = args.get("mirror")
        if mirror not in {None, *(host.interpreter.mirror for host in self._inventory.hosts)}:
            raise HostFailed(f"the inventory names no mirror {mirror}")
        progress = self._progress(asker, f"Python {args['version']}", moving)
        return self._file(self._artifacts.interpreter(args["facts"], args["version"], mirror, progress))

    def source(self, args: Any, asker: Host) -> dict[str, Any] | None:
        """Return where a host gets files, None: from here."""
        _require(args, files=list)
        if not all(isinstance(each, str) for each in args["files"]):
            raise HostFailed("files are asked for by their sha256")
        if self._mirror.name not in (None, asker.name):
            self._doing(asker.name, f"asking {self._mirror.name} for files")
        return self._mirror.source(asker.name, args["files"])

    def _file(self, file: Any) -> dict[str, Any]:
        """Return how a file of the cache is asked for; from now on it may come from the mirror."""
        told = {"filename": file.filename, "sha256": file.sha256, "size": file.size}
        self._mirror.offer([told])
        return told

    def _progress(self, host: Host, what: str, moving: Callable[[], None]) -> Callable[[int, int], None]:
        return in_megabytes(lambda text: self._doing(host.name, text), what, moving)

    def _tell_of_locking(self) -> None:
        if self._told_of_locking.is_set():
            return
        self._told_of_locking.set()
        file, here = self._inventory.file, Path.cwd()
        name = file.relative_to(here) if file.is_relative_to(here) else file
        remedy = f"`provision lock {name}` keeps this set for the next time"
        self._notice("", "the packages were locked for this run only", remedy)


def _require(args: Any, **kinds: type) -> None:
    """Refuse a question of a host that lacks something."""
    if not isinstance(args, dict) or not all(isinstance(args.get(name), kind) for name, kind in kinds.items()):
        raise HostFailed(f"a question lacks one of {', '.join(kinds)}")


def in_megabytes(
    doing: Callable[[str], None], what: str, moving: Callable[[], None] = lambda: None
) -> Callable[[int, int], None]:
    """Return what takes the bytes that have arrived and the bytes to come in all, and tells them twice a second.

    ``moving`` is called as often, if more has arrived since.
    """
    last, before = 0.0, 0

    def progress(there: int, size: int) -> None:
        nonlocal last, before
        if (now := time.monotonic()) - last >= TELL:
            last = now
            if there != before:
                before = there
                moving()
            doing(f"fetching {what}, {there // 10**6} of {size // 10**6} MB")

    return progress
