"""Ctrl-C, and what else asks a program to end: counted, and heeded by whoever waits (engine/stop.py)."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any

INTERRUPTED = 130
SIGNALS = ("SIGINT", "SIGTERM", "SIGBREAK")
"""Ctrl-C, the end that a service manager or `timeout` asks for, and Ctrl-Break on Windows."""


class Interrupts:
    """A context manager: inside, signals that would end the program are counted.

    The third one ends it on the spot: whatever should have heeded the others does not. What is ignored when it begins
    (in the background of a script) stays so.
    """

    def __init__(self) -> None:
        self.count = 0
        self._asking = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        for name in SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                with suppress(ValueError):  # not in the main thread: whoever calls us there has handlers of its own
                    self._before[number] = signal.signal(number, self._heed)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _heed(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 2:
            os._exit(INTERRUPTED)
        if self._asking:
            raise KeyboardInterrupt

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Have an interrupt end what is done meanwhile: a question to the user, or all that comes before the run."""
        self._asking = True
        try:
            yield
        finally:
            self._asking = False


def leave_at_once(main: Callable[[], None]) -> None:
    """Run the program; one that was interrupted ends without waiting for its threads."""
    try:
        main()
    except SystemExit as end:
        if end.code != INTERRUPTED:
            raise
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(INTERRUPTED)
