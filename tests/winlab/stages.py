"""Stages of the stand-ins' disk: each built once, aside, under a lock, and kept under the fingerprint of its inputs."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from ..lab.golden import locked
from ..lab.shell import run
from .tools import COMPILER

HERE = Path(__file__).parent
LONGEST_BUILD = 900.0
"""Seconds that another session's build may take on a busy machine."""
_UNUSED = 86400.0


def fingerprint(*parts: str | Path) -> str:
    """Return a short hash of texts and of files' contents."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.read_bytes() if isinstance(part, Path) else part.encode())
        digest.update(b"\0")
    return digest.hexdigest()[:12]


def stage(home: Path, name: str, key: str, build: Callable[[Path], None]) -> Path:
    """Return the folder of a stage; ``build(folder)`` makes it if nobody did before.

    A build that broke off is never taken for a finished one: only a finished one gets the name. Stages of other inputs
    are removed when nobody has used them for a day.
    """
    place = home / f"{name}-{key}"
    with locked(home / f"{name}.lock", f"the {name} of the stand-ins", LONGEST_BUILD):
        aside = home / f"building-{name}"
        shutil.rmtree(aside, ignore_errors=True)
        if not place.is_dir():
            aside.mkdir(parents=True)
            try:
                build(aside)
                aside.rename(place)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        os.utime(place)
        for old in home.glob(f"{name}-*"):
            if time.time() - old.stat().st_mtime > _UNUSED:
                shutil.rmtree(old, ignore_errors=True)
    return place


def compile_program(name: str, target: Path, *options: str) -> None:
    """Compile ``win/NAME.c`` into a Windows program."""
    source = HERE / "win" / f"{name}.c"
    run([COMPILER, "-O2", "-municode", "-o", str(target), str(source), *options], timeout=60)
