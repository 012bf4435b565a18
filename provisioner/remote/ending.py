"""How this program ends before its conversation does: the controller is gone, or the user wants the run ended."""

from __future__ import annotations

import os
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, List

    from provisioner.remote.host import Host

STEP_LIMIT = 25.0
"""Seconds that the step which is being done gets to be finished when the user wants the run ended."""
BREAK_LIMIT = 1.0
"""The same for one that can be broken off without anything being lost."""
LEAVE_LIMIT = 60.0
"""Seconds after which the program is gone for certain: what it holds keeps others from working here. A node that was
stopped is started meanwhile."""


_ENDING = threading.Lock()
_ENDED: List[bool] = []
RAY_LIMIT = 3.0
"""Seconds to find out whether Ray runs, where somebody waits for the end."""


class Steps:
    """What is being done now, and whether anything more may begin."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()
        self._may = threading.Event()
        self._may.set()
        self._halted = 0.0
        self._cut = False
        self._breaks_off = False
        self._name = ""

    def begin(self, name: str, breaks_off: bool, last: bool = False) -> None:
        """Note that a step begins; does not return if none may begin any more, but the ``last``, which tidies up."""
        if not last:
            self._may.wait()  # the controller says so, or is gone, which ends this program
        with self._lock:
            if last or not self._halted:
                self._name, self._breaks_off = name, breaks_off
                self._idle.clear()
                return
        _stay()

    def end(self, tell: Callable[[], None]) -> None:
        """Tell that it has ended; does not return if it was given up meanwhile: what it says has no meaning."""
        with self._lock:
            if not self._cut:
                tell()
                self._idle.set()
                return
        _stay()

    def halt(self) -> None:
        """Have nothing more begun."""
        with self._lock:
            self._halted = self._halted or time.monotonic()

    def pause(self, on: bool) -> None:
        """Have nothing more begun for now, or go on: whose turn it is, is not certain."""
        if on:
            self._may.clear()
        else:
            self._may.set()

    def cut(self) -> None:
        """Give up what is being done, and have nothing more begun; the program stays, and what it holds."""
        with self._lock:
            self._halted, self._cut = self._halted or time.monotonic(), True
        break_off()

    def stop(self, before_cut: Callable[[], None]) -> str:
        """Wait for what is being done, and have nothing more begun; returns the name of what was broken off.

        Args:
            before_cut: called before a step is broken off, as long as programs can still be started.
        """
        self.halt()
        limit = BREAK_LIMIT if self._breaks_off else STEP_LIMIT
        if self._idle.wait(max(BREAK_LIMIT, limit - (time.monotonic() - self._halted))):
            return ""
        with self._lock:
            if self._idle.is_set():
                return ""
            self._cut = True
        before_cut()
        break_off()
        return self._name


def break_off() -> None:
    """Bring what is in the middle to one of its two ends, and end every program that runs for us."""
    from provisioner.remote.platforms import end_children
    from provisioner.remote.service import finish

    finish()
    with _ENDING:  # once: nothing can be started any more
        if not _ENDED:
            end_children()
            _ENDED.append(True)


def ray_state(host: Host) -> str:
    """Return whether Ray runs there now: runs, stopped, or nothing if there is none of ours, or the machine is too busy
    to say."""
    from provisioner.remote import service

    if service.UNFINISHED:
        return "runs"  # it will in a moment
    found: List[str] = []

    def look() -> None:
        try:
            state = host.service_manager.observe(host, service.service_name(host))
        except Exception:
            return
        if state["active"] or state["defined"] is not None:
            found.append("runs" if state["active"] else "stopped")

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    looking.join(RAY_LIMIT)
    return found[0] if found else ""


def lost() -> None:
    """The controller is gone: end what runs for us and leave. Everything is safe to interrupt.

    Whatever happens meanwhile, such as an import that another thread is in the middle of: it ends.
    """
    late = threading.Timer(LEAVE_LIMIT, os._exit, (1,))
    late.daemon = True
    late.start()
    try:
        break_off()
    finally:
        os._exit(1)


def heed_signals() -> None:
    """Take the signal that an SSH server may send when it hangs up for what it is, or it would end us and leave our
    children behind.

    In a thread, because it comes in the middle of anything, such as the start of a program that is not known yet.
    """
    import signal

    for name in ("SIGHUP", "SIGTERM"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: threading.Thread(target=lost).start())


def _stay() -> None:
    """Wait for the end of this program."""
    threading.Event().wait()
