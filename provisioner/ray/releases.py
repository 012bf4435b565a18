"""Ray's releases: which exist, which wheels they have, and which of them are broken where. A table and look-ups in it.

The table was read from the package index's list of files; tests/net/test_releases_net.py compares the two, so that it
can't go stale unnoticed. A release that is newer than the table is judged by the newest row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from provisioner.ray.version import Version, parse

Span = tuple[int, int]
"""The oldest and the newest minor version of Python 3 that a wheel exists for."""

_SERIES = (*range(9, 13), *range(20, 25), *range(30, 61))
"""The minor versions of Ray 2 from 2.9 on. There was no 2.13 to 2.19 and no 2.25 to 2.29."""
_LAST_PATCH = {9: 3, 36: 1, 42: 1, 44: 1, 47: 1, 49: 2, 50: 1, 51: 2, 52: 1, 54: 1, 55: 1, 56: 1, 57: 1, 58: 1}
"""The last patch of a minor version where it is not 0; all patches up to it exist."""

RELEASES: tuple[Version, ...] = tuple((2, n, patch) for n in _SERIES for patch in range(_LAST_PATCH.get(n, 0) + 1))
"""Every release from 2.9.0 on, oldest first."""

_LIVING_SERIES = 3
"""So many of the newest minor versions still get patches: 2.57.1 was published after 2.59.0."""
_MOST_PATCHES = 3
"""No minor version of Ray 2 got a patch beyond .3 (2.6.3, 2.9.3)."""

WHEELS: Mapping[tuple[str, str], Mapping[str, Span | None]] = {
    ("linux", "x86_64"): {
        "2.9.0": (8, 11), "2.11.0": (9, 11), "2.31.0": (9, 12),
        "2.45.0": (9, 13), "2.52.0": (10, 13), "2.55.0": (10, 14),
    },
    ("linux", "aarch64"): {
        "2.9.0": (8, 11), "2.11.0": None, "2.20.0": (9, 11), "2.21.0": None, "2.30.0": (9, 11),
        "2.31.0": (9, 12), "2.45.0": (9, 13), "2.52.0": (10, 13), "2.55.0": (10, 14),
    },
    ("macos", "aarch64"): {
        "2.9.0": (8, 11), "2.11.0": (9, 11), "2.31.0": (9, 12),
        "2.45.0": (9, 13), "2.52.0": (10, 13), "2.55.0": (10, 14),
    },
    ("macos", "x86_64"): {
        "2.9.0": (8, 11), "2.11.0": (9, 11), "2.31.0": (9, 12), "2.45.0": (9, 13), "2.50.0": None,
    },
    ("windows", "x86_64"): {
        "2.9.0": (8, 11), "2.11.0": None, "2.20.0": (9, 11), "2.21.0": None, "2.30.0": (9, 11),
        "2.31.0": (9, 12), "2.52.0": (10, 12), "2.58.0": (10, 14),
    },
}  # fmt: skip
"""By OS and processor: from that release on there are wheels for those versions of Python, or none (None)."""


@dataclass(frozen=True)
class Fault:
    """Releases that install on an OS and can't be used there.

    ``first`` and ``last`` are both included; ``what`` follows the name of the release in a sentence.
    """

    os: str
    first: Version
    last: Version
    what: str
    source: str


FAULTS = (
    Fault("windows", (2, 45, 0), (2, 47, 1), "does not start on Windows", "ray#52739"),
    Fault("windows", (2, 54, 1), (2, 55, 1), "leaves agents running on Windows when it is stopped", "ray#61452"),
)

MIXED_OS_SINCE: Version = (2, 56, 1)
"""Before, a node took the head's temp dir, whose path another OS can't have (ray#45010, ray#57735)."""
TOKEN_SINCE: Version = (2, 52, 0)
"""Ray asks for a token, if RAY_AUTH_MODE says so, from there on (ray/_private/authentication)."""
MINOR_MATCH_SINCE: Version = (2, 51, 0)
"""RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL exists since then (ray#57552)."""
OLDEST_GLIBC = (2, 17)
"""Ray's Linux wheels are manylinux2014 (PEP 599)."""
OLDEST_MACOS = 12
"""Ray's wheels are macosx_12_0 (2.60.0)."""


def is_known(release: Version) -> bool:
    """Tell whether the table has the release."""
    return release in RELEASES


def may_exist(release: Version) -> bool:
    """Tell whether a release exists, or may have been published after the table was made."""
    series, newest = release[:2], RELEASES[-1][:2]
    if is_known(release) or series > newest:
        return True
    living = sorted({known[:2] for known in RELEASES})[-_LIVING_SERIES:]
    return series in living and release > _last_of(series) and release[2] <= _MOST_PATCHES


def _last_of(series: tuple[int, int]) -> Version:
    return max(known for known in RELEASES if known[:2] == series)


def neighbours(version: Version, known: tuple[Version, ...]) -> tuple[Version, ...]:
    """Return the nearest known version below and the nearest above, as far as there are.

    >>> neighbours((2, 15, 0), RELEASES)
    ((2, 12, 0), (2, 20, 0))
    """
    below = [other for other in known if other < version]
    above = [other for other in known if other > version]
    return (*([max(below)] if below else []), *([min(above)] if above else []))


_ROWS = {key: [(parse(since), pythons) for since, pythons in rows.items()] for key, rows in WHEELS.items()}


def span(os: str, arch: str, release: Version) -> Span | None:
    """Return the versions of Python that a release has wheels for; None if it has none for that OS and processor."""
    holding = [pythons for since, pythons in _ROWS.get((os, arch), ()) if since <= release]
    return holding[-1] if holding else None


def last_release(os: str, arch: str) -> Version | None:
    """Return the last release with wheels for that OS and processor; None if they did not end (or never began)."""
    row = WHEELS.get((os, arch), {})
    if not row or span(os, arch, RELEASES[-1]) is not None:
        return None
    return max(release for release in RELEASES if span(os, arch, release))


def fault(os: str, release: Version) -> Fault | None:
    """Return what is wrong with a release on an OS, if anything."""
    return next((each for each in FAULTS if each.os == os and each.first <= release <= each.last), None)
