"""What fits together: an OS, a processor, a C library, a version of Python and a release of Ray."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from provisioner.inventory.systems import OS_NAMES
from provisioner.ray.releases import (
    FAULTS,
    MINOR_MATCH_SINCE,
    MIXED_OS_SINCE,
    OLDEST_GLIBC,
    OLDEST_MACOS,
    RELEASES,
    WHEELS,
    Span,
    fault,
    last_release,
    span,
)
from provisioner.ray.system import System
from provisioner.ray.version import Version, written

_SPANS = [pythons for row in WHEELS.values() for pythons in row.values() if pythons]
MINORS = range(min(oldest for oldest, _ in _SPANS), max(newest for _, newest in _SPANS) + 1)
"""Every minor version of Python 3 that any release has wheels for."""


def unsupported(system: System) -> str:
    """Return why no release of Ray has wheels for a system; empty if some have."""
    if (system.os, system.arch) not in WHEELS:
        return f"Ray has no wheels for {system}"
    if system.os == "linux" and system.libc not in ("", "glibc"):
        return f"Ray has no wheels for Linux with {system.libc} in place of glibc"
    glibc = tuple(int(part) for part in re.findall(r"\d+", system.libc_version)[:2])
    if system.os == "linux" and glibc and glibc < OLDEST_GLIBC:
        return f"Ray's wheels need glibc {OLDEST_GLIBC[0]}.{OLDEST_GLIBC[1]} or newer, not {system.libc_version}"
    macos = re.match(r"\d+", system.os_version)
    if system.os == "macos" and macos and int(macos[0]) < OLDEST_MACOS:
        return f"Ray's wheels need macOS {OLDEST_MACOS} or newer, not {system.os_version}"
    return ""


def obstacle(system: System, python: Version, ray: Version) -> str:
    """Return why a release of Ray can't be used on a system with a version of Python; empty if it can."""
    if reason := unsupported(system):
        return reason
    pythons = span(system.os, system.arch, ray)
    if pythons is None:
        last = last_release(system.os, system.arch)
        if last and last < ray:
            return f"Ray's wheels for {system} end at {written(last)}"
        return f"Ray {written(ray)} has no wheels for {system}"
    if not _spans(pythons, python, ray):
        return f"Ray {written(ray)} has wheels for {said(pythons)} there, not for {python[0]}.{python[1]}"
    broken = fault(system.os, ray)
    return f"Ray {written(ray)} {broken.what} ({broken.source})" if broken else ""


def _spans(pythons: Span, python: Version, ray: Version) -> bool:
    """Tell whether a Python is among those; a release we know nothing of may have wheels for newer ones."""
    major, minor, _ = python
    return major == 3 and pythons[0] <= minor and (minor <= pythons[1] or ray > RELEASES[-1])


def said(pythons: Span) -> str:
    """Return ``Python 3.9 to 3.12``."""
    return f"Python 3.{pythons[0]} to 3.{pythons[1]}" if pythons[0] != pythons[1] else f"Python 3.{pythons[0]}"


def fleet_obstacles(systems: frozenset[str], minor_match: bool, ray: Version) -> Iterator[str]:
    """Yield why a release can't be used by hosts together.

    Args:
        systems: the OSs among them.
        minor_match: hosts may have different patch versions of Python.
        ray: the release.
    """
    if len(systems) > 1 and ray < MIXED_OS_SINCE:
        names = " and ".join(OS_NAMES.get(os, os) for os in sorted(systems))
        yield f"{names} in one cluster need Ray {written(MIXED_OS_SINCE)} or newer"
    if minor_match and ray < MINOR_MATCH_SINCE:
        yield f"`match: minor` needs Ray {written(MINOR_MATCH_SINCE)} or newer"


def limits(system: System, since: Version) -> list[str]:
    """Return, in a user's words, what limits the choice on a system among the releases from ``since`` on."""
    if reason := unsupported(system):
        return [reason]
    spans = {ray: span(system.os, system.arch, ray) for ray in RELEASES if ray >= since}
    usable = {ray: pythons for ray, pythons in spans.items() if pythons}
    if not usable:
        return [f"no wheels from Ray {written(since)} on"]
    last = last_release(system.os, system.arch)
    newest = usable[max(usable)]
    found = [*([f"Ray up to {written(last)}"] if last else []), said(newest)]
    begun: dict[Version, list[str]] = {}
    for minor in range(newest[0], newest[1] + 1):
        first = min(ray for ray, pythons in usable.items() if pythons[0] <= minor <= pythons[1])
        begun.setdefault(first, []).append(f"3.{minor}")
    found += [f"{' and '.join(begun[ray])} from Ray {written(ray)} on" for ray in sorted(begun) if ray != min(usable)]
    return found + [
        f"not Ray {written(each.first)} to {written(each.last)} ({each.what}: {each.source})"
        for each in FAULTS
        if each.os == system.os and each.last >= since
    ]


def choices(systems: Iterable[System], minor_match: bool) -> dict[Version, Span]:
    """Return the releases that can be used on all these systems together, newest first, each with its Pythons."""
    systems = tuple(systems)
    oses = frozenset(system.os for system in systems)
    found = {}
    for ray in reversed(RELEASES):
        minors = [minor for minor in MINORS if not any(obstacle(system, (3, minor, 0), ray) for system in systems)]
        if minors and not any(fleet_obstacles(oses, minor_match, ray)):
            found[ray] = (minors[0], minors[-1])
    return found
