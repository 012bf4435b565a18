"""A bundle: everything that hosts of a cluster need, in one file, for a machine without internet.

It is a zip file in which nothing is compressed (wheels and archives of interpreters are already), so that what is sent
to hosts is read from where it lies. First comes ``manifest.json``, then each file as ``files/<sha256>/<name>``. The
same locks give the same bytes.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

from provisioner import portable
from provisioner.artifacts.cache import Cache
from provisioner.artifacts.interpreter import Archive
from provisioner.artifacts.lock import Wheel
from provisioner.artifacts.lockset import BadLock, LockSet
from provisioner.artifacts.slice import Slice
from provisioner.errors import InputError

FORMAT = 1
"""Raised when what a bundle holds changes its meaning."""
MANIFEST = "manifest.json"
_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The time of every entry: the oldest that a zip file knows."""
_LONGEST_MANIFEST = 64 << 20
_CHUNK = 1 << 20
_ABANDONED = 600.0
"""Seconds without a word written after which a half bundle is nobody's."""
_MAKE = "make one on a machine with internet: provision bundle"
_COPY_AGAIN = "copy it again from where it was made, or make it anew: provision bundle"

File = Wheel | Archive


class Bundle:
    """A bundle on this machine, whole as far as its structure tells; see ``verify``.

    Args:
        file: where it is.

    Raises:
        InputError: there is none, it was cut off, it is of another format, or it is no bundle.
    """

    def __init__(self, file: Path, renewal: str = "") -> None:
        self.file = file
        self._members = self._read()
        manifest = self._manifest()
        self.cluster = str(manifest.get("cluster", ""))
        """The cluster it was made for."""
        self.locks = self._locks(manifest, renewal)
        self._check_complete()

    def find(self, sha256: str) -> Slice | None:
        """Return the part of the bundle with that content, if there is one."""
        return next((part for name, part in self._members.items() if name.split("/")[1:2] == [sha256]), None)

    def verify(self, cache: Cache) -> None:
        """Refuse a bundle of which a part was damaged; what was found whole once is not read through again.

        Raises:
            InputError: it is damaged.
        """
        found = self.file.stat()
        said = [str(self.file.absolute()), found.st_size, found.st_mtime_ns, found.st_ino]
        stamp = cache.folder / "bundles" / hashlib.sha256(json.dumps(said).encode()).hexdigest()
        if stamp.exists():
            return
        with ThreadPoolExecutor(max_workers=4) as pool:
            hashes = dict(zip(self._members, pool.map(_sha256, self._members.values()), strict=True))
        for name, sha256 in hashes.items():
            if name != MANIFEST and name.split("/")[1:2] != [sha256]:
                filename = name.rpartition("/")[2]
                raise self._spoilt(f"{filename} in it is not what was put there")
        with contextlib.suppress(OSError):
            stamp.parent.mkdir(parents=True, exist_ok=True)
            stamp.touch()

    def _read(self) -> dict[str, Slice]:
        """Return where each member is."""
        try:
            with self.file.open("rb") as file:
                return dict(self._parts(file))
        except FileNotFoundError:
            raise InputError(f"there is no file {self.file}", remedy=_MAKE) from None
        except OSError as error:
            raise InputError(f"cannot read {self.file}: {error.strerror or error}", remedy=_MAKE) from None

    def _parts(self, file: BinaryIO) -> Iterator[tuple[str, Slice]]:
        begin = file.read(30 + len(MANIFEST))
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
        except (zipfile.BadZipFile, OSError, ValueError) as error:
            raise self._broken(begin) from error
        # the end of a wheel inside a bundle that was cut off passes for the end of a zip file as well
        if not members or (members[0].filename, members[0].header_offset) != (MANIFEST, 0):
            raise self._broken(begin)
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED:
                raise self._broken(b"")
            file.seek(member.header_offset)
            head = file.read(30)
            start = member.header_offset + 30 + int.from_bytes(head[26:28], "little")
            yield member.filename, Slice(self.file, start + int.from_bytes(head[28:30], "little"), member.file_size)

    def _broken(self, begin: bytes) -> InputError:
        if begin.startswith(b"PK\x03\x04") and begin.endswith(MANIFEST.encode()):
            size = self.file.stat().st_size
            return InputError(f"{self.file} is cut off: there are {size} bytes of it", remedy=_COPY_AGAIN)
        return InputError(f"{self.file} is no bundle", remedy=_MAKE)

    def _manifest(self) -> dict[str, Any]:
        part = self._members[MANIFEST]
        try:
            with part.open() as file:
                manifest = json.loads(file.read(_LONGEST_MANIFEST))
            found = manifest["format"]
        except (ValueError, KeyError, TypeError):
            raise self._spoilt("its manifest cannot be read") from None
        if found != FORMAT:
            raise InputError(
                f"{self.file} has format {found}, and this provisioner knows format {FORMAT}",
                remedy="use the version of the provisioner that made it, or make it anew: provision bundle",
            )
        return dict(manifest)

    def _locks(self, manifest: Mapping[str, Any], renewal: str) -> LockSet:
        try:
            if manifest["fingerprint"] != _fingerprint(manifest["lock"]):
                raise ValueError
            return LockSet.from_data(manifest["lock"], self.file.name, renewal)
        except (BadLock, ValueError, KeyError, TypeError, AttributeError):
            raise self._spoilt("its manifest is not what was written") from None

    def _check_complete(self) -> None:
        for file in files_of(self.locks):
            part = self._members.get(_member(file))
            if part is None or (file.size and part.size != file.size):
                raise self._spoilt(f"{file.filename} is not in it")

    def _spoilt(self, why: str) -> InputError:
        return InputError(f"{self.file} is damaged: {why}", remedy=_COPY_AGAIN)


