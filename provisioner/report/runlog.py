"""The run log: every event of a run as a line of JSON, for the user who asks later what happened.

It lies in ``<state>/runs/<UTC time>-<verb>-<cluster>.jsonl``, where ``<state>`` is the environment's PROVISION_STATE
or the user's state folder; only the user may read it; the newest fifty are kept.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import re
import threading
from datetime import datetime, timezone
from pathlib import Path
from typing import TextIO

from provisioner.events import Event
from provisioner.report.text import plain_json

KEPT = 50
OURS = re.compile(r"\d{8}T\d{6}Z-.+\.jsonl")


class RunLog:
    """A run log, open from now on. A failure to open or write is raised by ``emit``, never at once."""

    def __init__(self, verb: str, cluster: str, folder: Path | None = None) -> None:
        self.path = ""
        self._lock = threading.Lock()
        self._file: TextIO | None = None
        self._error: OSError | None = None
        try:
            self._file = _create(folder or runs_folder(), verb, cluster)
            self.path = self._file.name
        except OSError as error:
            self._error = error

    def emit(self, event: Event) -> None:
        """Append the event and flush, so that even a killed run leaves all it did."""
        said = {"event": type(event).__name__, "time": _now().isoformat(), **dataclasses.asdict(event)}
        line = plain_json(said, default=str)
        with self._lock:
            if self._error:
                raise self._error
            if self._file:
                self._file.write(line + "\n")
                self._file.flush()

    def close(self) -> None:
        """Close the file; one without an event is not worth keeping."""
        with self._lock:
            if self._file:
                empty = self._file.tell() == 0
                self._file.close()
                self._file = None
                if empty:
                    Path(self.path).unlink(missing_ok=True)


def runs_folder() -> Path:
    """Where run logs lie."""
    state = os.environ.get("PROVISION_STATE")
    if not state:
        from platformdirs import user_state_dir

        state = user_state_dir("provision", appauthor=False)
    return Path(state).expanduser().absolute() / "runs"


def _create(folder: Path, verb: str, cluster: str) -> TextIO:
    """A new file of its own, and the oldest ones removed."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        folder.chmod(0o700)
    stem = f"{_now():%Y%m%dT%H%M%SZ}-{_safe(verb)}-{_safe(cluster)}"
    for number in itertools.count(1):
        path = folder / (f"{stem}.jsonl" if number == 1 else f"{stem}-{number}.jsonl")
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        os.close(descriptor)
        break
    _forget_old(folder, path)
    return path.open("a", encoding="utf-8")


def _forget_old(folder: Path, newest: Path) -> None:
    """Remove run logs beyond the number kept; somebody else's files and what cannot be removed stay."""
    with contextlib.suppress(OSError):
        logs = sorted(path for path in folder.iterdir() if OURS.fullmatch(path.name) and path != newest)
        for path in logs[: max(0, len(logs) - (KEPT - 1))]:
            with contextlib.suppress(OSError):
                path.unlink()


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:60] or "_"


def _now() -> datetime:
    return datetime.now(timezone.utc)
