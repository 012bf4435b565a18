"""What a host prints, passed on as it comes: whole characters, and nothing that moves a cursor."""

from __future__ import annotations

import codecs
import re
from typing import TextIO

from provisioner.report.text import clean

_COLORS = re.compile(r"\x1b\[[0-9;]*m")


class Stream:
    """Writes bytes that come in pieces, which may end in the middle of a character."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def put(self, data: bytes) -> None:
        """Write a piece at once."""
        self._write(self._decoder.decode(data))

    def end(self) -> None:
        """Write what is left."""
        self._write(self._decoder.decode(b"", final=True), last=True)

    def _write(self, text: str, last: bool = False) -> None:
        text = self._held + text
        self._held = "" if last or not text.endswith("\r") else "\r"  # the newline of a Windows line comes next
        shown = clean(_COLORS.sub("", text[: len(text) - len(self._held)]))
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._stream.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        self._stream.flush()
