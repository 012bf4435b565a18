"""Whose turn it is on this host: the lock that a run holds while it works here, and the note in it that says whose.

The lock is the operating system's (flock, msvcrt), so it goes with the program that holds it, however that ends. On the
head's host it is the whole run's: nobody else begins to work on the cluster meanwhile (engine/turn.py asks for it).
The note only informs; it is written every few seconds as long as the controller is heard. A program that gave no such
sign of life for a while should have ended by itself long ago: it is stopped or hangs, and whoever waits ends it, if it
is certain that it is the one that wrote the note, and that it does nothing.
"""

from __future__ import annotations

import json
import os
import threading
import time

from provisioner.remote.failure import Failure
from provisioner.remote.wire import SILENCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Optional, Tuple

    from provisioner.remote.host import Host
    from provisioner.remote.platforms.base import Platform

    Note = Dict[str, Any]

ALIVE = 5.0
"""Seconds between two signs of life."""
STUCK = 3 * SILENCE
"""Seconds without one after which the program is ended by whoever waits."""
GRACE = 5.0
"""Seconds that it gets to end in good order."""
LOOK = 2.0
"""Seconds between two looks at whether it is stuck."""
WATCH = 10.0
"""Seconds that it is watched before that is believed: a clock may have been set, a disk full for a moment."""
MARGIN = 5.0
"""Seconds by which two hosts may begin to look at different times without it meaning anything."""
LOCK_WAIT = STUCK + WATCH + 2 * GRACE
"""Seconds to wait on a host for a run that has lost its turn or its controller: its program ends after ``SILENCE``, and
one that hangs is ended."""
_LENGTH = 512
"""Bytes of a note at least: a shorter one is written over a longer one in one go."""


class Busy(Failure):
    """Another run holds the lock."""

    def __init__(self, note: Optional[Note] = None) -> None:
        super().__init__(
            "another run works on this host%s" % (": " + described(note) if note else ""),
            "wait for it to end, then run the same command again",
        )
        self.note = note


class Turn:
    """This program's hold of the host.

    Args:
        heard: returns when the controller was last heard (``time.monotonic()``).
    """

    def __init__(self, heard: Callable[[], float]) -> None:
        self.operator: Dict[str, Any] = {}
        """``who`` and ``verb`` of the run, as the controller tells them."""
        self.asks = False
        """Whether the run waits for its user's answer."""
        self.waited = False
        """Whether another run was met on the way to the lock."""
        self._heard = heard
        self._file: object = None
        self._path = ""
        self._made_root = False
        self._since = 0.0
        self._ended = False
        self._from = self._born = ""
        self._writing = threading.Lock()
        self._seen: Tuple[Any, ...] = ()
        self._seen_at = 0.0

    @property
    def held(self) -> bool:
        return self._file is not None

    def take(self, host: Host, wait: float) -> Optional[Note]:
        """Hold the lock; returns what the note said until now.

        Raises:
            Busy: another run has it, and still does after ``wait`` seconds.
        """
        self._made_root = not os.path.isdir(host.root)
        self._path = host.path("lock")
        deadline = time.monotonic() + wait
        while not self.held:
            try:
                self._file = _lock(host, min(LOOK, max(0.0, deadline - time.monotonic())))
            except Busy:
                self.waited = True
                note = read(self._path)
                ended = bool(note and self._hangs(host.platform, note) and _end_stuck(host.platform, note))
                if not ended and time.monotonic() >= deadline:
                    raise Busy(note) from None
        before = read(self._path)
        self._since, self._from, self._born = time.time(), _origin(), _asked(host.platform.birth, os.getpid())
        self._write()
        threading.Thread(target=self._live, daemon=True, name="turn").start()
        return before

    def tell(self, asks: bool) -> None:
        """Have the note say whether the run waits for its user's answer."""
        with self._writing:
            self.asks = asks
            if self.held and not self._ended:
                self._write()

    def end(self, host: Host) -> None:
        """Note that the run is over; the lock itself goes with this program. A folder made for it alone goes too."""
        if not self.held:
            return
        with self._writing:
            self._ended = True
            self._write()
        if self._made_root and self._is_alone(host.root):
            try:
                host.platform.clean(host.root, False)
            except (OSError, Failure):
                return  # whoever waits has it open (Windows)

    def _is_alone(self, root: str) -> bool:
        """Tell whether our lock is all that there is in the folder."""
        try:
            with open(self._path, "rb") as file:
                return os.listdir(root) == ["lock"] and self._is_ours(file)
        except OSError:
            return False

    def _live(self) -> None:
        while not self._ended:
            time.sleep(ALIVE)
            with self._writing:
                if not self._ended:
                    self._write()

    def _write(self) -> None:
        now = time.time()
        note = {
            "pid": os.getpid(),
            "who": str(self.operator.get("who") or ""),
            "verb": str(self.operator.get("verb") or ""),
            "asks": self.asks,
            "from": self._from,
            "born": self._born,
            "since": self._since,
            "alive": now - (time.monotonic() - self._heard()),
            "ended": now if self._ended else None,
        }
        try:
            with open(self._path, "r+b") as file:
                if self._is_ours(file):
                    file.write(json.dumps(note).encode("ascii").ljust(_LENGTH))
        except OSError:
            return  # a full disk keeps nobody from working: the lock itself is held

    def _is_ours(self, file: Any) -> bool:
        """Tell whether a file is the one that is held: a teardown removes it, and whoever waited makes another."""
        held: Any = self._file
        return not held.closed and os.path.samestat(os.fstat(file.fileno()), os.fstat(held.fileno()))

    def _hangs(self, platform: Platform, note: Note) -> bool:
        """Tell whether whoever wrote a note lives on without doing anything: the note is old and, as long as we watch,
        neither it nor the process gives a sign of life."""
        now, seen = (
            time.monotonic(),
            (note["pid"], note.get("born"), note["alive"], _asked(platform.pulse, int(note["pid"]))),
        )
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        return not note.get("ended") and time.time() - note["alive"] > STUCK and now - self._seen_at >= WATCH


