"""Whatever a host says, no report passes on what a terminal obeys, and no text of its passes for a line of ours."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import typing
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from provisioner import events
from provisioner.errors import HostFailed, InputError, InputErrors, Place
from provisioner.events import Event, RunFinished, RunStarted
from provisioner.report import Report
from provisioner.report.console import ConsoleReport
from provisioner.report.jsondoc import JsonReport
from provisioner.report.lines import told_error
from provisioner.report.plain import PlainReport
from provisioner.report.runlog import RunLog
from provisioner.report.text import clean

EVENTS = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)]
SEQUENCES = [
    "\x1b]8;;http://x\x07click\x1b]8;;\x07", "\x1b]52;c;cHduZWQ=\x07", "\x9d52;c;x\x9c", "\x1b[2J\x1b[H", "\x9b31m",
    "\x1bP$q\x1b\\", "\u202egpj.exe", "\u2066x\u2069", "\rFORGED: ok", "\nFORGED: ok", "\r\nFORGED: ok",
    "\u2028FORGED: ok", "\x0bFORGED: ok", "\x0cFORGED: ok", "\x85FORGED: ok", "\ud800", "\x7f\x08\x08", "\U000e0041",
    "[bold red]x[/]",
]  # fmt: skip
hostile = st.lists(st.sampled_from(SEQUENCES) | st.text(max_size=6), min_size=1, max_size=4).map("".join)
INVISIBLE = {"Cc", "Cs", "Zl", "Zp"}
OUR_CODES = re.compile(r"\x1b\[[0-9;]*m")
"""Colors are all that a report writes itself; the live view's movements are taken away before it is looked at."""


def filled(hint: Any, text: str) -> Any:
    """An instance with the text in every string that it can hold."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is str or origin is typing.Literal:
        return text
    if origin is tuple:
        return tuple(filled(each, text) for each in arguments if each is not Ellipsis)
    if origin is dict:
        return {text: 1} if arguments[1] is int else {text: [text, {"deep": (text, 1)}], "raw": text}
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return typing.cast(type, hint)(**{f.name: filled(hints[f.name], text) for f in dataclasses.fields(hint)})
    return 1


def harmless(output: str, lines: bool = True) -> None:
    found = [hex(ord(x)) for x in output if x != "\n" and unicodedata.category(x) in INVISIBLE]
    assert not found
    assert not re.search("[\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e0fff]", output)
    assert not lines or not re.search("^FORGED", output, re.M)


@pytest.mark.parametrize("kind", EVENTS)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(text=hostile)
def test_no_report_is_a_way_into_the_terminal(kind: type, text: str, tmp_path: Path) -> None:
    plain, document, screen = io.StringIO(), io.StringIO(), io.StringIO()
    console = Console(file=screen, force_terminal=True, width=200, height=30, markup=False, emoji=False)
    log = RunLog("apply", "lab", tmp_path)
    live = ConsoleReport(verbose=2, console=console, per_second=0)
    reports: list[Report] = [PlainReport(plain, 2), JsonReport(document), log, live]
    text = text.replace("\ud800", "?") if kind is RunStarted else text
    for event in (filled(RunStarted, "x"), filled(kind, text), filled(RunFinished, text)):
        for report in reports:
            report.emit(event)
        live.refresh()
    for report in reports:
        report.close()
    harmless(plain.getvalue())
    harmless(document.getvalue(), lines=False)
    harmless(Path(log.path).read_text(), lines=False)
    assert len(Path(log.path).read_text().splitlines()) == 3
    json.loads(document.getvalue())
    shown = re.sub(r"\x1b\[(\?25[lh]|[0-9]*[AK])|\r", "", OUR_CODES.sub("", screen.getvalue()))
    harmless(shown)


@given(text=hostile)
def test_no_error_is_a_way_into_the_terminal(text: str) -> None:
    place = Place(text, 1, 1)
    mistake = InputError(text, remedy=text, place=place)
    for error in (mistake, HostFailed(text, host=text), InputErrors([mistake, InputError(text)])):
        harmless("provision: " + told_error(error))


@given(st.text())
def test_what_is_cleaned_is_clean_and_stays_so(text: str) -> None:
    harmless(clean(text), lines=False)
    assert clean(clean(text)) == clean(text)
