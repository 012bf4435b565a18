"""The report for pipes, CI and dumb terminals: a line per event worth one; quick to start, nothing moves."""

from __future__ import annotations

import os
import threading
from typing import TextIO

from provisioner.events import Event
from provisioner.portable import knows_colors
from provisioner.report.lines import Line, Tone
from provisioner.report.narrator import Narrator

_CODES: dict[Tone, str] = {
    "good": "\x1b[32m",
    "change": "\x1b[33m",
    "bad": "\x1b[31m",
    "note": "\x1b[36m",
    "quiet": "\x1b[2m",
    "title": "\x1b[1m",
}
_RESET = "\x1b[0m"


class PlainReport:
    """Writes lines to a stream, each event's at once."""

    def __init__(self, stream: TextIO, verbose: int = 0, color: bool | None = None) -> None:
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._color = may_color(stream) if color is None else color
        self._narrator = Narrator(verbose)
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        """Write what the event is worth."""
        with self._lock:
            told = self._narrator.lines(event)
            if told:
                text = "".join(f"{paint(line, self._color)}\n" for line in told)
                self._stream.write(text.encode(self._encoding, "backslashreplace").decode(self._encoding))
                self._stream.flush()

    def close(self) -> None:
        """Nothing is held back, so nothing is left to do."""


def paint(line: Line, color: bool) -> str:
    """A line's text, in the color of its tone if there are colors."""
    code = _CODES.get(line.tone) if color and line.text else None
    return f"{code}{line.text}{_RESET}" if code else line.text


def may_color(stream: TextIO) -> bool:
    """Whether colors make sense there: a terminal that knows them, and a user who did not say no."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and not is_dumb() and knows_colors(stream)


def is_dumb() -> bool:
    """Whether the terminal can neither color nor move its cursor."""
    return os.environ.get("TERM", "").lower() in {"dumb", "unknown"}
