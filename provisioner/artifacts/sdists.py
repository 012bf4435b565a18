"""Wheels built on this machine, for packages that publish only their sources and that the inventory names."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from packaging.utils import canonicalize_name, parse_wheel_filename

from provisioner.artifacts.addresses import redact, without_credentials
from provisioner.artifacts.cache import Cache
from provisioner.artifacts.compile import Request, compile_pylock, described, parse_pylock
from provisioner.artifacts.explain import Unsatisfiable
from provisioner.artifacts.fetch import fetch
from provisioner.artifacts.lock import Sdist, Wheel
from provisioner.artifacts.platform import of_this_machine
from provisioner.artifacts.program import run_uv
from provisioner.artifacts.resolve import wheels_in
from provisioner.artifacts.sources import Sources
from provisioner.artifacts.tags import best_wheel
from provisioner.errors import ProvisionError

LIMIT = 550.0
"""Seconds that a build may take: less than hosts wait for a lock."""
_LONG_AGO = "315532800"
"""1980, the oldest time a wheel can hold: with it most packages build to the same bytes every time."""
_OWN_WHEELS = "Build a wheel for it yourself and name its folder in `artifacts: {find_links: []}`."


def wheels_with_built(request: Request, error: Unsatisfiable, cache: Cache) -> tuple[Wheel, ...]:
    """Return the wheels of a request, those of packages that may be built from source among them.

    A version that has a wheel is preferred to a newer one that has none.

    Args:
        request: what is asked for.
        error: why wheels alone do not satisfy it.
        cache: where sources and built wheels are kept.

    Raises:
        ProvisionError: building does not help, or fails.
    """
    try:
        archives = _archives(request, error)
    except Unsatisfiable:
        raise error from None
    built = [_build(name, version, sdist, request.python, request.sources, cache) for name, version, sdist in archives]
    for _, path in built:
        _check_fit(path.name, request)
    links = (*request.sources.options.find_links, *(path.parent.as_uri() for _, path in built))
    options = replace(request.sources.options, find_links=links)
    pylock = compile_pylock(replace(request, sources=replace(request.sources, options=options)))
    own = {wheel.sha256: wheel for wheel, _ in built}
    return tuple(own.get(wheel.sha256, wheel) for wheel in wheels_in(pylock, request.platform, request.python))


def build_again(wheel: Wheel, python: str, sources: Sources, cache: Cache) -> None:
    """Have a wheel in the cache that was built from source on another machine or before the cache was emptied.

    Raises:
        ProvisionError: what is built now has other bytes than what was locked.
    """
    assert wheel.sdist is not None
    found, _ = _build(wheel.name, wheel.version, wheel.sdist, python, sources, cache)
    if found.sha256 != wheel.sha256:
        raise ProvisionError(
            f"{wheel.filename} was built from source elsewhere, and building it here gives another file",
            remedy="Copy it into a folder in `artifacts: {find_links: []}`, use a bundle, or lock with --upgrade.",
        )


def _archives(request: Request, error: Unsatisfiable) -> list[tuple[str, str, Sdist]]:
    """Return name, version and source archive of the packages that have to be built."""
    allowed = {str(canonicalize_name(name)) for name in request.sources.options.sdists}
    wanted = (error.names & allowed) or allowed
    while True:
        try:
            pylock = compile_pylock(request, from_source=sorted(wanted))
            break
        except Unsatisfiable as again:
            more = (again.names & allowed) - wanted
            if not more:
                raise
            wanted = wanted | more
    found = []
    for name, version, files in parse_pylock(pylock):
        archives = [file for file in files if not file["filename"].endswith(".whl")]
        if name in wanted and archives:
            file = {**archives[0], "url": without_credentials(archives[0]["url"])}
            found.append((name, version, Sdist(**file)))
    return found


def _build(name: str, version: str, sdist: Sdist, python: str, sources: Sources, cache: Cache) -> tuple[Wheel, Path]:
    """Return the wheel of a source archive and where it is; built now if it never was for this Python."""
    minor = python.rpartition(".")[0]
    folder = cache.folder / "built" / f"{sdist.sha256}-{minor}"
    with cache.exclusive(folder / ".lock", what=f"the wheel of {name}"):
        if not (path := next(folder.glob("*.whl"), None)):
            with tempfile.TemporaryDirectory(prefix=".part-", dir=folder) as work:
                archive = fetch([sdist], cache, login=sources.login)[sdist.sha256]
                path = _run_build(f"{name} {version}", archive, Path(work), minor, sources)
                path = path.replace(folder / path.name)
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    cache.keep(sha256, path.name, lambda: [content], size=len(content))
    return Wheel(name, version, path.name, sha256, len(content), "", sdist), path


def _run_build(what: str, archive: Path, work: Path, minor: str, sources: Sources) -> Path:
    environment = {**sources.variables(), "SOURCE_DATE_EPOCH": _LONG_AGO}
    arguments = ["build", "--wheel", str(archive), "--out-dir", str(work / "out"), "--no-python-downloads"]
    arguments += ["--python", _python(minor, work, environment), "--color", "never"]
    try:
        done = run_uv(arguments, environment=environment, folder=work, limit=LIMIT)
    except subprocess.TimeoutExpired:
        raise ProvisionError(f"building {what} from source took over {LIMIT:.0f} s", remedy=_OWN_WHEELS) from None
    found = next((work / "out").glob("*.whl"), None)
    if done.returncode or not found:
        raise ProvisionError(f"{what} could not be built from source: {_reason(done.stderr)}", remedy=_OWN_WHEELS)
    return found


def _reason(stderr: str) -> str:
    """Return the end of what the build said; where it said nothing, what uv says of it."""
    said, _, uv_says = redact(stderr).partition("error: Failed to build")
    _, _, said = said.partition("\n")
    return " ".join((said.strip() or uv_says.partition("hint:")[0]).split())[-400:]


def _python(minor: str, work: Path, environment: dict[str, str]) -> str:
    """Return an interpreter of that minor version, else the one that runs us: pure packages do not mind."""
    found = run_uv(["python", "find", minor, "--no-python-downloads"], environment=environment, folder=work, limit=30.0)
    return found.stdout.strip() if found.returncode == 0 else sys.executable


def _check_fit(filename: str, request: Request) -> None:
    """Refuse a wheel with machine code for another platform or Python than it was built on."""
    _, _, _, tags = parse_wheel_filename(filename)
    here = of_this_machine()
    if _is_pure(tag.platform for tag in tags):
        return
    if here.key != request.platform.key:
        target = described(request.platform, request.python)
        message = f"{filename} holds machine code of this machine ({here.key}) and is wanted for {target}"
        raise ProvisionError(message, remedy=_OWN_WHEELS)
    if best_wheel([filename], request.platform, request.python) is None:
        minor = request.python.rpartition(".")[0]
        raise ProvisionError(
            f"{filename} holds machine code, and this machine has no Python {minor} to build it for",
            remedy=f"Install Python {minor} here (uv python install {minor}), or build a wheel elsewhere "
            "and name its folder in `artifacts: {find_links: []}`.",
        )


def _is_pure(platforms: Iterable[str]) -> bool:
    return all(platform == "any" for platform in platforms)
