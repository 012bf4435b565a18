"""A folder as a package for Ray: one zip, named by what is in it, so that the same is sent once."""

from __future__ import annotations

import hashlib
import os
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

from provisioner.errors import InputError

ALWAYS = (1980, 1, 1, 0, 0, 0)
"""Time stamp of every entry, so that equal folders are equal packages."""
NEVER = {".git", ".hg", ".svn", "__pycache__", ".venv", "node_modules", ".mypy_cache", ".pytest_cache", ".ruff_cache",
         ".tox", ".ipynb_checkpoints", ".sandbox"}  # fmt: skip
"""Folders that no job needs; where git says what belongs to the folder, it is asked as well."""
LARGEST = 512 * 1024 * 1024
"""Bytes of a package: Ray keeps no larger one (GCS_STORAGE_MAX_SIZE, _private/runtime_env/packaging.py)."""


def pack(folder: Path, archive: Path) -> str:
    """Write a folder's files into an archive and return the digest of what is in it.

    Raises:
        InputError: there is no such folder, or more in it than Ray takes.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}", remedy="name the folder of the job with --working-dir")
    digest, total = hashlib.sha256(), 0
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as package:
        for path in sorted(files(folder), key=lambda path: path.relative_to(folder).as_posix()):
            total += path.stat().st_size
            if total > LARGEST:
                raise InputError(
                    f"{folder} holds more than {LARGEST >> 20} MiB, which Ray takes at most",
                    remedy="keep data on the hosts or a share, or name a smaller folder with --working-dir",
                )
            name, content = path.relative_to(folder).as_posix(), path.read_bytes()
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
            entry = zipfile.ZipInfo(name, ALWAYS)
            entry.external_attr = (path.stat().st_mode & 0o755) << 16
            package.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return digest.hexdigest()[:32]


def files(folder: Path) -> Iterator[Path]:
    """Yield the files that belong to a folder: without what git ignores, caches and environments."""
    listed = _of_git(folder)
    if listed is not None:
        yield from (
            path for path in listed if path.is_file() and not NEVER.intersection(path.relative_to(folder).parts)
        )
        return
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if each not in NEVER and not _is_environment(Path(place, each)))
        yield from (Path(place, name) for name in names if Path(place, name).is_file())


def _is_environment(folder: Path) -> bool:
    return (folder / "pyvenv.cfg").exists()


def _of_git(folder: Path) -> list[Path] | None:
    """Return what git tracks or would; None if there is no git, or the folder is none of its work trees."""
    command = ["git", "-C", str(folder), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return [folder / name for name in dict.fromkeys(os.fsdecode(listed).split("\0")) if name]
