"""What we made on this host, so that teardown undoes that and nothing else. Observation always beats it."""

from __future__ import annotations

import json
import os

from provisioner.remote.files import create_aside, replace, unlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Set

    Entry = Dict[str, Any]


PRIVATE = ("secrets", "redis", "service")
"""Folders of a root with secrets in them: of one whose writing was cut off, no task may know."""


class Marker:
    """A small JSON file under the root: an entry per resource, with its parameters and what was there before.

    An entry is written *before* the thing it speaks of is made: an interrupted run leaves at worst an entry for
    something that does not exist, never something that nobody remembers.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.entries: Dict[str, Entry] = {}
        self._held: Set[str] = set()
        self.load()

    def load(self) -> None:
        """Read what is on the disk now; a damaged file says nothing."""
        try:
            with open(self._path, encoding="utf-8") as file:
                entries = json.load(file)["entries"]
            self.entries = {key: entry for key, entry in entries.items() if isinstance(entry, dict)}
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, AttributeError):
            self.entries = {}

    def get(self, key: str) -> Optional[Entry]:
        return self.entries.get(key)

    def put(self, key: str, entry: Entry) -> None:
        if self.entries.get(key) == entry:
            return
        self.entries[key] = entry
        self._save()

    def drop(self, key: str) -> None:
        if self.entries.pop(key, None) is not None:
            self._save()

    def hold(self, key: str) -> None:
        """Have an entry outlive this run: what it speaks of is left to a session with other rights."""
        self._held.add(key)

    def forget(self) -> None:
        """Drop what tasks left here that had nothing to undo: a command without `undo`, a variable others changed."""
        for key in [key for key, entry in self.entries.items() if "kind" in entry and key not in self._held]:
            self.drop(key)
        root = os.path.dirname(self._path)
        discard_asides(root)
        for folder in (os.path.join(root, name) for name in PRIVATE):
            discard_asides(folder)
            if os.path.isdir(folder) and not os.listdir(folder):
                os.rmdir(folder)

    def _save(self) -> None:
        if not self.entries:
            if os.path.exists(self._path):
                unlink(self._path)
            return
        os.makedirs(os.path.dirname(self._path), mode=0o755, exist_ok=True)
        text = json.dumps({"version": 1, "entries": self.entries}, indent=1, sort_keys=True)
        write_atomically(self._path, text.encode("utf-8"), 0o600)


def write_atomically(path: str, data: bytes, mode: int = 0o644) -> None:
    """Replace a file in one step and make sure it survives a power cut; a link stays, what it points to is replaced.

    On Windows ``mode`` only says whether others may use it at all (then the list that was there, or the folder's,
    stays in force).
    """
    path = os.path.realpath(path)
    discard_asides(*os.path.split(path))  # first: whatever ends this run, the next one comes by here again
    descriptor, aside = create_aside(path, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        replace(aside, path)
    except BaseException:
        _discard(aside)
        raise


def _discard(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return  # what went wrong before is to be told, not this


def discard_asides(folder: str, name: str = "") -> None:
    """Remove what runs that were ended while they wrote have left in a folder: of one file, or of all of them."""
    try:
        entries = os.listdir(folder)
    except OSError:  # one may be allowed to write there and not to look
        return
    for entry in entries:
        begin, part, number = entry.rpartition(".part")
        if part and number[:1].isdigit() and name in ("", begin):
            try:
                unlink(os.path.join(folder, entry))
            except OSError:
                continue  # another run's, which may be at it
