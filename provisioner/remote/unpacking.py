"""Interpreters as they travel: a tar.gz with one folder ``python/``, laid out as python-build-standalone has it.

What is in an archive is not trusted to stay in its folder: a path or a link that leads elsewhere is refused. Used on
both sides, for a host without tar gets the files one by one from the controller.
"""

from __future__ import annotations

import os
import posixpath
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tarfile import TarFile, TarInfo
    from typing import Iterator, Set, Tuple

TOP = "python"
"""The one folder that everything in an archive is in."""


class BadArchive(ValueError):
    """An archive that is no interpreter's; the text says why."""


@contextmanager
def opened(archive: str) -> Iterator[TarFile]:
    """Open an archive for reading.

    Raises:
        BadArchive: it can't be read; also if that shows while it is read.
    """
    import gzip
    import tarfile
    import zlib

    try:
        with tarfile.open(archive) as tar:
            yield tar
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadArchive("it is cut off or damaged (%s)" % error) from None


def safe_members(tar: TarFile) -> Iterator[Tuple[str, TarInfo]]:
    """Yield every folder, file and link with its path below ``python/``, in the archive's order.

    Raises:
        BadArchive: something in it would leave the folder, or is neither of the three.
    """
    links: Set[str] = set()
    for member in tar:
        path = _inside(member.name)
        if any(path == link or path.startswith(link + "/") for link in links):
            raise BadArchive("%s lies behind a link" % member.name)
        if member.issym():
            _inside(posixpath.join(posixpath.dirname(member.name), member.linkname))
            links.add(path)
        elif member.islnk():
            _inside(member.linkname)
        elif not (member.isfile() or member.isdir()):
            raise BadArchive("%s is no file" % member.name)
        if path != ".":
            yield path, member


def _inside(name: str) -> str:
    """Return a member's path below the top folder."""
    plain = posixpath.normpath(name)
    if posixpath.isabs(name) or "\\" in name or ":" in name or plain.split("/")[0] != TOP:
        raise BadArchive("%s leads out of its folder" % name)
    return posixpath.relpath(plain, TOP)


def unpack(archive: str, folder: str) -> None:
    """Unpack an interpreter into a folder, which is made; owners are ours, and no file can be written by others.

    Raises:
        BadArchive: see `opened` and `safe_members`.
        OSError: it can't be written.
    """
    import shutil

    os.makedirs(folder)
    with opened(archive) as tar:
        for path, member in safe_members(tar):
            target = os.path.join(folder, *path.split("/"))
            if member.isdir():
                os.makedirs(target, exist_ok=True)
                continue
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if member.issym():
                _link(member.linkname, target)
            elif member.islnk():
                shutil.copy2(os.path.join(folder, *_inside(member.linkname).split("/")), target)
            else:
                source = tar.extractfile(member)
                assert source is not None
                with open(target, "wb") as file:
                    shutil.copyfileobj(source, file, 1 << 18)
                os.chmod(target, 0o755 if member.mode & 0o100 else 0o644)
                os.utime(target, (member.mtime, member.mtime))  # compiled modules name their source's time


def _link(target: str, path: str) -> None:
    """Make a link as the archive has it; where links may be refused (Windows), a copy of what it leads to."""
    import shutil

    if os.name == "posix":
        os.symlink(target, path)
        return
    shutil.copy2(os.path.join(os.path.dirname(path), *target.split("/")), path)
