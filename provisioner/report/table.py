"""A table for a terminal or a pipe, and lines around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from provisioner.report.lines import Line
from provisioner.report.plain import is_dumb, may_color, paint
from provisioner.report.text import clean

GAP = "  "


def write_lines(stream: TextIO, told: Sequence[Line]) -> None:
    """Write lines, in color where that makes sense."""
    encoding, color = getattr(stream, "encoding", None) or "utf-8", may_color(stream)
    for line in told:
        text = paint(line._replace(text=clean(line.text)), color)
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def write_table(stream: TextIO, head: Sequence[str], rows: Sequence[Sequence[str]], marked: str) -> None:
    """Write a table; cells that end with ``marked`` stand out.

    On a terminal rich draws it, so that it fits the width; elsewhere its columns are only aligned.
    """
    if stream.isatty() and not is_dumb():
        _draw(stream, head, rows, marked)
        return
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        cells = (clean(cell).ljust(width) for cell, width in zip(row, widths, strict=True))
        write_lines(stream, [Line(GAP.join(cells).rstrip())])


def _draw(stream: TextIO, head: Sequence[str], rows: Sequence[Sequence[str]], marked: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from provisioner.report.console import STYLES

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=STYLES["title"])
    for name in head:
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*(Text(clean(cell), STYLES["good"] if cell.endswith(marked) else "") for cell in row))
    Console(file=stream, highlight=False, markup=False, emoji=False).print(table)
