"""What this machine's own OS does another way: Windows, where `provision` runs as well."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

POLL = 0.2
"""Seconds after which a wait looks up: on Windows Ctrl-C does not end one (Python's `threading`: locks can be
interrupted on POSIX)."""
HELD_LIMIT = 3.0
"""Seconds that a virus scanner may keep a file which was just written."""
WINDOWS = os.name == "nt"


def operator() -> str:
    """Return who runs this, and on which machine: ``kim@pc-7``."""
    import getpass
    import platform

    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):  # an account without a name, as in some containers
        name = str(os.getuid()) if hasattr(os, "getuid") else "somebody"
    return f"{name}@{platform.node() or 'a machine without a name'}"


def allow_open_files(wanted: int) -> None:
    """Let this process have so many files and connections open, if the system lets us: macOS begins with 256."""
    if WINDOWS:
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def put_in_place(aside: Path, final: Path) -> None:
    """Give a file its final name, in one step. On Windows that waits until nobody has it open any more.

    Raises:
        OSError: it can't be done.
    """
    deadline = time.monotonic() + HELD_LIMIT
    while True:
        try:
            aside.replace(final)
        except PermissionError:
            if not WINDOWS or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def write_whole(file: Path, content: bytes) -> None:
    """Write a file in one step: whoever reads it finds the former content or this one, whole.

    Its access rights stay; a new file gets those that the account gives to new files. A link stays a link.

    Raises:
        OSError: it can't be written.
    """
    import tempfile

    final = file.resolve()
    mode = stat.S_IMODE(final.stat().st_mode) if final.exists() else 0o666 & ~_umask()
    handle, name = tempfile.mkstemp(prefix=f".{final.name}.", dir=final.parent)
    aside = Path(name)
    try:
        with os.fdopen(handle, "wb") as half:
            half.write(content)
            half.flush()
            os.fsync(half.fileno())
        aside.chmod(mode)
        put_in_place(aside, final)
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def _umask() -> int:
    """Return which rights new files don't get; asking means setting."""
    found = os.umask(0o077)
    os.umask(found)
    return found


def command_line(words: Sequence[str]) -> str:
    """Return words as this machine's shell reads them: sh, or what cmd.exe and PowerShell have in common."""
    if WINDOWS:
        from subprocess import list2cmdline

        return list2cmdline(words)
    import shlex

    return shlex.join(words)


def system_file(*parts: str) -> Path:
    """Return where the machine's own settings of a program lie, such as ``("ssh", "ssh_config")``."""
    if WINDOWS:
        return Path(os.environ.get("PROGRAMDATA", r"C:\ProgramData"), *parts)
    return Path("/etc", *parts)


def speak_any_language() -> None:
    """Have what a terminal or pipe (cp949, cp1252) has no letters for written as numbers; it would end the program."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def knows_colors(stream: TextIO) -> bool:
    """Tell whether a terminal heeds the codes for colors: Windows' own does only if it is told to."""
    if not WINDOWS:
        return True
    return "WT_SESSION" in os.environ or bool(os.environ.get("TERM"))
