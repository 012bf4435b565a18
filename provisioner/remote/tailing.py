"""A file that grows, read on while somebody writes to it."""

from __future__ import annotations

import os
import stat
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Tuple

    from provisioner.remote.pieces import Pieces

LOOK = 0.1
"""Seconds between two looks at whether there is more."""
READ = 256 * 1024
"""Bytes that are read at once."""
MOST = 8 * 1024 * 1024
"""Bytes before the end of a file in which its last lines are looked for."""


def follow(file: Any, pieces: Pieces, ended: threading.Event) -> bool:
    """Send what is in a file and what is added to it, until nothing more is (``ended``) or nobody wants more.

    Returns:
        Whether it came to the end.
    """
    while True:
        over = ended.is_set()
        data = file.read(READ)
        if data:
            if not pieces.put(data):
                return False
        elif over:
            return True
        elif pieces.unwanted.wait(LOOK):
            return False


def open_log(path: str) -> Any:
    """Return a log, to be read as bytes; OSError if there is none.

    Its folder belongs to the account that runs Ray: a link there may lead to what only root can read, a pipe nowhere.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    file = os.fdopen(os.open(path, flags), "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError("%s is no file" % path)
    return file


def to_last_lines(file: Any, lines: int) -> None:
    """Have a file stand before its last lines."""
    end = file.seek(0, os.SEEK_END)
    place, found = end, b""
    while place > 0 and found.count(b"\n") <= lines and end - place < MOST:
        step = min(65536, place)
        place = file.seek(place - step)
        found = file.read(step) + found
    wanted = found.splitlines(True)[-lines:] if lines else []
    file.seek(end - sum(map(len, wanted)))


def follow_all(files: List[Tuple[str, Any]], pieces: Pieces, forever: bool) -> None:
    """Send several logs side by side, each stretch under the name of its file.

    Args:
        files: their names, and the files as they stand.
        forever: until nobody wants more; else to where each ends now.
    """
    last = ""
    while not pieces.unwanted.is_set():
        idle = True
        for name, file in files:
            data = file.read(READ)
            if not data:
                continue
            idle = False
            if name != last and len(files) > 1:
                data = ("==> %s <==\n" % name).encode("utf-8") + data
            last = name
            if not pieces.put(data):
                return
        if idle and (not forever or pieces.unwanted.wait(LOOK)):
            return
