"""Files that were sent here: ``<root>/store/<sha256>/<filename>``, whole and verified, or not there at all.

A transfer that was cut off leaves ``<root>/store/<sha256>/.part``, and the next one goes on where it ended.

Nothing is flushed to the disk before a file gets its final name, so after a power cut it may have the right size and
no content. Its size therefore proves nothing: a file that was there before this conversation is hashed at its first
use in it. That costs a third of a second per 100 MB, only where something is built, and finds what a dying disk does as
well; flushing would cost each host more than that at every transfer.
"""

from __future__ import annotations

import os
import threading
import time

from provisioner.remote.failure import Failure
from provisioner.remote.files import open_for_more, replace, shut, unlink
from provisioner.remote.folders import remove_if_empty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any, Callable, Dict, List, Optional

    from provisioner.remote.pull import Neighbour
    from provisioner.remote.wire import Wire

    Wanted = Dict[str, Any]
    """A file: ``sha256``, ``filename`` and ``size`` in bytes; ``private``, if true: nobody else may read it here."""

TELL = 0.5
"""Seconds between two words to the user about a transfer."""


class Store:
    """The folder of received files. Any thread may use it; what one receives, the others wait for.

    Of several programs, only the one that holds the host's lock may.

    Args:
        folder: made when something is received.
        wire: the way to the controller.
        doing: tells the user what takes time.
        own: the address under which the other hosts know this one.
    """

    def __init__(self, folder: str, wire: Wire, doing: Callable[[str], None], own: str = "") -> None:
        self.folder = folder
        self._wire = wire
        self._doing = doing
        self._own = own
        self._neighbour: Optional[Neighbour] = None
        self._changed = threading.Condition()
        self._coming: Dict[str, Wanted] = {}
        self._whole: Dict[str, str] = {}
        """Where each file is whose content was hashed by this program."""

    def fetch(self, sha256: str, filename: str, size: int, direct: bool = False, private: bool = False) -> str:
        """Return the path of a file, received now if it is missing; if ``private``, nobody else may read it there."""
        wanted = {"sha256": sha256, "filename": filename, "size": size, "private": private}
        return self.fetch_all([wanted], filename, direct)[sha256]

    def path_of(self, sha256: str, filename: str) -> str:
        """Return where a file is, if it is there."""
        return _path(self.folder, {"sha256": sha256, "filename": filename})

    def forget(self, sha256: str, filename: str) -> None:
        """Remove a file that was fetched, now that its content is where it belongs."""
        path = self.path_of(sha256, filename)
        with self._changed:
            self._whole.pop(sha256, None)
        if os.path.exists(path):
            unlink(path)
        remove_if_empty(os.path.dirname(path))

    def fetch_all(self, files: List[Wanted], what: str, direct: bool = False) -> Dict[str, str]:
        """Return the paths of files by sha256; what is missing is received, with one question for all of it.

        Args:
            files: what is wanted.
            what: names it in messages, such as ``packages``.
            direct: from the controller in any case, not from the host that hands out files to the others.

        Raises:
            Failure: there is no room, the controller does not have a file, or one arrived damaged twice.
        """
        wanted = {each["sha256"]: each for each in files}
        ours = self._claim(wanted)
        try:
            missing = [each for each in ours if self._find(each) is None]
            if missing:
                self._receive(missing, what, direct)
        finally:
            self._release(ours)
        return {sha256: self._of_others(each, what, direct) for sha256, each in wanted.items()}

    def whole(self, sha256: str, seconds: float = 0.0) -> Optional[str]:
        """Return the path of a file whose content was hashed by this program, waiting for it so long; else None."""
        with self._changed:
            self._changed.wait_for(lambda: sha256 in self._whole, seconds)
            return self._whole.get(sha256)

    def _claim(self, wanted: Dict[str, Wanted]) -> List[Wanted]:
        """Return the files that no other thread is receiving; they are ours now."""
        with self._changed:
            ours = {sha256: each for sha256, each in wanted.items() if sha256 not in self._coming}
            self._coming.update(ours)
        return list(ours.values())

    def _release(self, files: List[Wanted]) -> None:
        with self._changed:
            for each in files:
                if self._coming.get(each["sha256"]) is each:
                    del self._coming[each["sha256"]]
            self._changed.notify_all()

    def _of_others(self, wanted: Wanted, what: str, direct: bool) -> str:
        """Return the path of a file that another thread may be receiving; if it failed there, it is our turn."""
        sha256: str = wanted["sha256"]
        with self._changed:
            while sha256 in self._coming:
                self._changed.wait()
        return self._find(wanted) or self.fetch_all([wanted], what, direct)[sha256]

    def _find(self, wanted: Wanted) -> Optional[str]:
        """Return the path of a file that is whole, None if it is not; a damaged one is removed."""
        sha256: str = wanted["sha256"]
        path = _path(self.folder, wanted)
        if self._whole.get(sha256) == path:
            return path
        if not os.path.isfile(path):
            return None
        if os.path.getsize(path) != wanted["size"] or _hash_of(path).hexdigest() != sha256:
            os.unlink(path)
            return None
        if wanted.get("private"):  # releases before this one left it open
            shut(path)
        self._note(sha256, path)
        return path

    def _note(self, sha256: str, path: str) -> None:
        with self._changed:
            self._whole[sha256] = path
            self._changed.notify_all()

    def _receive(self, missing: List[Wanted], what: str, direct: bool) -> None:
        arrivals = [Arrival(self.folder, each) for each in missing]
        self._check_room(arrivals, what)
        meter = Meter(self._doing, what, arrivals)
        try:
            self._direct(arrivals if direct else self._from_others(arrivals, meter), meter)
        except OSError as error:
            if not _is_full(error):
                raise
            for arrival in arrivals:
                arrival.drop()
            raise self._no_room(arrivals, what, "the disk became full while %s arrived" % what) from None
        finally:
            for arrival in arrivals:
                arrival.close()

    def _from_others(self, arrivals: List[Arrival], meter: Meter) -> List[Arrival]:
        """Receive what another host hands out; returns the rest."""
        from provisioner.remote.pull import Neighbour

        with self._changed:
            if self._neighbour is None:
                self._neighbour = Neighbour(self._wire, self._own)
        return self._neighbour.receive(arrivals, meter, self._keep)

    def _direct(self, arrivals: List[Arrival], meter: Meter) -> None:
        """Receive files from the controller: all are asked for at once, so that the way there is paid for once."""
        if arrivals:
            meter.begin()
        for arrival in arrivals:
            arrival.resumed = arrival.have > 0
        coming = [
            (arrival, self._wire.need(arrival.sha256, arrival.have, meter.into(arrival.take))) for arrival in arrivals
        ]
        damaged = []
        try:
            for arrival, delivery in coming:
                delivery.wait()
                if not self._keep(arrival):
                    damaged.append(arrival)
        finally:
            for _, delivery in coming:
                delivery.cancel()
        for arrival in damaged:
            arrival.begin_anew()
        if damaged:
            self._direct(damaged, meter)

    def _keep(self, arrival: Arrival) -> bool:
        """Give a file that has arrived its final name, if it is the one that was wanted."""
        path = arrival.keep()
        if path is not None:
            self._note(arrival.sha256, path)
        return path is not None

    def _check_room(self, arrivals: List[Arrival], what: str) -> None:
        """Raise a Failure before anything is sent if there is no room for all of it."""
        if _free(self.folder) < sum(arrival.size - arrival.have for arrival in arrivals):
            raise self._no_room(arrivals, what, "there is no room for %s" % what)

    def _no_room(self, arrivals: List[Arrival], what: str, told: str) -> Failure:
        needed = sum(arrival.size - arrival.have for arrival in arrivals)
        return Failure(
            "%s: %s has %s free, %s more are needed" % (told, self.folder, shown(_free(self.folder)), shown(needed)),
            "free some space there, or choose another `root:`",
        )


