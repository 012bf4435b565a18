"""Files that were fetched, and locks that were made, kept on this machine by content.

A file has its final name only once it is whole and verified. Any number of threads and processes may use one cache:
a thing is made once, under a lock of the OS that is free again when its holder dies; the others wait and use it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import platformdirs

from provisioner import portable
from provisioner.errors import ProvisionError

if TYPE_CHECKING:
    from filelock import BaseFileLock

VARIABLE = "PROVISION_CACHE"
"""The environment variable that moves the cache."""
_HALF = ".part"
_OWNED = ".owned"


class BeginAnew(Exception):
    """What an attempt that broke off has left leads nowhere; raised by ``rest``, see ``Cache.keep``."""


class Cache:
    """A folder of verified files and of locks.

    Args:
        folder: where it is; None: what PROVISION_CACHE says, else the user's cache folder.
        wait_limit: how many seconds to wait at most for another process that makes the same thing.
    """

    def __init__(self, folder: Path | None = None, *, wait_limit: float = 1800.0) -> None:
        self.folder = folder or _default_folder()
        self.wait_limit = wait_limit
        self._hashing = threading.Lock()
        self._whole: set[str] = set()
        """What this process has hashed, on its way in or since."""

    def find(self, sha256: str, size: int = 0) -> Path | None:
        """Return the file of that content, or None. A known size must match: a crash may leave an empty file."""
        folder = self.folder / "files" / sha256
        try:
            with os.scandir(folder) as entries:
                names = [entry.name for entry in entries if not entry.name.startswith(".")]
            whole = [path for path in (folder / name for name in names) if path.stat().st_size == size or not size]
        except OSError:
            return None
        return whole[0] if whole else None

    def find_whole(self, sha256: str) -> Path | None:
        """Return the file of that content, hashed if this process has not done so yet, or None.

        Raises:
            ProvisionError: it was damaged since it was fetched (the disk, a power cut); it is removed.
        """
        path = self.find(sha256)
        if path is None or sha256 in self._whole:
            return path
        with self._hashing:
            if sha256 not in self._whole:
                self._check(path, sha256)
        return path

    def _check(self, path: Path, sha256: str) -> None:
        with _readable(path), path.open("rb") as file:
            found = _digest_of(file)[0].hexdigest()
        if found == sha256:
            self._whole.add(sha256)
            return
        with _explained(path.parent):
            path.unlink(missing_ok=True)
        raise ProvisionError(
            f"{path.name} was damaged in the cache of this machine, {self.folder}, and has been removed",
            remedy="Run the same command again to fetch it anew; if that repeats, look at this machine's disk.",
        )

    def keep(
        self,
        sha256: str,
        filename: str,
        chunks: Callable[[], Iterable[bytes]],
        *,
        size: int = 0,
        rest: Callable[[int], Iterable[bytes]] | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Path:
        """Return the file of that content; if it is missing, write it from the chunks and verify it first.

        Args:
            sha256: what the content must hash to.
            filename: the file's name, without folders.
            chunks: called, at most once, for the content.
            rest: called in place of it for what follows that many bytes, which an attempt that broke off has left;
                without it such bytes are thrown away. If it raises BeginAnew, they are as well.
            size: the size in bytes, 0 if unknown.
            cancelled: asked while another process is waited for.
        """
        final = self.folder / "files" / sha256 / filename
        with self.exclusive(final.parent / ".lock", what=filename, cancelled=cancelled):
            found = self.find(sha256, size)
            if found is None:
                _go_on(final, chunks, rest, sha256, size)
                self._whole.add(sha256)
            return found or final

    def read_lock(self, fingerprint: str) -> str | None:
        """Return the text that was kept under a fingerprint, or None."""
        try:
            return self.lock_file(fingerprint).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def write_lock(self, fingerprint: str, text: str) -> None:
        """Keep a text under a fingerprint, whole or not at all."""
        content = text.encode()
        self._write(self.lock_file(fingerprint), [content], hashlib.sha256(content).hexdigest(), len(content))

    def lock_file(self, fingerprint: str) -> Path:
        """Return where the lock of that fingerprint is kept."""
        return self.folder / "locks" / f"{fingerprint}.json"

    @contextlib.contextmanager
    def exclusive(self, file: Path, *, what: str, cancelled: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Hold a lock among all threads and processes for the length of the block."""
        from filelock import FileLock

        with _explained(file.parent):
            file.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(str(file))
            deadline = time.monotonic() + self.wait_limit
            while not _acquired(lock, max(0.0, min(0.5, deadline - time.monotonic()))):
                if cancelled() or time.monotonic() >= deadline:
                    raise ProvisionError(
                        f"{what} is being fetched by another process, which has not finished",
                        remedy="Look for another `provision` that hangs, end it, and try again.",
                    )
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def workspace(self) -> Iterator[Path]:
        """Give an empty folder that is gone afterwards, at the latest when someone works here after a crash."""
        from filelock import FileLock

        work = self.folder / "work"
        with contextlib.ExitStack() as stack:
            with self.exclusive(work / ".lock", what="a folder to work in"), _explained(work):
                _discard_abandoned(work)
                # it is also removed when the program ends in the middle, as it does without asking its threads
                own = stack.enter_context(tempfile.TemporaryDirectory(dir=work, ignore_cleanup_errors=True))
                stack.enter_context(FileLock(Path(own, _OWNED)))
            yield Path(own)

    def _write(self, final: Path, chunks: Iterable[bytes], sha256: str, size: int) -> None:
        """Write to a temporary name beside the final one, verify, and only then rename."""
        with _explained(final.parent):
            final.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=_HALF, dir=final.parent)
        half = Path(name)
        try:
            digest, written = hashlib.sha256(), 0
            with os.fdopen(handle, "wb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    written += len(chunk)
                    with _explained(final.parent):
                        file.write(chunk)
                with _explained(final.parent):
                    _settle(file)
            _verify(final.name, digest.hexdigest(), sha256, written, size)
            with _explained(final.parent):
                half.chmod(0o644)
                portable.put_in_place(half, final)
        finally:
            with contextlib.suppress(OSError):
                half.unlink(missing_ok=True)


def _discard_abandoned(work: Path) -> None:
    """Remove the folders whose owners were killed: nobody holds their locks."""
    from filelock import FileLock

    for owned in work.glob(f"*/{_OWNED}"):
        lock = FileLock(owned)
        if _acquired(lock, 0):
            lock.release()
            shutil.rmtree(owned.parent, ignore_errors=True)


def _default_folder() -> Path:
    moved = os.environ.get(VARIABLE)
    return Path(moved).expanduser() if moved else Path(platformdirs.user_cache_dir("provision", appauthor=False))


def _acquired(lock: BaseFileLock, seconds: float) -> bool:
    from filelock import Timeout

    try:
        lock.acquire(timeout=seconds, poll_interval=0.02)
    except Timeout:
        return False
    return True


def _go_on(
    final: Path,
    chunks: Callable[[], Iterable[bytes]],
    rest: Callable[[int], Iterable[bytes]] | None,
    sha256: str,
    size: int,
) -> None:
    """Write what is missing of a file, verify the whole, and only then give it its name.

    The caller holds the lock. What has arrived stays if the chunks break off, unless the whole proves to be wrong.
    """
    half = final.with_name(_HALF)
    with _explained(final.parent), half.open("a+b") as file:
        digest, done = _digest_of(file) if rest else (hashlib.sha256(), 0)
        whole = digest.hexdigest() == sha256
        if not whole and size and done >= size:
            digest, done = hashlib.sha256(), 0
        file.truncate(done)
    if not whole:
        try:
            digest, done = _append(half, rest(done) if rest and done else chunks(), digest, done)
        except BeginAnew:
            with _explained(final.parent):
                os.truncate(half, 0)
            digest, done = _append(half, chunks(), hashlib.sha256(), 0)
    try:
        _verify(final.name, digest.hexdigest(), sha256, done, size)
    except ProvisionError:
        half.unlink()
        raise
    with _explained(final.parent):
        with half.open("ab") as file:
            _settle(file)
        half.chmod(0o644)
        portable.put_in_place(half, final)


def _append(half: Path, chunks: Iterable[bytes], digest: hashlib._Hash, done: int) -> tuple[hashlib._Hash, int]:
    """Write what arrives behind the bytes that are there; return the hash and the number of all."""
    with _explained(half.parent):
        file = half.open("ab")
    with file:
        for chunk in chunks:
            digest.update(chunk)
            done += len(chunk)
            with _explained(half.parent):
                file.write(chunk)
                file.flush()
    return digest, done


def _settle(file: BinaryIO) -> None:
    """Have the bytes on the disk before the file gets its name, or after a power cut there is a name without them."""
    file.flush()
    os.fsync(file.fileno())


def _digest_of(file: BinaryIO) -> tuple[hashlib._Hash, int]:
    """Return the hash of what an open file holds, ready to go on, and the number of bytes."""
    digest, done = hashlib.sha256(), 0
    file.seek(0)
    while piece := file.read(1 << 20):
        digest.update(piece)
        done += len(piece)
    return digest, done


def _verify(filename: str, found: str, expected: str, written: int, size: int) -> None:
    if found != expected:
        sizes = f" ({written} bytes instead of {size})" if size and written != size else ""
        raise ProvisionError(
            f"{filename} is not the file that was locked{sizes}: its sha256 is {found}, expected {expected}",
            remedy="A proxy or the package index served another file; try again, or look at what is between.",
        )
    if size and written != size:
        raise ProvisionError(
            f"{filename} has {written} bytes where the package index announced {size}, though its sha256 is right",
            remedy="The package index gives a wrong size; report it to whoever runs that index.",
        )


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn the disk's errors into something a user can act on."""
    try:
        yield
    except OSError as error:
        raise ProvisionError(
            f"cannot write to the cache {folder}: {error.strerror or error}",
            remedy=f"Make room, or set {VARIABLE} to a folder that can be written.",
        ) from error


@contextlib.contextmanager
def _readable(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ProvisionError(
            f"cannot read {file} in the cache of this machine: {error.strerror or error}",
            remedy="Remove it and run the same command again; look at this machine's disk.",
        ) from error
