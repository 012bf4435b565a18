"""Running this machine's own tools: every command and every wait has a limit and says what went wrong."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

TOOLS_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class LabError(RuntimeError):
    """Something in the lab did not do what it was told."""


class LabUnavailable(LabError):
    """The lab cannot work on this machine; the message says why, in one line."""


class LabTimeout(LabError):
    """A wait in the lab reached its limit."""


def tools_env(**extra: str) -> dict[str, str]:
    """A small environment: nothing of a virtual environment or a user's settings leaks into the lab."""
    kept = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    return {**kept, "PATH": TOOLS_PATH, "HOME": "/root", "LANG": "C.UTF-8", **extra}


def run(
    argv: Sequence[str],
    *,
    check: bool = True,
    stdin: str | bytes | None = None,
    timeout: float = 30,
    encoding: str = "utf-8",
) -> subprocess.CompletedProcess[str]:
    """Run one command, with its output as text; a failure names the command and what it wrote."""
    data = stdin.encode() if isinstance(stdin, str) else stdin
    try:
        done = subprocess.run(
            list(argv), input=b"" if data is None else data, capture_output=True, env=tools_env(), timeout=timeout
        )
    except subprocess.TimeoutExpired as error:
        raise LabTimeout(f"no end after {timeout:g} s: {' '.join(argv)}") from error
    out, err = (data.decode(encoding, errors="replace") for data in (done.stdout, done.stderr))
    if check and done.returncode != 0:
        raise LabError(f"exit {done.returncode} of: {' '.join(argv)}\n{err.strip() or out.strip()}")
    return subprocess.CompletedProcess(list(argv), done.returncode, out, err)


def wait_until(probe: Callable[[], T], what: str, limit: float, pause: float = 0.05) -> T:
    """Ask again and again until the answer is true; after the limit, say what was waited for."""
    end = time.monotonic() + limit
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > end:
            raise LabTimeout(f"waited {limit:g} s for {what}")
        time.sleep(pause)
