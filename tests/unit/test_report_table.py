"""A table in a pipe and on a terminal: the same words, and nothing that could harm a terminal."""

from __future__ import annotations

import io
import re

import pytest

from provisioner.report.lines import Line
from provisioner.report.table import write_lines, write_table

HEAD = ["RAY", "PYTHON"]
ROWS = [["2.60.0", "3.14.10"], ["2.9.0 *", "-"]]
SHOWN = ["RAY      PYTHON", "2.60.0   3.14.10", "2.9.0 *  -"]


class Stream(io.StringIO):
    encoding = "utf-8"

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def plain(text: str) -> list[str]:
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()]


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_table_says_the_same_everywhere(is_terminal: bool) -> None:
    stream = Stream(is_terminal)
    write_table(stream, HEAD, ROWS, marked=" *")
    assert plain(stream.getvalue()) == SHOWN
    assert ("\x1b[32m" in stream.getvalue()) is is_terminal, "what is marked stands out on a terminal only"


@pytest.mark.parametrize("is_terminal", [False, True])
def test_nothing_harmful_reaches_a_terminal(is_terminal: bool) -> None:
    stream = Stream(is_terminal)
    write_table(stream, HEAD, [["2.60.0", "\x1b]0;title\x07"]], marked=" *")
    write_lines(stream, [Line("a host named \x1b[2J", "bad")])
    assert "\x1b]" not in stream.getvalue() and "\x1b[2J" not in stream.getvalue()


def test_a_dumb_terminal_gets_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Stream(True)
    write_table(stream, HEAD, ROWS, marked=" *")
    write_lines(stream, [Line("title", "title")])
    assert stream.getvalue().splitlines() == [*SHOWN, "title"]
