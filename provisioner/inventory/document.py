"""YAML with the place of every key and value, and without YAML's surprises.

A document is read event by event into nodes. Nothing here recurses, so no input is too deep, and an alias shares the
node it names, so no input grows in memory. Plain words stay text unless they are clearly something else: only
``true`` and ``false`` are booleans, ``022`` and ``22:10`` are text, and ``3.10`` still prints as ``3.10``.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from provisioner.errors import InputError, Place

MOST_BYTES = 4_000_000
MOST_NODES = 200_000
MOST_DEPTH = 40

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_QUOTE_TEMPLATES = 'quote a value that begins with a template: "{{ ... }}"'

Step = str | int


class WrittenNumber(float):
    """A decimal number that still prints as it was written, so that ``3.10`` never becomes ``3.1`` in a text."""

    text: str

    def __new__(cls, text: str) -> WrittenNumber:
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return format(float(self), spec) if spec else self.text


@dataclass
class Node:
    """A value of the document, where it begins, and the nodes inside it."""

    value: Any
    place: Place
    children: dict[Step, Node] = field(default_factory=dict)
    keys: dict[Step, Place] = field(default_factory=dict)
    size: int = 1
    """How many values it holds with every alias written out."""
    depth: int = 1
    """How many levels it has, likewise."""


@dataclass(frozen=True)
class Document:
    """A file the user wrote: its value, and the place of everything in it."""

    file: Path
    root: Node
    fingerprint: str
    """The SHA-256 of the file's content."""

    @property
    def value(self) -> Any:
        return self.root.value

    def place(self, *path: Step) -> Place:
        """Where the value at that path begins; the nearest value around it if there is none."""
        return self._walk(path).place

    def key_place(self, *path: Step) -> Place:
        """Where the last key of that path is written; list items have no key, so there it is the item's place."""
        return self._walk(path[:-1]).keys.get(path[-1]) or self.place(*path)

    def _walk(self, path: Sequence[Step]) -> Node:
        node = self.root
        for step in path:
            inner = node.children.get(step)
            if inner is None:
                break
            node = inner
        return node


def load_document(path: Path) -> Document:
    """Read a YAML file.

    Raises:
        InputError: the file cannot be read, or is not the YAML we take.
    """
    return parse_document(path, _read(path))


