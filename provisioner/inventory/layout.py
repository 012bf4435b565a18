"""How a YAML file is written: where each value begins and ends, so that a change touches nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from provisioner.inventory.document import parse_document


@dataclass
class Piece:
    """A value as it is written: characters from ``start`` to ``end``, comments after it not among them."""

    event: Any
    start: int
    end: int
    children: list[tuple[Piece | None, Piece]] = field(default_factory=list)
    """Keys with values; items of a list have no key."""
    pending: Piece | None = None
    """A key that was read and whose value was not yet."""

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.event, yaml.MappingStartEvent)

    @property
    def is_list(self) -> bool:
        return isinstance(self.event, yaml.SequenceStartEvent)

    @property
    def is_alias(self) -> bool:
        return isinstance(self.event, yaml.AliasEvent)

    @property
    def in_brackets(self) -> bool:
        """Whether it is written as ``{...}`` or ``[...]``."""
        return bool(getattr(self.event, "flow_style", False)) and (self.is_mapping or self.is_list)

    @property
    def text(self) -> str:
        """The text of a key or other scalar; empty for everything else."""
        return str(self.event.value) if isinstance(self.event, yaml.ScalarEvent) else ""

    def child(self, key: str) -> tuple[Piece, Piece] | None:
        """Return a key of this mapping with its value, if it is written here."""
        return next(((k, value) for k, value in self.children if k is not None and k.text == key), None)

    def take(self, piece: Piece) -> None:
        """Put a value that is complete where it belongs."""
        if self.is_list:
            self.children.append((None, piece))
        elif self.pending is None:
            self.pending = piece
            return
        else:
            self.children.append((self.pending, piece))
            self.pending = None
        if not self.in_brackets:
            self.end = piece.end


def read_layout(text: str) -> Piece:
    """Return how a document is written that `parse_document` takes.

    Args:
        text: with line feeds only, and without a byte order mark.
    """
    around: list[Piece] = []
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            around.append(Piece(event, *_span(event)))
        elif isinstance(event, (yaml.ScalarEvent, yaml.AliasEvent, yaml.CollectionEndEvent)):
            piece = _complete(event, around)
            if not around:
                return piece
            around[-1].take(piece)
    raise AssertionError("a document that was read has a root")


def _span(event: Any) -> tuple[int, int]:
    return event.start_mark.index, event.end_mark.index


def _complete(event: Any, around: list[Piece]) -> Piece:
    if not isinstance(event, yaml.CollectionEndEvent):
        return Piece(event, *_span(event))
    piece = around.pop()
    if piece.in_brackets:
        piece.end = _span(event)[1]
    return piece


def tokens(text: str) -> list[Any]:
    """Return the words and signs that are written, without those that only say where something begins or ends."""
    found: Any = yaml.scan(text, Loader=yaml.SafeLoader)
    return list(filter(_is_written, found))


def _is_written(token: Any) -> bool:
    start, end = _span(token)
    return end > start


def comments(text: str) -> list[str]:
    """Return all comments, without the spaces after them."""
    found: list[str] = []
    end = 0
    for start, after in [*((t.start_mark.index, t.end_mark.index) for t in tokens(text)), (len(text), len(text))]:
        found += (comment.rstrip() for comment in re.findall(r"#[^\n]*", text[end:start]))
        end = after
    return found


def data_of(text: str, file: Path) -> str:
    """Return what a text says, in a form that differs if any value, its kind or the order differs.

    Raises:
        InputError: it is not the YAML we take.
    """
    return repr(parse_document(file, text.encode()).value)


def line_start(text: str, index: int) -> int:
    """Return where the line begins that holds a position."""
    return text.rfind("\n", 0, index) + 1


def line_end(text: str, index: int) -> int:
    """Return where the line that holds a position ends: at its line feed, or at the end of the text."""
    found = text.find("\n", index)
    return len(text) if found < 0 else found
