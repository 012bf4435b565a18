"""Remembers which content was found valid before, so that an unchanged file need not be validated again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import platformdirs

from provisioner import __version__


def stamp_of(fingerprint: str, schema: bytes) -> Path:
    """The file whose presence says that this very content was valid under this very schema."""
    key = hashlib.sha256(f"{fingerprint} {__version__} ".encode() + schema).hexdigest()
    return Path(platformdirs.user_cache_dir("provision"), "validated", key)


def remember(stamp: Path) -> None:
    """Leave the stamp; a cache that cannot be written only costs time."""
    try:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()
    except OSError:
        pass


def remembered(stamp: Path) -> bool:
    """Whether the stamp was left before."""
    try:
        return stamp.exists()
    except OSError:
        return False
