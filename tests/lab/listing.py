"""What is on a host's disk that is not in the golden root: taken before and after, it shows every trace left.

Not looked at, because it changes by itself:

- ``/proc``, ``/sys``, ``/dev``, ``/run``: no disk. ``/dev/shm`` is looked at: Ray leaves files there.
- ``/var/log``, ``/etc/machine-id``, systemd's random seed and timer stamps, ``systemd-private-*`` in ``/tmp`` and
  ``/var/tmp``, the lock and stamp files ``.pwd.lock`` and ``.updated``, ``/var/lib/systemd/catalog`` and ``coredump``.
- ``__pycache__`` below ``/usr/lib/python3*``: the system's Python writes it for whoever is root and imports.
- root's and users' ``.cache`` ARE looked at, and so is ``/var/lib/systemd/linger``.

Files count as equal when type, mode, owner, size and content are; `changes(rewritten=True)` also looks at
the time of change.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

NOISE = re.compile(
    r"/(proc|sys|dev|run)(/|$)"
    r"|/var/log(/|$)"
    r"|/etc/(machine-id|\.pwd\.lock|\.updated)$|/var/\.updated$"
    r"|/var/lib/systemd/(random-seed|catalog|coredump|timers|timesync)(/|$)"
    r"|/(var/)?tmp/systemd-private-"
    r"|/tmp/\.(X11|ICE|XIM|font|Test)-unix$"
    r"|/usr/lib/python3[^/]*/(.*/)?__pycache__(/|$)"
)


@dataclass(frozen=True)
class Entry:
    """One thing on the disk. ``kind`` is file, folder, link, other, or removed (in the golden root but not here)."""

    kind: str
    mode: int = 0
    owner: tuple[int, int] = (0, 0)
    size: int = 0
    digest: str = ""
    target: str = ""
    mtime_ns: int = field(default=0, compare=False)


Listing = dict[str, Entry]


def disk(upper: Path, *lowers: Path) -> Listing:
    """How the overlay differs from what is below it (the uppermost layer first), in terms of what the host sees."""
    found: Listing = {}
    for path, name in _walk(upper):
        with suppress(FileNotFoundError):  # the host is running
            entry = _entry(path)
            everywhere = [lower / name.lstrip("/") for lower in lowers]
            below = next((one for one in everywhere if os.path.lexists(one)), everywhere[0])
            if not os.path.lexists(below):
                if entry.kind != "removed":
                    found[name] = entry
            elif entry != _entry(below, like=entry):
                found[name] = entry
            if entry.kind == "folder" and below.is_dir() and _hides_lower(path):
                for hidden in filter(Path.is_dir, everywhere):
                    found.update(_hidden(path, hidden, name))
    return found


def shared_memory(folder: Path) -> Listing:
    """The files in a running host's /dev/shm; their content is not read."""
    found: Listing = {}
    for path, name in _walk(folder):
        with suppress(FileNotFoundError):
            status = path.lstat()
            kind = "folder" if stat.S_ISDIR(status.st_mode) else "file"
            found[f"/dev/shm{name}"] = Entry(kind, stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid))
    return found


def changes(before: Listing, after: Listing, *, rewritten: bool = False) -> list[str]:
    """The differences as lines ``+ path``, ``- path``, ``~ path``; if asked, also files only rewritten."""
    lines = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old is None:
            lines.append(f"+ {name}")
        elif new is None:
            lines.append(f"- {name}")
        elif old != new or (rewritten and new.kind == "file" and old.mtime_ns != new.mtime_ns):
            lines.append(f"~ {name}")
    return lines


def _walk(top: Path, name: str = "") -> Iterator[tuple[Path, str]]:
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(top) as entries:
        for entry in entries:
            here = f"{name}/{entry.name}"
            if NOISE.match(here):
                continue
            yield Path(entry.path), here
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), here)


def _entry(path: Path, like: Entry | None = None) -> Entry:
    """Describe one path; content is only read when it could matter for being equal to ``like``."""
    status = path.lstat()
    mode, owner = stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid)
    if stat.S_ISREG(status.st_mode):
        same_size = like is None or like.size == status.st_size
        digest = _digest(path) if same_size else "not read"
        return Entry("file", mode, owner, status.st_size, digest, mtime_ns=status.st_mtime_ns)
    if stat.S_ISDIR(status.st_mode):
        return Entry("folder", mode, owner, mtime_ns=status.st_mtime_ns)
    if stat.S_ISLNK(status.st_mode):
        return Entry("link", mode, owner, target=str(path.readlink()))
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
        return Entry("removed")  # how overlayfs writes down that a lower file is gone
    return Entry("other", mode, owner)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _hides_lower(folder: Path) -> bool:
    """Whether overlayfs marks this folder as made anew in place of the golden root's."""
    try:
        return os.getxattr(folder, "trusted.overlay.opaque") == b"y"
    except OSError:
        return False


def _hidden(upper: Path, lower: Path, name: str) -> Listing:
    return {
        here: Entry("removed")
        for path, here in _walk(lower, name)
        if not os.path.lexists(upper / path.relative_to(lower))
    }