def _lock(host: Host, wait: float) -> object:
    """Hold the lock; whoever has it now may be about to remove the folder it lies in."""
    deadline = time.monotonic() + wait
    while True:
        host.folder()
        try:
            return host.platform.lock(host.path("lock"), max(0.0, deadline - time.monotonic()))
        except FileNotFoundError:
            if time.monotonic() > deadline + GRACE:
                raise


def read(path: str) -> Optional[Note]:
    """Return the note in a lock file, None if there is none that can be understood."""
    try:
        with open(path, "rb") as file:
            note = json.loads(file.read(1 << 16).decode("ascii"))
    except (OSError, ValueError):
        return None
    numbers = (int, float)
    if isinstance(note, dict) and all(isinstance(note.get(name), numbers) for name in ("pid", "since", "alive")):
        return note
    return None


def told(note: Optional[Note]) -> Dict[str, Any]:
    """Return a note for the controller, whose clock may be another: with ages, in seconds, in place of times."""
    if note is None:
        return {}
    now = time.time()
    words = {name: str(note.get(name) or "")[:200] for name in ("who", "verb", "from")}
    ages = {"age": max(0.0, now - note["since"]), "silent": max(0.0, now - note["alive"])}
    return dict(words, pid=int(note["pid"]), asks=bool(note.get("asks")), **ages)


def described(note: Note) -> str:
    """Return a note in words."""
    seen = told(note)
    who = seen["who"] or "somebody"
    whence = " from %s" % seen["from"] if seen["from"] else ""
    return "%s of %s%s, pid %d, for %d s, last sign of life %d s ago" % (
        seen["verb"] or "a run", who, whence, seen["pid"], seen["age"], seen["silent"],
    )  # fmt: skip


def is_stale(before: Optional[Note], age: float, own_age: float, slack: float = 1.0) -> bool:
    """Tell whether another run may have worked here since we began to look.

    Args:
        before: the note that was there when the lock became ours.
        age: seconds since the first host of the run was looked at.
        own_age: seconds since this one was.
        slack: seconds by which ``age`` may be too small: it was on its way to us.
    """
    if before is None:  # a teardown leaves no note, so what was before we looked is not known
        return age > own_age + MARGIN
    ended = before.get("ended")
    last = ended if isinstance(ended, (int, float)) else before["alive"] + SILENCE + GRACE
    return bool(time.time() - last < age + slack)


def _asked(about: Callable[[int], str], pid: int) -> str:
    """Return what the system says of a process, empty if it does not: that keeps nobody from working."""
    try:
        return about(pid)
    except Exception:
        return ""


def _end_stuck(platform: Platform, note: Note) -> bool:
    """End a program that should have ended by itself; tell whether it is gone. Whatever is not as expected: it is not.

    A pid alone says nothing: the note may be older than the machine's last start.
    """
    pid, born = int(note["pid"]), note.get("born")
    try:
        if not born or platform.birth(pid) != born:
            return False
        _ask_to_end(pid)
        deadline = time.monotonic() + GRACE
        while platform.runs(pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        if platform.runs(pid) and platform.birth(pid) == born:
            platform.kill([pid])
        return not platform.runs(pid)
    except Exception:  # a lock that is held is what whoever waits expects, and can be told of
        return False


def _ask_to_end(pid: int) -> None:
    """Have it take its children along, if it still can: it may only be stopped."""
    import signal

    for name in ("SIGTERM", "SIGCONT"):
        if hasattr(signal, "SIGCONT"):
            try:
                os.kill(pid, getattr(signal, name))
            except OSError:
                return


def _origin() -> str:
    """Return the address of the machine that logged in here, empty if that is not known."""
    client = os.environ.get("SSH_CLIENT") or os.environ.get("SSH_CONNECTION") or _of_parents()
    return client.split()[0][:100] if client.split() else ""


def _of_parents() -> str:
    """Return SSH_CLIENT of a process above us: sudo takes it out of the environment (Linux)."""
    pid = os.getppid()
    for _ in range(4):
        try:
            with open("/proc/%d/environ" % pid, "rb") as file:
                found = [entry for entry in file.read().split(b"\0") if entry.startswith(b"SSH_CLIENT=")]
            if found:
                return found[0].partition(b"=")[2].decode("ascii", "replace")
            with open("/proc/%d/stat" % pid, "rb") as file:
                pid = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return ""
    return ""