def parse_document(path: Path, content: bytes) -> Document:
    """Return what a file holds, or would hold with this content.

    Raises:
        InputError: it is not the YAML we take.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        place = Place(str(path), line, column)
        raise InputError("the file is not UTF-8 text", place=place, remedy="save it as UTF-8") from None
    root = _Builder(path).build(text)
    return Document(path, root, hashlib.sha256(content).hexdigest())


def _read(path: Path) -> bytes:
    start = Place(str(path), 1, 1)
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot read {path}: {reason}") from None
    if len(content) > MOST_BYTES:
        raise InputError(f"the file is larger than {MOST_BYTES // 1_000_000} MB", place=start)
    if not content.strip():
        raise InputError("the file is empty", place=start)
    return content


class _Builder:
    """Turns the parser's events into nodes."""

    def __init__(self, path: Path) -> None:
        self._file = str(path)
        self._anchors: dict[str, Node] = {}
        self._open: list[_Collection] = []
        self._root: Node | None = None

    def build(self, text: str) -> Node:
        try:
            for event in self._events(text):
                self._take(event)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self._error(_sentence(error), mark, _advice(error)) from None
        except yaml.reader.ReaderError as error:
            place = Place(self._file, *_line_and_column(text, error.position))
            raise InputError("the file holds a character that YAML forbids", place=place) from None
        except yaml.YAMLError as error:
            raise self._error(f"this is not YAML: {error}", None) from None
        if self._root is None:
            raise self._error("the file holds nothing but comments", None)
        return self._root

    @staticmethod
    def _events(text: str) -> Iterator[Any]:
        loader = _LOADER(text)
        try:
            while loader.check_event():
                yield loader.get_event()
        finally:
            loader.dispose()

    def _take(self, event: Any) -> None:
        if isinstance(event, yaml.DocumentStartEvent) and self._root is not None:
            raise self._error("a second document begins here", event.start_mark, "keep one document in a file")
        if isinstance(event, yaml.ScalarEvent):
            self._add(self._scalar(event), event)
        elif isinstance(event, yaml.AliasEvent):
            self._add(self._alias(event), event)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._begin(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            collection = self._open.pop()
            self._add(collection.node, collection.start)

    def _begin(self, event: Any) -> None:
        if len(self._open) >= MOST_DEPTH:
            raise self._error(f"more than {MOST_DEPTH} levels inside each other", event.start_mark)
        if event.tag not in (None, "!"):
            raise self._tag_error(event)
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        node = Node({} if is_mapping else [], self._place(event.start_mark))
        self._open.append(_Collection(node, event))

    def _scalar(self, event: Any) -> Node:
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            raise self._tag_error(event)
        plain = event.implicit[0] and event.tag is None
        return Node(plain_value(event.value) if plain else event.value, self._place(event.start_mark))

    def _alias(self, event: Any) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            raise self._error(f"no anchor '&{event.anchor}' is complete before this alias", event.start_mark)
        return node

    def _add(self, node: Node, event: Any) -> None:
        """Put a finished node where it belongs: into the collection around it, or at the root."""
        if event.anchor and not isinstance(event, yaml.AliasEvent):
            self._anchors[event.anchor] = node
        if not self._open:
            self._root = node
            return
        around = self._open[-1]
        if isinstance(around.node.value, list):
            _insert(around.node, len(around.node.value), node)
        elif around.key is None:
            around.key = self._key(node, event)
            around.key_place = self._place(event.start_mark)
        else:
            self._add_pair(around, around.key, node)
            around.key = None
        if around.node.depth > MOST_DEPTH:
            raise self._error(f"more than {MOST_DEPTH} levels inside each other", event.start_mark)
        if around.node.size > MOST_NODES:
            raise self._error(f"more than {MOST_NODES} values with every alias written out", event.start_mark)

    def _key(self, node: Node, event: Any) -> str:
        if isinstance(node.value, (dict, list)):
            raise self._error("a key must be a single word or text", event.start_mark, _QUOTE_TEMPLATES)
        text = event.value if isinstance(event, yaml.ScalarEvent) else str(node.value)
        if not text:
            raise self._error("a key is missing before the ':'", event.start_mark)
        return str(text)

    def _add_pair(self, around: _Collection, key: str, node: Node) -> None:
        mapping = around.node
        if key == "<<":
            self._merge(around, node)
            return
        if key in mapping.value and key not in around.merged:
            first = mapping.keys[key]
            raise InputError(
                f"the key '{key}' is given twice, first at line {first.line}, column {first.column}",
                place=around.key_place,
                remedy="keep one of the two",
            )
        around.merged.discard(key)
        _insert(mapping, key, node)
        mapping.keys[key] = around.key_place

    def _merge(self, around: _Collection, node: Node) -> None:
        sources = list(node.children.values()) if isinstance(node.value, list) else [node]
        for source in sources:
            if not isinstance(source.value, dict):
                raise InputError("'<<' takes a mapping or a list of mappings", place=node.place)
            for key, child in source.children.items():
                if key not in around.node.value:
                    _insert(around.node, key, child)
                    around.node.keys[key] = source.keys[key]
                    around.merged.add(key)

    def _tag_error(self, event: Any) -> InputError:
        return self._error(f"the tag '{event.tag}' is not supported", event.start_mark, "write plain values")

    def _place(self, mark: Any) -> Place:
        return Place(self._file, mark.line + 1, mark.column + 1)

    def _error(self, message: str, mark: Any, remedy: str = "") -> InputError:
        place = self._place(mark) if mark else Place(self._file, 1, 1)
        return InputError(message, place=place, remedy=remedy)


class _Collection:
    """A mapping or list whose end has not been read yet."""

    def __init__(self, node: Node, start: Any) -> None:
        self.node = node
        self.start = start
        self.key: str | None = None
        self.key_place = node.place
        self.merged: set[Step] = set()


def _insert(parent: Node, step: Step, node: Node) -> None:
    if isinstance(parent.value, list):
        parent.value.append(node.value)
    else:
        parent.value[step] = node.value
    parent.children[step] = node
    parent.size += node.size
    parent.depth = max(parent.depth, node.depth + 1)


def plain_value(text: str) -> Any:
    """The value of an unquoted word."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE"):
        return False
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return WrittenNumber(text)
    return text


def _line_and_column(text: str, position: int) -> tuple[int, int]:
    before = text[: max(position, 0)]
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _sentence(error: yaml.MarkedYAMLError) -> str:
    parts = [part for part in (error.context, error.problem) if part]
    return "this is not YAML: " + ", ".join(parts)


def _advice(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or ""
    if "escape" in problem:
        return "write a path of Windows in single quotes, where \\ is only itself: 'C:\\provision'"
    if "start any token" in problem or " tab " in problem:
        return "indent with spaces, not tabs, and quote text that begins with one of @ ` %"
    if "mapping values are not allowed" in problem:
        return "quote text that holds ': ', and check the indentation"
    return "check the indentation, and the quotes and brackets on this line and above"
