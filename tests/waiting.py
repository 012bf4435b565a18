"""Waiting, with a limit, for what another process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def soon(what: Callable[[], Any], limit: float = 2.0) -> bool:
    """Wait until something is true; False if it is not within ``limit`` seconds."""
    end = time.monotonic() + limit
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
