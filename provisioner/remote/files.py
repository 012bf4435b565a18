"""Moving and removing files where others may have them open: on Windows a virus scanner, an indexer or a reader keeps
a file from being replaced for a moment, and what is read-only from being removed at all. Elsewhere these do what
``os`` and ``shutil`` do.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Callable, Optional, Tuple

PATIENCE = 5.0
"""Seconds for others to let go of a file."""
PAUSE = 0.05


def create_aside(path: str, mode: int) -> Tuple[int, str]:
    """Make a file that will take the place of another one; returns its descriptor, for writing, and its path."""
    if os.name == "nt":
        from provisioner.remote.platforms.windows import access, guard

        return guard.create_aside(path, mode, access.is_elevated())
    # in a folder of another account, that account could have laid a link, or a file that it goes on reading, there
    aside = "%s.part%d-%s" % (path, os.getpid(), os.urandom(8).hex())
    return os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), aside


def open_for_more(path: str, private: bool) -> IO[bytes]:
    """Open a file in a folder of ours, made if it is missing, to write at its end; if ``private``, it is for us alone
    from its first moment, or from now on."""
    if not private:
        return open(path, "ab")
    if os.name == "nt" and not os.path.exists(path):
        from provisioner.remote.platforms.windows import access, descriptors, guard

        return os.fdopen(descriptors.create_file(path, guard.private(access.is_elevated())), "ab")
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags, 0o600), "ab")
    shut(path)
    return file


def shut(path: str) -> None:
    """Keep a file of ours from everybody else."""
    if os.name == "nt":
        from provisioner.remote.platforms.windows import access, descriptors, guard

        descriptors.write(path, guard.private(access.is_elevated()))
    else:
        os.chmod(path, 0o600)


def content(path: str, most: int, ours: bool = False) -> Optional[bytes]:
    """Return what a file holds; None if there is no such file, it is a link, or it has more than ``most`` bytes.

    For what other accounts may write: it is neither waited for nor followed elsewhere.

    Args:
        path: of the file.
        most: bytes.
        ours: whether it counts only if it belongs to us (where files have a number for that).
    """
    import stat

    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or (ours and os.name == "posix" and found.st_uid != os.geteuid()):
                return None
            read = file.read(most + 1)
    except OSError:
        return None
    return read if len(read) <= most else None


def replace(source: str, target: str) -> None:
    """Give a file another name, in place of what has that name; OSError if it can't be."""
    if os.name == "nt" and os.path.isfile(target):
        _make_writable(target)
    _patiently(lambda: os.replace(source, target))


def rename(source: str, target: str) -> None:
    """Give a folder a name that nothing has; OSError if it can't be."""
    _patiently(lambda: os.rename(source, target))


def unlink(path: str) -> None:
    """Remove a file; OSError if it can't be."""
    if os.name == "nt":
        _make_writable(path)
    _patiently(lambda: os.unlink(path))


def remove_tree(folder: str) -> None:
    """Remove a folder with everything in it, as far as that goes; what others have open may stay."""
    import shutil

    if os.name != "nt":
        shutil.rmtree(folder, ignore_errors=True)
        return
    deadline = time.monotonic() + PATIENCE
    while os.path.isdir(folder):
        shutil.rmtree(folder, onerror=lambda act, path, _: _once_more(act, path))
        if time.monotonic() > deadline:
            return
        time.sleep(PAUSE if os.path.isdir(folder) else 0.0)


def discard(path: str) -> None:
    """Remove whatever is there, and nothing that it only leads to."""
    if os.path.isdir(path) and not os.path.islink(path):
        remove_tree(path)
    elif os.path.lexists(path):
        unlink(path)


def _once_more(act: Callable[[str], object], path: str) -> None:
    """Remove what could not be removed, after making it writable; the caller looks at what is left."""
    _make_writable(path)
    try:
        act(path)
    except OSError:
        return


def _make_writable(path: str) -> None:
    try:
        os.chmod(path, 0o700)  # on Windows: take the read-only attribute away
    except OSError:
        return


def _patiently(act: Callable[[], None]) -> None:
    """Do it; where others may have the file open for a moment, try for a while."""
    deadline = time.monotonic() + (PATIENCE if os.name == "nt" else 0.0)
    while True:
        try:
            return act()
        except PermissionError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(PAUSE)
