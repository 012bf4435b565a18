"""Run logs read again: the events of a run as they were, for who makes something of them later."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from provisioner import events
from provisioner.errors import InputError
from provisioner.events import Difference, Event, RunFinished, RunStarted
from provisioner.report.record import RunRecord
from provisioner.report.runlog import OURS
from provisioner.report.text import clean, map_strings

LARGEST = 200_000_000
"""Bytes of a run log that are read: a run on 500 hosts writes some 10 million."""

_KINDS: dict[str, type[Event]] = {kind.__name__: kind for kind in Event.__subclasses__()}
_TEXTS = frozenset({"str", "Verb", "Status", "Action", "Severity"})


@dataclasses.dataclass(frozen=True)
class Replay:
    """A run that is over, or was broken off.

    ``begun`` is when its first event was written, ``ended`` whether its last one was.
    """

    name: str
    begun: datetime
    events: tuple[Event, ...]
    record: RunRecord
    ended: bool


def find_run(which: str, folder: Path) -> Path:
    """The run log that is meant: a path, the beginning of a log's name in the folder, or the newest if empty.

    Raises:
        InputError: there is none, or several begin like this.
    """
    if which and Path(which).is_file():
        return Path(which)
    logs = sorted(path for path in folder.iterdir() if OURS.fullmatch(path.name)) if folder.is_dir() else []
    if not logs:
        raise InputError(f"no run has left a log in {folder}", remedy="`provision check` makes one")
    if not which:
        return logs[-1]
    fitting = [path for path in logs if path.name.startswith(which)]
    if len(fitting) == 1:
        return fitting[0]
    newest = ", ".join(path.stem for path in (fitting or logs)[-3:])
    found = f"{len(fitting)} run logs begin" if fitting else "no run log begins"
    raise InputError(f"{found} with {which} in {folder}", remedy=f"the newest are {newest}")


def read_run(path: Path) -> Replay:
    """The run of a log; control characters are shown, a last line that was not written whole is left out.

    Raises:
        InputError: it can't be read, is too large or no run log.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path} is larger than {LARGEST // 1_000_000} MB", remedy="is it a run log of ours?")
        lines = path.read_text(encoding="utf-8", errors="backslashreplace").split("\n")
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}") from None
    told = tuple(_events(lines, path))
    if not told or not isinstance(told[0], RunStarted):
        raise InputError(f"{path} is no run log: it does not begin with RunStarted", remedy="name one of `provision`'s")
    try:
        begun = datetime.fromisoformat(json.loads(lines[0])["time"])
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path}:1 does not say when the run began") from None
    record = RunRecord()
    for event in told:
        record.take(event)
    return Replay(path.stem, begun, told, record, isinstance(told[-1], RunFinished))


def _events(lines: list[str], path: Path) -> Iterator[Event]:
    """What each line tells; kinds that this version does not know are passed over."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            said = json.loads(line)
            kind = _KINDS.get(str(said["event"]))
            event = _made(kind, said) if kind else None
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
            if number == len(lines):
                return  # the run was ended in the middle of a line
            raise InputError(f"{path}:{number} is no event of a run", remedy="is the file whole?") from None
        if event:
            yield map_strings(event, clean)


def _made(kind: type[Any], said: dict[str, Any]) -> Any:
    """An event or difference of what a log says; ValueError or TypeError if a value is not of its kind."""
    fields = {each.name: str(each.type) for each in dataclasses.fields(kind)}
    return kind(**{name: _value(fields[name], value) for name, value in said.items() if name in fields})


def _value(wanted: str, value: Any) -> Any:
    if wanted in _TEXTS:
        return str(value)
    if wanted == "tuple[str, ...]":
        return tuple(map(str, value))
    if wanted == "tuple[Difference, ...]":
        return tuple(_made(Difference, each) for each in value)
    if wanted == "tuple[tuple[str, str], ...]":
        return tuple((str(command), str(what)) for command, what in value)
    if wanted == "dict[str, int]":
        return {str(name): int(number) for name, number in value.items()}
    if wanted == "dict[str, Any]":
        return dict(value)
    return {"float": float, "int": int, "bool": bool}[wanted](value)


assert all(  # a new kind of field needs its line above
    each.type in _TEXTS | {"tuple[str, ...]", "tuple[Difference, ...]", "tuple[tuple[str, str], ...]", "dict[str, int]"}
    or each.type in {"dict[str, Any]", "float", "int", "bool"}
    for kind in (*_KINDS.values(), events.Difference)
    for each in dataclasses.fields(kind)
)
