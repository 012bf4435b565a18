"""The files of a lock: in the cache from before, or copied from a folder at hand, fetched, or built again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from provisioner.artifacts.cache import Cache
from provisioner.artifacts.catalogue import Origin
from provisioner.artifacts.fetch import Progress, fetch
from provisioner.artifacts.interpreter import Archive, resolve_interpreter
from provisioner.artifacts.lock import Lock, Wheel
from provisioner.artifacts.platform import Platform
from provisioner.artifacts.sources import Sources
from provisioner.errors import ProvisionError


def provide(lock: Lock, cache: Cache, sources: Sources, progress: Progress | None = None) -> Lock:
    """Have all files of a lock in the cache; return it with their sizes, which some package indexes do not tell.

    A file that lies in a folder of ``find_links`` under its name is taken from there, if it is the same.

    Raises:
        ProvisionError: a file cannot be had, or is another one than was locked.
    """
    files = (*lock.wheels, lock.uv)
    missing = [wheel for wheel in files if not cache.find(wheel.sha256, wheel.size)]
    wanted = _at_hand(missing, sources.folders()) if missing else []
    for wheel in wanted:
        if wheel.sdist and not wheel.url:
            from provisioner.artifacts.sdists import build_again

            build_again(wheel, lock.python, sources, cache)
    paths = fetch([wheel for wheel in wanted if wheel.url], cache, progress, login=sources.login)
    if all(wheel.size for wheel in files):
        return lock
    sizes = {sha256: path.stat().st_size for sha256, path in paths.items()}
    return Lock.of(
        lock.platform_key, lock.python, [_sized(wheel, sizes, cache) for wheel in lock.wheels],
        _sized(lock.uv, sizes, cache),
    )  # fmt: skip


def provide_interpreter(
    archive: Archive, platform: Platform, mirror: str | None, cache: Cache, progress: Progress | None = None
) -> Archive:
    """Have a locked archive in the cache: from where it was when it was locked, else from where it is now.

    Args:
        archive: the one that was locked.
        platform: what it is for.
        mirror: where interpreters come from now, as the inventory has it.
        cache: of this machine.
        progress: told about the download.

    Raises:
        ProvisionError: it cannot be had, or is another one now.
    """
    if cache.find(archive.sha256, archive.size):
        return archive
    try:
        fetch([archive] if archive.url else [], cache, progress)
    except ProvisionError as error:
        gone = error
    else:
        if archive.url:
            return archive
        gone = ProvisionError(f"{archive.filename} is not in the cache {cache.folder}")
    now = resolve_interpreter(platform, archive.version, Origin.of(mirror, os.environ), cache, progress)
    if now.sha256 != archive.sha256:
        raise ProvisionError(
            f"{archive.filename} was locked and cannot be had ({gone.message}); {now.filename} is another file",
            remedy="Lock again with --upgrade, or name a mirror that has it (`mirror:` under `python:`).",
        )
    return archive


def _at_hand(files: Iterable[Wheel], folders: list[Path]) -> list[Wheel]:
    """Return the files, with the address of a copy on this machine where there is one."""
    found = []
    for file in files:
        candidates = (folder / file.filename for folder in folders)
        copy = next((path for path in candidates if path.is_file() and _sha256(path) == file.sha256), None)
        found.append(replace(file, url=copy.as_uri()) if copy else file)
    return found


def _sized(wheel: Wheel, sizes: Mapping[str, int], cache: Cache) -> Wheel:
    if wheel.size:
        return wheel
    if wheel.sha256 in sizes:
        return replace(wheel, size=sizes[wheel.sha256])
    path = cache.find(wheel.sha256)
    return replace(wheel, size=path.stat().st_size) if path else wheel


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as source:
        while chunk := source.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
