"""What a program said on many hosts, told under their names."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TextIO

from provisioner.report.lines import Line
from provisioner.report.table import write_lines
from provisioner.report.text import clean, counted, flat, plain_json

LONGEST = 64 * 1024
"""Bytes of a line that are waited for; a longer one is told in parts."""


@dataclass(frozen=True)
class Executed:
    """What came of a program on one host.

    ``code`` is its exit code, None if it never ran or was not heard of again; then ``message`` and ``remedy`` say why.
    """

    host: str
    code: int | None
    output: str = ""
    message: str = ""
    remedy: str = ""
    unreachable: bool = False

    @property
    def exit_code(self) -> int:
        """What the command ends with if this is the worst of it."""
        if self.unreachable:
            return 4
        return 0 if self.code == 0 else 3


class Printer:
    """Prints whole lines as they come, each after its host's name; with one host the lines alone."""

    def __init__(self, stream: TextIO, hosts: Sequence[str]) -> None:
        self._stream = stream
        self._width = max(map(len, hosts)) if len(hosts) > 1 else 0
        self._rests: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def said(self, host: str, data: bytes) -> None:
        """Take what a host printed; called from many threads."""
        with self._lock:
            *lines, rest = (self._rests.get(host, b"") + data).split(b"\n")
            self._rests[host] = rest
            if len(rest) > LONGEST:
                lines.append(self._rests.pop(host))
            self._print(host, lines)

    def end(self, done: Sequence[Executed]) -> None:
        """Print what is left, and where it did not end well."""
        for each in done:
            rest = self._rests.pop(each.host, b"")
            self._print(each.host, [rest] if rest else [])
        bad = [each for each in done if each.exit_code]
        told = []
        for each in bad:
            if each.code is not None:
                told.append(Line(f"{each.host}: ended with exit code {each.code}", "bad"))
                continue
            told.append(Line(f"{each.host}: {flat(each.message)}", "bad"))
            if each.remedy:
                told.append(Line(f"  -> {flat(each.remedy)}", "note"))
        if bad and len(done) > 1:
            told.append(Line(f"It ended well on {len(done) - len(bad)} of {counted(len(done), 'host')}.", "title"))
        write_lines(self._stream, told)
        self._stream.flush()

    def _print(self, host: str, lines: Sequence[bytes]) -> None:
        before = f"{host.ljust(self._width)} | " if self._width else ""
        told = (clean(line.rstrip(b"\r").decode("utf-8", "replace")) for line in lines)
        write_lines(self._stream, [Line(before + line) for line in told])
        self._stream.flush()


def as_json(done: Sequence[Executed]) -> str:
    """Return the results as one JSON document: ``{"hosts": {name: {"code", "output", "message", "remedy"}}}``."""
    hosts = {each.host: {k: v for k, v in asdict(each).items() if k not in ("host", "unreachable")} for each in done}
    return plain_json({"hosts": hosts, "exit_code": max(each.exit_code for each in done)}, indent=2)
