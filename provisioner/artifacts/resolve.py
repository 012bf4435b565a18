"""From what is asked for to a lock: uv finds the packages, the best wheel of each is chosen."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from provisioner.artifacts.addresses import without_credentials
from provisioner.artifacts.cache import Cache
from provisioner.artifacts.compile import Request, check_inputs, compile_pylock, described, parse_pylock
from provisioner.artifacts.explain import Unsatisfiable
from provisioner.artifacts.lock import FORMAT, Lock, Wheel
from provisioner.artifacts.platform import Platform
from provisioner.errors import ProvisionError


def fingerprint(request: Request) -> str:
    """Return a short name for what a lock is made from; neither the order of the requirements nor passwords matter."""
    wanted = sorted({requirement.strip() for requirement in request.requirements})
    inputs = [FORMAT, request.platform.key, request.python, wanted, request.sources.described()]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:32]


def resolve_lock(request: Request, cache: Cache) -> Lock:
    """Return the lock of a request: from the cache, or made by uv with the package index.

    Raises:
        ProvisionError: there is no such set of packages, or the package index cannot be used.
    """
    name = fingerprint(request)
    if lock := kept_lock(name, cache):
        return lock
    with cache.exclusive(cache.lock_file(name).with_suffix(".lock"), what="the list of packages"):
        if lock := kept_lock(name, cache):
            return lock
        lock = make_lock(request, cache)
        cache.write_lock(name, lock.to_json())
        return lock


def kept_lock(name: str, cache: Cache) -> Lock | None:
    """Return the lock that the cache keeps under a fingerprint, if it is one."""
    text = cache.read_lock(name)
    if text is None:
        return None
    try:
        return Lock.from_json(text)
    except ValueError:
        return None


def make_lock(request: Request, cache: Cache) -> Lock:
    """Lock the packages and, at the same time, find the uv that will install them."""
    from importlib.metadata import version

    check_inputs(request.python, request.requirements)
    wanted = tuple(sorted({requirement.strip() for requirement in request.requirements}))
    with ThreadPoolExecutor(2, thread_name_prefix="lock") as pool:
        packages = pool.submit(_packages, replace(request, requirements=wanted), cache)
        tool = pool.submit(compile_pylock, _tool(request, f"uv=={version('uv')}"))
        wheels = packages.result()
        (uv,) = wheels_in(tool.result(), request.platform, request.python)
    return Lock.of(request.platform.key, request.python, wheels, uv)


def _tool(request: Request, requirement: str) -> Request:
    """Return the request for uv itself, which is this one whatever the packages are held back to."""
    sources = request.sources
    options = replace(sources.options, constraints=(), sdists=())
    held = ("UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE_NEWER", "UV_RESOLUTION")
    environment = {name: value for name, value in sources.environment.items() if name not in held}
    return Request(request.platform, request.python, (requirement,), type(sources)(options, environment))


def _packages(request: Request, cache: Cache) -> tuple[Wheel, ...]:
    """Return the wheels of a request; what has none is built, as far as that is allowed."""
    allowed = request.sources.options.sdists
    try:
        return wheels_in(compile_pylock(request), request.platform, request.python)
    except Unsatisfiable as error:
        if not allowed:
            raise
        from provisioner.artifacts.sdists import wheels_with_built

        return wheels_with_built(request, error, cache)


def wheels_in(pylock: str, platform: Platform, python: str) -> tuple[Wheel, ...]:
    """Return the best wheel of each package of a pylock.toml, by name."""
    chosen = [_choose(name, version, files, platform, python) for name, version, files in parse_pylock(pylock)]
    return tuple(sorted(chosen, key=lambda wheel: wheel.name))


def _choose(name: str, version: str, files: list[dict[str, Any]], platform: Platform, python: str) -> Wheel:
    from provisioner.artifacts.tags import best_wheel

    filename = best_wheel([file["filename"] for file in files], platform, python)
    if filename is None:
        target = described(platform, python)
        raise ProvisionError(
            f"{name} {version} has no wheel for {target}, and hosts do not build packages",
            remedy="Choose a version that has one, or build one and name its folder in `artifacts: {find_links: []}`.",
        )
    file = next(file for file in files if file["filename"] == filename)
    if not file["sha256"]:
        raise ProvisionError(
            f"the package index gives no sha256 for {filename}",
            remedy="Use an index that does (PEP 503 or 691), or a folder in `artifacts: {find_links: []}`.",
        )
    url = without_credentials(file["url"])
    return Wheel(name, version or filename.split("-")[1], filename, file["sha256"], file["size"], url)