class Arrival:
    """One file on its way here.

    Args:
        folder: the store's.
        wanted: which file.
    """

    def __init__(self, folder: str, wanted: Wanted) -> None:
        self.sha256: str = wanted["sha256"]
        self.filename: str = wanted["filename"]
        self.size: int = wanted["size"]
        self._private = bool(wanted.get("private"))
        self._path = _path(folder, wanted)
        self._part = os.path.join(os.path.dirname(self._path), ".part")
        self._lock = threading.Lock()
        self._file: Optional[IO[bytes]] = None
        self.begin()

    def take(self, piece: bytes) -> None:
        """Add what has arrived; OSError if the disk is full, ValueError after ``close``."""
        with self._lock:
            if self._closed:
                raise ValueError("nobody waits for it any more")
            if self._file is None:
                os.makedirs(os.path.dirname(self._part), mode=0o755, exist_ok=True)
                self._file = open_for_more(self._part, self._private)  # closed by close
            self._digest.update(piece)
            self._file.write(piece)
            self.have += len(piece)

    def keep(self) -> Optional[str]:
        """Give the file its final name and return it; None if it is not what was wanted."""
        if not self.have:
            self.take(b"")
        if self._file is not None:
            self._file.close()  # not by close(): the disk may be full
        if self._digest.hexdigest() != self.sha256:
            return None
        replace(self._part, self._path)
        return self._path

    def begin_anew(self) -> None:
        """Throw away what turned out to be damaged; a Failure if all of it was received just now."""
        self.drop()
        if not self.resumed:
            raise Failure("%s arrived damaged" % self.filename, "run the same command again")
        self.begin()

    def drop(self) -> None:
        """Remove what has arrived."""
        self.close()
        if os.path.exists(self._part):
            os.unlink(self._part)
            self.have = 0

    def close(self) -> None:
        """Let nothing more be added; what has arrived stays for the next time."""
        with self._lock:
            self._closed = True
            try:
                if self._file is not None:
                    self._file.close()
            except OSError:
                return  # the disk is full: what could not be written is sent again

    def begin(self) -> None:
        """Find out what an earlier transfer has left."""
        if os.path.isfile(self._part) and os.path.getsize(self._part) > self.size:
            os.unlink(self._part)
        self._digest = _hash_of(self._part)
        self.have = os.path.getsize(self._part) if os.path.isfile(self._part) else 0
        self.resumed = self.have > 0
        """Some of it came by another way than the rest: if it is damaged, it is worth another try."""
        self._file = None
        self._closed = False


