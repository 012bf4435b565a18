"""Where the program uv is on this machine."""

from __future__ import annotations

import os
import threading

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
