"""What is true of Ray's jobs: how a command is written for the head's shell, and what the Jobs API says.

The entrypoint of a job is one line for a shell on the head (dashboard/modules/job/job_supervisor.py of 2.60.0: bash, or
cmd.exe on Windows). Ray's own client quotes it for the shell of the machine that it runs on; this does for the head's.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from subprocess import list2cmdline

PACKAGE = "_ray_pkg_{digest}.zip"
PACKAGES = "/api/packages/gcs/"
JOBS = "/api/jobs/"
_CMD = re.compile(r'([()%!^"<>&|])')
"""What cmd.exe itself understands; a ^ before it makes it an ordinary character."""


def entrypoint(argv: Sequence[str], system: str) -> str:
    """Return the line that a head's shell splits into these words again.

    Args:
        argv: the program and its arguments.
        system: the head's OS: "linux", "macos" or "windows".

    Raises:
        ValueError: a word can't be said to that shell.
    """
    if any("\0" in word for word in argv):
        raise ValueError("an argument holds a NUL")
    if system != "windows":
        return shlex.join(argv)
    if any("\n" in word or "\r" in word for word in argv):
        raise ValueError("cmd.exe on the head takes no line break in an argument")
    return _CMD.sub(r"^\1", list2cmdline(argv))


def exit_code(status: str, driver: int | None) -> int:
    """Return what a command ends with that waited for a job: the driver's own code if it is known.

    Args:
        status: SUCCEEDED, FAILED or STOPPED.
        driver: ``driver_exit_code``; negative for a signal.
    """
    if status == "SUCCEEDED":
        return 0
    if driver is None or driver == 0:
        return 1
    return driver if 0 < driver < 256 else 128 + min(127, -driver) if driver < 0 else 1