class Meter:
    """Tells the user how much of some files has arrived, now and then.

    Args:
        doing: tells the user.
        what: names the files.
        arrivals: all of them.
    """

    def __init__(self, doing: Callable[[str], None], what: str, arrivals: List[Arrival]) -> None:
        self._doing = doing
        self._what = what
        self._origin = ""
        self._arrivals = arrivals
        self._total = sum(arrival.size for arrival in arrivals) // 10**6
        self._told = 0.0 if self._total else time.monotonic()

    def begin(self, origin: str = "") -> None:
        """Note the host that the files come from now, none: the controller."""
        self._origin = " from " + origin if origin else ""
        self.tell()

    def into(self, take: Callable[[bytes], None]) -> Callable[[bytes], None]:
        """Return ``take`` with a look at how far we are."""

        def told(piece: bytes) -> None:
            take(piece)
            self.tell()

        return told

    def tell(self) -> None:
        now = time.monotonic()
        if now - self._told < TELL:
            return
        self._told = now
        have = sum(arrival.have for arrival in self._arrivals) // 10**6
        self._doing("receiving %s%s, %d of %d MB" % (self._what, self._origin, have, self._total))


def shown(size: int) -> str:
    """Return a number of bytes as people say it: ``3 MiB``, and below that ``64 KiB``."""
    return "%d MiB" % (size >> 20) if size >= 1 << 20 else "%d KiB" % -(-size >> 10)


def _path(folder: str, wanted: Wanted) -> str:
    """Return a file's final name; a Failure if it would lie anywhere else than in its own folder."""
    sha256, filename = str(wanted["sha256"]), str(wanted["filename"])
    if (
        len(sha256) != 64
        or set(sha256) - set("0123456789abcdef")
        or filename[:1] in ("", ".")
        or set(filename) & set("/\\:")
    ):
        raise Failure("%r is no name for a file in the store" % filename)
    return os.path.join(folder, sha256, filename)


def _hash_of(path: str) -> Any:
    """Return the hash of what is in a file, to go on with; of nothing if there is no such file."""
    import hashlib

    digest = hashlib.sha256()
    if os.path.isfile(path):
        with open(path, "rb") as file:
            for piece in iter(lambda: file.read(1 << 20), b""):
                digest.update(piece)
    return digest


def _free(folder: str) -> int:
    """Return the bytes that are free on the disk a folder is, or will be, on."""
    import shutil

    while not os.path.isdir(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    return shutil.disk_usage(folder).free


def _is_full(error: OSError) -> bool:
    import errno

    return error.errno in (errno.ENOSPC, errno.EDQUOT)
