"""Versions of Ray and of Python: three numbers."""

from __future__ import annotations

Version = tuple[int, int, int]
"""Compares as versions do."""


def parse(version: str) -> Version:
    """Return ``2.60.0`` as numbers; ValueError if it is not three of them."""
    major, minor, patch = (int(part) for part in version.split("."))
    return major, minor, patch


def written(version: Version) -> str:
    """Return a version as text."""
    return ".".join(map(str, version))