def check_target(target: Path) -> None:
    """Refuse a place where no bundle can be written, before anything is fetched for it; InputError if it is one."""
    if target.is_dir():
        raise InputError(f"{target} is a folder", remedy="name the file to write: --output FILE")
    folder = target.absolute().parent
    if not folder.is_dir():
        raise InputError(f"cannot write {target}: there is no folder {folder}", remedy="make it, or name another file")
    if not os.access(folder, os.W_OK):
        raise InputError(f"cannot write {target}: Permission denied", remedy="name a file elsewhere: --output FILE")


def write_bundle(
    target: Path, cluster: str, locks: LockSet, open_file: Callable[[str], Path], progress: Callable[[int, int], None]
) -> int:
    """Write a bundle, whole or not at all; return its size in bytes.

    Args:
        target: the file to write.
        cluster: the cluster's name.
        locks: what goes in.
        open_file: returns where the file with a sha256 is.
        progress: called with the bytes written and the bytes to write in all.

    Raises:
        InputError: it cannot be written there.
    """
    data = locks.to_data()
    manifest = {"format": FORMAT, "cluster": cluster, "fingerprint": _fingerprint(data), "lock": data}
    files = sorted(files_of(locks), key=_member)
    paths = {file.sha256: open_file(file.sha256) for file in files}
    total = sum(path.stat().st_size for path in paths.values())
    try:
        with _aside(target) as half:
            with zipfile.ZipFile(half, "w", zipfile.ZIP_STORED) as archive:
                archive.writestr(_entry(MANIFEST), json.dumps(manifest, indent=1).encode())
                done = 0
                for file in files:
                    for count in _add(archive, file, paths[file.sha256]):
                        done += count
                        progress(done, total)
            half.chmod(0o644)
            portable.put_in_place(half, target)
    except OSError as error:
        raise InputError(
            f"cannot write {target}: {error.strerror or error}", remedy=f"it needs {total // 10**6 + 1} MB there"
        ) from error
    return target.stat().st_size


def files_of(locks: LockSet) -> list[File]:
    """Return every file that hosts may need, once."""
    found: dict[str, File] = {}
    for each in locks.environments:
        files: list[File] = [*each.lock.wheels, each.lock.uv]
        files += [each.interpreter] if each.interpreter else []
        for file in files:
            found.setdefault(file.sha256, file)
    return list(found.values())


def _add(archive: zipfile.ZipFile, file: File, path: Path) -> Iterator[int]:
    """Copy a file into the bundle and verify it on the way; yield the bytes of each step."""
    digest = hashlib.sha256()
    entry = _entry(_member(file))
    entry.file_size = path.stat().st_size
    with path.open("rb") as source, archive.open(entry, "w") as target:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            target.write(chunk)
            yield len(chunk)
    if digest.hexdigest() != file.sha256:
        raise InputError(f"{path} is damaged", remedy="remove it and run the same command again")


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EARLIEST)
    entry.create_system, entry.external_attr = 3, 0o644 << 16
    return entry


def _member(file: File) -> str:
    return f"files/{file.sha256}/{file.filename}"


@contextlib.contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """Yield the name of a file beside the target, removed in the end if it is still there."""
    folder, prefix = target.absolute().parent, f".{target.name}.part-"
    for left in folder.glob(f"{glob.escape(prefix)}*"):
        with contextlib.suppress(OSError):  # of a run that was killed: nobody has written to it for a while
            if time.time() - left.stat().st_mtime > _ABANDONED:
                left.unlink()
    handle, name = tempfile.mkstemp(prefix=prefix, dir=folder)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        with contextlib.suppress(OSError):
            Path(name).unlink(missing_ok=True)


def _fingerprint(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _sha256(part: Slice) -> str:
    digest = hashlib.sha256()
    for chunk in part.chunks():
        digest.update(chunk)
    return digest.hexdigest()
