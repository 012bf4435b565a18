"""The command line in a process of its own that stops at a moment of its run, until it may go on or is killed.

The process is forked off one that has loaded everything: a command then costs no second of its own.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from provisioner.cli import main
from provisioner.engine import line, turn
from provisioner.events import Event
from provisioner.report import Reports
from provisioner.transport import delivery, program, starter

from .moments import Moment, moment

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__])
HASTE = 3.0
"""By how much less time than users' a command of a hasty room bears silence, on both sides: who gives up first, and
what lies between that and the other's giving up, stays as it is."""
CONTROLLER = ((line, "BEAT"), (line, "SILENCE"), (turn, "CERTAIN"))
HOST = ("BEAT", "SILENCE")
"""Of ``provisioner/remote/wire.py``; how long others wait for a lock follows from them."""


class Stuck(AssertionError):
    """A command did not end within its limit; it was killed."""


@dataclass(frozen=True)
class Said:
    """How a command ended: its exit code (negative: killed), its JSON document, and everything it wrote."""

    code: int
    document: Mapping[str, Any]
    text: str

    def __str__(self) -> str:
        hosts = self.document.get("hosts", {})
        told = [f"{name}: {one['status']} {one['message']}".strip() for name, one in hosts.items()]
        told += [f"{name}: {each}" for name, one in hosts.items() for each in one["differences"]]
        told += [each["message"] for each in self.document.get("notices", [])] if self.code else []
        return f"exit code {self.code}; " + ("; ".join(told) if hosts else self.text[-600:])


@dataclass
class Controller:
    """A command that runs, or has stopped at a moment.

    Args:
        argv: of ``provision``.
        hosts: the inventory's names, the head first.
        folder: for what it writes.
        stop: the moment to stop at; None: it goes on to its end.
        haste: by how much less time than users' commands it bears silence.
    """

    argv: Sequence[str]
    hosts: Sequence[str]
    folder: Path
    stop: Moment | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    haste: float = 1.0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._ours, theirs = FORKS.Pipe()
        arguments = (list(self.argv), list(self.hosts), str(self.folder), self.stop, dict(self.env), self.haste, theirs)
        self._process = FORKS.Process(target=_command, args=arguments, daemon=True)
        with _LOOKING:
            self._process.start()
        theirs.close()

    def stopped(self, limit: float) -> bool:
        """Wait until it has come to the moment; False if it ended without."""
        ready = wait([self._ours, self._process.sentinel], limit)
        if not ready:
            self.kill()
            raise Stuck(f"neither at its moment nor at its end after {limit:g} s: {self.text()[-1500:]}")
        with suppress(EOFError):
            return self._ours in ready and bool(self._ours.recv())
        return False

    def go_on(self) -> None:
        with suppress(BrokenPipeError):
            self._ours.send(True)

    def kill(self) -> None:
        """SIGKILL, and nobody else than it."""
        with _LOOKING:
            self._process.kill()
        self._ended(10)

    def end(self, limit: float) -> Said:
        """Wait for its end."""
        code = self._ended(limit)
        if code is None:
            self.kill()
            raise Stuck(f"no end after {limit:g} s: {' '.join(self.argv)}: {self.text()[-1500:]}")
        self._ours.close()
        out, text = (self.folder / "out").read_text(), self.text()
        return Said(code, json.loads(out) if out.startswith("{") and code >= 0 else {}, text)

    def _ended(self, limit: float) -> int | None:
        """Wait so long for its end; returns its exit code."""
        wait([self._process.sentinel], limit)
        with _LOOKING:
            return self._process.exitcode

    def moments(self) -> list[Moment]:
        """Return every moment it came by, in order."""
        rows = (self.folder / "moments").read_text().splitlines()
        return [Moment(*json.loads(row)) for row in rows]

    def text(self) -> str:
        return (self.folder / "err").read_text(errors="replace") + (self.folder / "out").read_text(errors="replace")


_LOOKING = threading.Lock()
"""Held when a process is started or looked at: each start looks at all of them, and an exit code can be read once."""


class Witness:
    """Sees every event of this process's run, and holds the thread that tells of the chosen moment."""

    def __init__(self, hosts: Sequence[str], stop: Moment | None, line: Connection, file: Path) -> None:
        self._hosts = hosts
        self._stop = stop
        self._line = line
        self._file = file.open("w", buffering=1)
        self._seen: set[Moment] = set()
        self._lock = threading.Lock()

    def see(self, event: Event) -> None:
        now = moment(event, self._hosts)
        with self._lock:
            if now is None or now in self._seen:
                return
            self._seen.add(now)
            self._file.write(json.dumps([now.host, now.what]) + "\n")
        if now == self._stop:
            self._line.send(True)
            self._line.recv()


def _command(
    argv: list[str],
    hosts: list[str],
    folder: str,
    stop: Moment | None,
    env: dict[str, str],
    haste: float,
    line: Connection,
) -> None:
    """Be the command line, in the process that was forked off for it."""
    os.setsid()
    os.environ.update(env, PROVISION_STATE=f"{folder}/state")
    for name, number in (("out", 1), ("err", 2)):
        os.dup2(os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    witness = Witness(hosts, stop, line, Path(folder, "moments"))
    tell = Reports.emit

    def emit(reports: Reports, event: Event) -> None:
        tell(reports, event)
        witness.see(event)

    Reports.emit = emit  # type: ignore[method-assign,assignment]
    hurry(haste)
    sys.argv = ["provision", *argv]
    main()


def hurry(haste: float) -> None:
    """Have this process, and our program on the hosts, bear silence for so much less time than users' do."""
    for module, name in CONTROLLER:
        setattr(module, name, getattr(module, name) / haste)
    for each in (starter, delivery):
        each.SILENCE /= haste  # type: ignore[attr-defined]
    found = hasty(program.files(), haste)
    program.files = lambda: found  # type: ignore[assignment]


def hasty(files: dict[str, bytes], haste: float) -> dict[str, bytes]:
    """Return our program's files with shorter times; ValueError if they are not where they were."""
    path = "provisioner/remote/wire.py"
    text = files[path].decode()
    for name in HOST:
        pattern = re.compile(rf"^{name} = ([\d.]+)$", re.M)
        found = pattern.findall(text)
        if len(found) != 1:
            raise ValueError(f"{path} says {name} {len(found)} times")
        text = pattern.sub(f"{name} = {float(found[0]) / haste!r}", text)
    return {**files, path: text.encode()}
