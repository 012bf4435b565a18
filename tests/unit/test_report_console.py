"""The live view, drawn by rich and read back as a terminal would show it."""

from __future__ import annotations

import io
import re
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from provisioner.events import (
    Difference,
    Doing,
    Event,
    HostConnected,
    HostFinished,
    HostObserved,
    Notice,
    RunFinished,
    RunStarted,
    TaskFinished,
    TaskStarted,
)
from provisioner.report import Reports, open_reports
from provisioner.report.console import ConsoleReport
from provisioner.report.plain import PlainReport


class Utf8(io.StringIO):
    """A stream that can say everything."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Ascii(Utf8):
    encoding = "ascii"


def screen(output: str) -> list[str]:
    """What a (high enough) terminal shows: text, newlines, cursor up, erase line; colors do not matter."""
    rows, row, column = [""], 0, 0
    for token in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", output):
        if token == "\r":
            column = 0
        elif token == "\n":
            row, column = row + 1, 0
            rows += [""] * (row + 1 - len(rows))
        elif token.endswith("A"):
            row -= int(token[2:-1])
        elif token.endswith("K"):
            rows[row] = ""
        elif not token.startswith("\x1b"):
            rows[row] = rows[row][:column].ljust(column) + token + rows[row][column + len(token) :]
            column += len(token)
    while rows and not rows[-1].strip():
        rows.pop()
    return [line.rstrip() for line in rows]


class Stage:
    """A report on a recorded terminal with a clock of its own; nothing is drawn but by ``shown``."""

    def __init__(self, width: int = 80, height: int = 24, stream: io.StringIO | None = None) -> None:
        self.now = 0.0
        self.stream = stream or Utf8()
        console = Console(file=self.stream, force_terminal=True, width=width, height=height, highlight=False)
        self.report = ConsoleReport(console=console, per_second=0, clock=lambda: self.now)

    def emit(self, *events: Event) -> Stage:
        for event in events:
            self.report.emit(event)
        return self

    def shown(self) -> list[str]:
        self.report.refresh()
        return screen(self.stream.getvalue())


def started(*hosts: str) -> RunStarted:
    return RunStarted(0, "apply", "lab", "lab.yml", hosts, "")


FAILED = TaskFinished(1, "w2", "all", "Install", "failed", 1, "disk full", "free 4 GB")
DIFFERENCE = Difference("w1", "Ray", "change", "Ray", "2.48", "2.49")
FIRST = "apply: cluster lab, 3 hosts, inventory lab.yml"


def test_a_line_per_host_below_the_permanent_lines() -> None:
    stage = Stage().emit(started("w1", "w2", "w3"), HostConnected(0, "w1"), TaskStarted(0, "w1", "all", "Install"))
    stage.now = 3
    assert stage.shown() == [
        FIRST,
        "• w1     3 s  Install",
        "  w2          waiting",
        "  w3          waiting",
        "apply lab: 0 of 3 hosts finished, 3 s",
    ]
    stage.emit(HostObserved(1, "w1", (DIFFERENCE,)), FAILED, HostFinished(1, "w2", "failed"))
    stage.now = 5
    assert stage.shown() == [
        FIRST,
        "w1: ~ Ray: 2.48 -> 2.49",
        "w2: failed: Install (1.0 s): disk full",
        "  -> free 4 GB",
        "w2: failed",
        "• w1     2 s  1 difference",
        "✗ w2     3 s  failed",
        "  w3          waiting",
        "apply lab: 1 of 3 hosts finished, 1 failed, 5 s",
    ]


def test_what_stays_is_what_the_plain_report_says() -> None:
    events: list[Event] = [
        started("w1", "w2", "w3"),
        Notice(0, "w1", "a [bold]wide[/] \x1b[2J line " + "x" * 200),
        HostObserved(1, "w1", (DIFFERENCE,)),
        FAILED,
        HostFinished(2, "w1", "changed", {"changed": 1}),
        RunFinished(3, "apply", 3, "http://w1:8265", (("provision check", "look"),)),
    ]
    lines = io.StringIO()
    plain, stage = PlainReport(lines), Stage()
    for event in events:
        plain.emit(event)
        stage.emit(event).shown()
    assert screen(stage.stream.getvalue()) == lines.getvalue().rstrip().splitlines()
    assert stage.stream.getvalue().rfind("\x1b[?25h") > stage.stream.getvalue().rfind("\x1b[?25l")  # cursor is back


def test_200_hosts_on_a_small_screen() -> None:
    hosts = [f"w{number:03d}" for number in range(200)]
    stage = Stage(height=10).emit(started(*hosts))
    stage.emit(*(HostFinished(1, host, "ok") for host in hosts[:150]))
    stage.emit(HostFinished(1, "w160", "unreachable", {}, "no route"), Doing(1, "w170", "sending"))
    assert stage.shown()[-8:] == [
        "• w170     0 s  sending",
        "! w160     0 s  unreachable",
        "  w150          waiting",
        "  w151          waiting",
        "  w152          waiting",
        "  w153          waiting",
        "... and 194 more, 150 finished",
        "apply lab: 151 of 200 hosts finished, 1 failed, 0 s",
    ]
    begin = time.perf_counter()
    for _ in range(16):
        stage.report.refresh()
    assert time.perf_counter() - begin < 1


@pytest.mark.parametrize(("width", "height"), [(20, 6), (10, 3), (5, 1)])
def test_narrow_terminals(width: int, height: int) -> None:
    names = ("a-very-long-name.example.org", "größe-漢字漢字漢字漢字", "w3")
    stage = Stage(width, height).emit(started(*names), Doing(0, names[0], "unpacking\nmany things"))
    shown = [line for line in stage.shown() if line not in FIRST]
    assert 1 <= len(shown) <= max(2, height - 1)
    assert all(len(line) <= width for line in shown)
    if width == 20:
        assert shown[0].startswith("• a-very")


def test_a_terminal_without_unicode_gets_letters() -> None:
    stage = Stage(stream=Ascii()).emit(started("wö"), HostFinished(0, "wö", "failed"))
    assert stage.shown()[-2] == r"x w\xf6     0 s  failed"


def test_escape_sequences_of_hosts_are_neutralised() -> None:
    doing = Doing(0, "w1", "evil\x1b]0;title\x07\nnext")
    stage = Stage().emit(started("w1"), HostObserved(0, "w1", ()), doing, Notice(0, "w1", "\x1b[2J"))
    assert stage.shown()[-3:-1] == [r"w1: note: \x1b[2J", r"• w1     0 s  evil\x1b]0;title\x07 next"]
    assert "\x1b]" not in stage.stream.getvalue() and "\x1b[2J" not in stage.stream.getvalue()


def test_a_question_has_the_terminal_for_itself() -> None:
    stage = Stage().emit(started("w1", "w2", "w3"), HostObserved(1, "w1", (DIFFERENCE,)))
    stage.report.refresh()
    with Reports([stage.report]).suspend():
        assert screen(stage.stream.getvalue()) == [FIRST, "w1: ~ Ray: 2.48 -> 2.49"]
        stage.stream.write("Go on? y\n")
        asked = stage.stream.getvalue()
        stage.emit(Notice(1, "", "meanwhile"))
        stage.report.refresh()
        assert stage.stream.getvalue() == asked
    assert stage.shown()[2:5] == ["Go on? y", "note: meanwhile", "• w1     0 s  1 difference"]


def test_twenty_threads_and_the_refreshing_one() -> None:
    stream = Utf8()
    report = ConsoleReport(console=Console(file=stream, force_terminal=True, width=80, height=24), per_second=200)
    hosts = [f"w{number}" for number in range(20)]
    report.emit(started(*hosts))
    for host in hosts:
        report.emit(HostObserved(0, host, ()))

    def work(host: str) -> None:
        for number in range(20):
            report.emit(Doing(0, host, str(number)))
            report.emit(Notice(0, host, str(number)))
        with report.suspend():
            pass

    threads = [threading.Thread(target=work, args=(host,)) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
        assert not thread.is_alive()
    report.emit(RunFinished(1, "apply", 0))
    notes = [line for line in screen(stream.getvalue()) if "note" in line]
    assert sorted(notes) == sorted(f"{host}: note: {number}" for host in hosts for number in range(20))


def test_the_thread_draws_and_a_closed_terminal_is_told_once(tmp_path: Path) -> None:
    stream, other = Utf8(), io.StringIO()
    report = ConsoleReport(console=Console(file=stream, force_terminal=True, width=80, height=24), per_second=200)
    reports = Reports([report, PlainReport(other)])
    reports.emit(started("w1"))
    deadline = time.monotonic() + 5
    while "waiting" not in stream.getvalue() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert "waiting" in stream.getvalue()
    stream.close()
    while "cannot be written" not in other.getvalue() and time.monotonic() < deadline:
        reports.emit(Doing(1, "w1", "x"))
        time.sleep(0.005)
    reports.emit(Notice(1, "", "still here"))
    reports.close()
    assert other.getvalue().count("cannot be written") == 1 and "still here" in other.getvalue()


def test_a_terminal_gets_the_live_view(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROVISION_STATE", str(tmp_path))
    for term, plain, live in (("xterm", False, True), ("xterm", True, False), ("dumb", False, False)):
        monkeypatch.setenv("TERM", term)
        stream = Utf8()
        with open_reports(verb="apply", cluster="lab", stream=stream, plain=plain) as reports:
            reports.emit(started("w1"))
        assert ("\x1b[?25l" in stream.getvalue()) == live
