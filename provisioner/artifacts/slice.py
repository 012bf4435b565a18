"""A part of a file, read as a file of its own: what lies uncompressed in a bundle needs no second copy on the disk."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast


@dataclass(frozen=True)
class Slice:
    """``size`` bytes of a file, from ``start`` on."""

    file: Path
    start: int
    size: int

    def open(self) -> BinaryIO:
        """Return a file that holds this part only; OSError if there is none."""
        return cast(BinaryIO, io.BufferedReader(_Part(self), 1 << 18))

    def chunks(self) -> Iterator[bytes]:
        """Yield its content."""
        with self.open() as file:
            while chunk := file.read(1 << 20):
                yield chunk


class _Part(io.RawIOBase):
    def __init__(self, part: Slice) -> None:
        self._file = part.file.open("rb")
        self._start, self._size = part.start, part.size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed names it more widely
        wanted = min(len(buffer), max(0, self._size - self._at))
        self._file.seek(self._start + self._at)
        count = self._file.readinto(memoryview(buffer)[:wanted])
        self._at += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
