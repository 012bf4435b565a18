"""One way to write an inventory: indented by two, with single spaces; what it says and its comments stay.

Order, quotes, columns of comments, and what is written in brackets or in blocks stay as the user wanted them. Each step
is kept only if the text says the same after it, with the same comments: so a form of YAML that nobody thought of stays
as it was written.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from provisioner.errors import InputError
from provisioner.inventory.layout import Piece, comments, data_of, read_layout, tokens

STEP = 2
"""Spaces by which what is inside something is indented."""
ROUNDS = 5
"""What one step leaves may give another something to do."""
_BEFORE_COMMENT = 2
_ITEM = re.compile(r"^(- +)+(?=[^\s#-])")
_OPENING = (yaml.FlowMappingStartToken, yaml.FlowSequenceStartToken)
_CLOSING = (yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken, yaml.FlowEntryToken)
_MARKS = (yaml.AnchorToken, yaml.TagToken, yaml.AliasToken)


def formatted(content: bytes, file: Path) -> bytes:
    """Return a file's content as it is to be written; the line ends stay those of its first line.

    Raises:
        InputError: it is not the YAML we take.
    """
    data_of_file = content.decode("utf-8-sig", errors="replace")
    text = re.sub(r"\r\n?", "\n", data_of_file)
    said, noted = data_of(text, file), comments(text)
    for _ in range(ROUNDS):
        before = text
        for step in (_spaced, _indented, _trimmed):
            text = _kept(step(text), text, said, noted, file)
        if text == before:
            break
    first = re.search(r"\r?\n", data_of_file)
    return (text.replace("\n", "\r\n") if first and first[0] == "\r\n" else text).encode()


def _kept(changed: str, text: str, said: str, noted: list[str], file: Path) -> str:
    """Return the changed text if it says the same."""
    try:
        same = changed == text or (data_of(changed, file) == said and comments(changed) == noted)
    except (InputError, yaml.YAMLError):
        same = False
    return changed if same else text


def _spaced(text: str) -> str:
    """Have one space, or none, between words and signs of a line, and two before a comment."""
    parts: list[str] = []
    found, end = tokens(text), 0
    for before, token in zip([None, *found], found, strict=False):
        start, gap = token.start_mark.index, text[end : token.start_mark.index]
        if before is not None and text[end - 1] != "\n" and not isinstance(before, yaml.BlockEntryToken):
            gap = _before_comment(gap) if "\n" in gap else _gap(before, token)
        parts += [gap, text[start : token.end_mark.index]]
        end = token.end_mark.index
    rest = text[end:]
    return "".join((*parts, rest if text[end - 1] == "\n" else _before_comment(rest)))


def _gap(before: Any, after: Any) -> str:
    if isinstance(before, _OPENING) or isinstance(after, _CLOSING):
        return ""
    if isinstance(after, yaml.ValueToken):
        return " " if isinstance(before, _MARKS) else ""
    return " "


def _before_comment(gap: str) -> str:
    """Return what stands between two words, with two spaces before a comment on the first one's line."""
    return re.sub(r"^ ?(?=#)", " " * _BEFORE_COMMENT, gap) if gap[:1] in (" ", "#") else gap


@dataclass(frozen=True)
class _Frame:
    piece: Piece
    indent: int


def _indented(text: str) -> str:
    """Indent each line by how deep it is; lines that go on with something move along with where it begins."""
    lines = text.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    root = read_layout(text)
    wanted: dict[int, int] = {}
    inside: set[int] = set()
    waiting = [_Frame(root, 0)]
    while waiting:
        frame = waiting.pop()
        piece = frame.piece
        if piece.in_brackets or not piece.children:
            inside.update(range(_line(starts, piece.start) + 1, _line(starts, max(piece.end - 1, piece.start)) + 1))
            continue
        for key, value in piece.children:
            first = (key or value).start
            number = _line(starts, first)
            if text[starts[number] : first].strip() == ("" if key else "-"):
                wanted[number] = frame.indent
            waiting.append(_Frame(value, frame.indent + STEP))
    return "\n".join(_moved(lines, wanted, inside))


def _line(starts: list[int], index: int) -> int:
    return bisect_right(starts, index) - 1


def _moved(lines: list[str], wanted: dict[int, int], inside: set[int]) -> list[str]:
    by, moved = 0, []
    for number, line in enumerate(lines):
        bare, width = line.lstrip(" "), _width(line)
        if number in wanted:
            by = wanted[number] - width
            bare = _ITEM.sub(lambda found: "- " * found[0].count("-"), bare)
        if not bare:
            moved.append(line)
        elif bare.startswith("#") and number not in inside:
            moved.append(" " * _comment_indent(number, lines, wanted) + bare)
        else:
            moved.append(" " * max(width + by, 0) + bare)
    return moved


def _comment_indent(number: int, lines: list[str], wanted: dict[int, int]) -> int:
    """Return how deep a comment on its own line belongs: as what follows if it began there, else as what it ends."""
    column = _width(lines[number])
    following = next((n for n in range(number + 1, len(lines)) if n in wanted), None)
    if following is not None and _width(lines[following]) == column:
        return wanted[following]
    for before in range(number - 1, -1, -1):
        if before in wanted and _width(lines[before]) == column:
            return wanted[before]
    return wanted[following] if following is not None else column


def _width(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _trimmed(text: str) -> str:
    """Take away spaces at the ends of lines, blank lines beyond one, and those at the file's beginning and end."""
    texts = [(t.start_mark.index, t.end_mark.index) for t in tokens(text) if isinstance(t, yaml.ScalarToken)]
    parts, end = [], 0
    for start, after in [*texts, (len(text), len(text))]:
        gap = re.sub(r"[ \t]+(?=\n)", "", text[end:start])
        parts += [re.sub(r"\n{3,}", "\n\n", gap), text[start:after]]
        end = after
    return "".join(parts).strip("\n").rstrip(" \t") + "\n"
