"""The report for terminals: a live line per host at the bottom, permanent lines above it. The only user of rich.

Emitting threads only note things; a single thread writes, eight times a second, so that a burst of events from
hundreds of hosts costs one redrawing and rows never mix.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.live import Live
from rich.text import Text

from provisioner.events import Event, RunFinished, StillDoing
from provisioner.report.board import Board, Row
from provisioner.report.lines import Line, status_tone
from provisioner.report.narrator import Narrator

STYLES = {"good": "green", "change": "yellow", "bad": "bold red", "note": "cyan", "quiet": "dim", "title": "bold"}
_SYMBOLS = {"": "•", "ok": "✓", "changed": "~", "failed": "✗", "unreachable": "!", "skipped": "-"}
_ASCII_SYMBOLS = {**_SYMBOLS, "": ">", "ok": "=", "failed": "x"}
_WAITING = " "


class ConsoleReport:
    """A live view of the run; ``per_second=0`` starts no thread: only ``refresh`` draws then."""

    def __init__(
        self,
        stream: TextIO | None = None,
        verbose: int = 0,
        *,
        console: Console | None = None,
        per_second: float = 8,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console or Console(file=stream, highlight=False, markup=False, emoji=False)
        self._narrator = Narrator(verbose)
        self._board = Board(clock)
        self._pending: list[Line] = []
        self._state = threading.Lock()  # guards the three above; held for moments, never while writing
        self._writing = threading.RLock()  # guards the terminal; taken before the other one
        self._live: Live | None = None
        self._broken: Exception | None = None
        self._done = threading.Event()
        self._per_second = per_second
        self._begun = False
        self._thread: threading.Thread | None = None
        unicode = self._console.encoding.lower().startswith("utf")
        self._symbols = _SYMBOLS if unicode else _ASCII_SYMBOLS

    def emit(self, event: Event) -> None:
        """Note the event; the last one stops the live view and writes the summary."""
        if self._broken:
            raise self._broken
        if isinstance(event, StillDoing):
            return  # the row shows the seconds
        with self._state:
            self._pending += self._narrator.lines(event)
            self._board.take(event)
            begins, self._begun = not self._begun, True
        if begins:
            self._begin()
        if isinstance(event, RunFinished):
            self.close()

    def refresh(self) -> None:
        """Write what is pending and redraw."""
        with self._writing:
            if self._live and not self._write_pending():
                self._live.refresh()

    @contextmanager
    def suspend(self) -> Iterator[None]:
        """The terminal for somebody else, with all that happened so far above; what happens now is shown later."""
        with self._writing:
            was_live = self._live is not None
            self._stop_live()
            self._write_pending()
        try:
            yield
        finally:
            if was_live:
                self._start_live()

    def close(self) -> None:
        """Take the live view away and write the rest."""
        self._done.set()
        with self._writing:
            self._stop_live()
            self._write_pending()
        if self._thread:
            self._thread.join(timeout=2)

    def _begin(self) -> None:
        self._start_live()
        if self._per_second:
            self._thread = threading.Thread(target=self._keep_refreshing, name="report", daemon=True)
            self._thread.start()

    def _keep_refreshing(self) -> None:
        while not self._done.wait(1 / self._per_second):
            try:
                self.refresh()
            except Exception as error:
                self._broken = error
                return

    def _start_live(self) -> None:
        """A new view each time: one that was stopped remembers rows that are no longer there."""
        with self._writing:
            if self._done.is_set():
                return
            self._live = Live(
                self,
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def _stop_live(self) -> None:
        live, self._live = self._live, None
        if live:
            live.stop()

    def _write_pending(self) -> bool:
        """Write the lines above the live view, which rich then redraws; False if there were none."""
        with self._state:
            pending, self._pending = self._pending, []
        if pending:
            styled = [Text(self._encodable(line.text), STYLES.get(line.tone, "")) for line in pending]
            self._console.print(Text("\n").join(styled), soft_wrap=True)
        return bool(pending)

    def __rich__(self) -> Text:
        """The live view as it is now, cut to the terminal's size; rich asks at every drawing."""
        width, height = self._console.size
        with self._state:
            rows, others = self._board.visible(max(1, height - 3))
            name_width = min(max((cell_len(self._encodable(row.name)) for row in rows), default=0), max(4, width // 3))
            drawn = [self._row(row, name_width) for row in rows]
            if others:
                drawn.append(Text(others, "dim"))
            drawn.append(Text(self._board.title(), "bold"))
        for line in drawn:
            line.truncate(width, overflow="ellipsis")
        return Text("\n", no_wrap=True, overflow="crop").join(drawn)

    def _row(self, row: Row, name_width: int) -> Text:
        begun = row.status or row.doing
        symbol = self._symbols.get(row.status, "?") if begun else _WAITING
        seconds = f"{self._board.seconds(row):5.0f} s" if begun else " " * 7
        name = set_cell_size(self._encodable(row.name), name_width)
        what = self._encodable(row.status or row.doing or "waiting")
        tone = status_tone(row.status) if row.status else ("" if row.doing else "quiet")
        return Text(f"{symbol} {name} {seconds}  {what}", STYLES.get(tone, ""))

    def _encodable(self, text: str) -> str:
        encoding = self._console.encoding
        return text.encode(encoding, "backslashreplace").decode(encoding)
