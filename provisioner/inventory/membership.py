"""Hosts put into an inventory's text and taken out of it; everything else, comments and order too, stays as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from provisioner.errors import InputError
from provisioner.inventory.layout import Piece, line_end, line_start, read_layout

STEP = 2
PLAIN = re.compile(r"[A-Za-z0-9_/.~][A-Za-z0-9_/.~+@%-]*\Z")
"""What YAML takes for a text as it stands, if it is no number and no word like ``yes``."""
WORDS = {"yes", "no", "on", "off", "true", "false", "null", "~", "y", "n"}


def with_host(content: bytes, file: Path, name: str, settings: Mapping[str, Any]) -> bytes:
    """Return an inventory with another worker, written as the last one is: in brackets, or line by line.

    Args:
        settings: of the host, ``address`` first; values are texts, numbers or mappings of these.

    Raises:
        InputError: there is a host of that name, or the workers are written in a way that can't be added to.
    """
    text, ends = _unix(content)
    root = read_layout(text)
    if name in _names(root):
        raise InputError(f"{file}: there is a host '{name}' already", remedy="choose another name, or change that one")
    workers = root.child("workers")
    if workers is None:
        entry = _entry(name, settings, STEP, in_brackets=True)
        return _back(text.rstrip("\n") + f"\n\nworkers:\n{entry}", ends)
    key, value = workers
    if value.is_alias or value.is_list:
        raise InputError(f"{file}: its workers are no list of names", remedy="add the host by hand")
    if value.in_brackets or not value.is_mapping:
        return _back(_into_brackets(text, key, value, name, settings), ends)
    last = value.children[-1][1]
    first = value.children[0][0]
    assert first is not None
    indent = first.start - line_start(text, first.start)
    entry = _entry(name, settings, indent, in_brackets=last.in_brackets)
    place = line_end(text, last.end - 1 if text[last.end - 1] == "\n" else last.end)
    before, after = text[:place], text[place:].removeprefix("\n")
    return _back(f"{before}\n{entry}{after}", ends)


def without_host(content: bytes, file: Path, name: str) -> bytes:
    """Return an inventory without a host, and without the comment lines that stand right above it.

    Raises:
        InputError: there is none of that name, it is the only head, or it can't be cut out of how it is written.
    """
    text, ends = _unix(content)
    root = read_layout(text)
    head = root.child("head")
    if head is not None and any(key is not None and key.text == name for key, _ in head[1].children):
        raise InputError(f"{file}: '{name}' is the head", remedy="a cluster needs one: write another one in its place")
    workers = root.child("workers")
    found = workers[1].child(name) if workers is not None else None
    if workers is None or found is None:
        known = ", ".join(sorted(_names(root))) or "none"
        raise InputError(f"{file}: there is no worker '{name}'", remedy=f"its hosts are {known}")
    key, value = found
    if workers[1].in_brackets:
        return _back(_out_of_brackets(text, workers[1], key), ends)
    if len(workers[1].children) == 1:
        return _back(text[: workers[0].end] + ": {}" + text[line_end(text, max(value.end - 1, key.end)) :], ends)
    start, end = line_start(text, key.start), line_end(text, max(value.end - 1, key.end)) + 1
    return _back(text[: _above(text, start)] + text[end:], ends)


def _above(text: str, start: int) -> int:
    """Return where the comment lines begin that stand right above a line, as deep as it."""
    indent = len(text[start:]) - len(text[start:].lstrip(" "))
    while start > 0:
        before = line_start(text, start - 1)
        line = text[before : start - 1]
        if not (line.lstrip(" ").startswith("#") and len(line) - len(line.lstrip(" ")) == indent):
            break
        start = before
    return start


def _into_brackets(text: str, key: Piece, value: Piece, name: str, settings: Mapping[str, Any]) -> str:
    entry = f"{_scalar(name)}: {_flow(settings)}"
    if not value.is_mapping:  # `workers:` with nothing after it
        return (
            f"{text[: key.end]}:\n{_entry(name, settings, STEP, in_brackets=True)}{text[line_end(text, key.end) + 1 :]}"
        )
    if not value.children:
        return f"{text[: value.start]}{{{entry}}}{text[value.end :]}"
    end = value.children[-1][1].end
    return f"{text[:end]}, {entry}{text[end:]}"


def _out_of_brackets(text: str, workers: Piece, key: Piece) -> str:
    number = next(number for number, (each, _) in enumerate(workers.children) if each is key)
    value = workers.children[number][1]
    if number + 1 < len(workers.children):
        after = workers.children[number + 1][0]
        assert after is not None
        return text[: key.start] + text[after.start :]
    start = workers.children[number - 1][1].end if number else key.start
    return text[:start] + text[value.end :]


def _entry(name: str, settings: Mapping[str, Any], indent: int, in_brackets: bool) -> str:
    space = " " * indent
    if in_brackets:
        return f"{space}{_scalar(name)}: {_flow(settings)}\n"
    lines = [f"{space}{_scalar(name)}:"]
    for key, value in settings.items():
        lines.append(f"{space}{' ' * STEP}{key}: {_flow(value) if isinstance(value, Mapping) else _scalar(value)}")
    return "\n".join(lines) + "\n"


def _flow(settings: Mapping[str, Any]) -> str:
    parts = (f"{k}: {_flow(v) if isinstance(v, Mapping) else _scalar(v)}" for k, v in settings.items())
    return "{" + ", ".join(parts) + "}"


def _scalar(value: object) -> str:
    """Return a text or a number as YAML: in double quotes where it could be taken for something else."""
    if isinstance(value, int):
        return str(value)
    text = str(value)
    if (
        PLAIN.match(text)
        and text.lower() not in WORDS
        and not re.match(r"[0-9.]+\Z|0[xob]|[0-9_]+(\.[0-9_]*)?([eE]|\Z)", text)
    ):
        return text
    if re.match(r"[0-9]+(\.[0-9]+){3}\Z", text):
        return text
    import json

    return json.dumps(text, ensure_ascii=False)


def _names(root: Piece) -> set[str]:
    groups = (root.child(group) for group in ("head", "workers"))
    return {key.text for group in groups if group for key, _ in group[1].children if key is not None}


def _unix(content: bytes) -> tuple[str, str]:
    """Return a text with line feeds only, and its own line ends."""
    text = content.decode("utf-8-sig")
    return re.sub(r"\r\n?", "\n", text), "\r\n" if "\r\n" in text else "\n"


def _back(text: str, ends: str) -> bytes:
    return (text.replace("\n", ends) if ends != "\n" else text).encode()
