"""The program uv on this machine: where it is, and running it."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from provisioner.errors import ProvisionError

REINSTALL = "Install the provisioner again: its package uv is damaged."
_FINDING = threading.Lock()
"""find_uv_bin asks sysconfig, which two threads must not do for the first time at once (seen with Python 3.11)."""


def uv_program() -> str:
    """Return the path of uv; ProvisionError if its package has lost it. Takes some 15 ms, for sysconfig's sake."""
    import uv

    try:
        with _FINDING:
            return os.fsdecode(uv.find_uv_bin())
    except FileNotFoundError as error:
        raise ProvisionError("the program uv is missing on this machine", remedy=REINSTALL) from error


def run_uv(
    arguments: Sequence[str], *, environment: Mapping[str, str], folder: Path, limit: float, text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run uv to its end.

    Args:
        arguments: without the program's own name.
        environment: all its variables.
        folder: where it is run; an empty one, for the settings of the project the user stands in are none of ours.
        limit: seconds it may take; subprocess.TimeoutExpired after that.
        text: what it reads.
    """
    try:
        return subprocess.run(
            [uv_program(), *arguments, "--project", str(folder)],
            input=text,
            env=dict(environment),
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=limit,
            check=False,
        )
    except OSError as error:
        raise ProvisionError(f"uv does not start: {error.strerror or error}", remedy=REINSTALL) from error
