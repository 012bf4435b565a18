"""The lock file beside an inventory, ``inventory.lock.yml`` for ``inventory.yml``: here it is text and plain data."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

import yaml

from provisioner import portable
from provisioner.errors import InputError
from provisioner.inventory.document import Document, load_document, plain_value
from provisioner.inventory.validation import validate

FORMAT = 1
"""Raised when what the file holds changes its meaning."""
SUFFIX = ".lock.yml"
SCHEMA = Path(__file__).with_name("lock.schema.json")


def lock_file_of(inventory: Path) -> Path:
    """Return where the lock file of an inventory is, whether or not it exists."""
    return inventory.with_name(inventory.stem + SUFFIX)


def read_lock_file(file: Path) -> Document:
    """Return what a lock file holds, with the place of everything in it.

    Raises:
        InputError: it cannot be read, is of another format, or lacks something; InputErrors if there are several
            mistakes.
    """
    document = load_document(file)
    found = document.value.get("format") if isinstance(document.value, dict) else None
    if isinstance(found, int) and found != FORMAT:
        newer = found > FORMAT
        raise InputError(
            f"this lock file has format {found}, and this provisioner knows format {FORMAT}",
            place=document.place("format"),
            remedy="upgrade the provisioner" if newer else "",
        )
    validate(document, SCHEMA)
    return document


def write_lock_file(file: Path, data: dict[str, Any], comment: str) -> bool:
    """Write a lock file, whole or not at all; return whether it differs from what was there.

    Args:
        file: where.
        data: plain data, in the order in which it is to be read.
        comment: the first lines, without ``#``.

    Raises:
        InputError: it cannot be written.
    """
    first = "".join(f"# {line}\n" for line in comment.splitlines())
    body = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1 << 20)
    content = (first + body).encode()
    try:
        if file.is_file() and file.read_bytes() == content:
            return False
        _replace(file, content)
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror or error}") from None
    return True


def _replace(file: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    aside = Path(name)
    try:
        with os.fdopen(handle, "wb") as half:
            half.write(content)
        aside.chmod(0o644)
        portable.put_in_place(aside, file)
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


class _Dumper(yaml.SafeDumper):
    """Quotes what our own reading would take for something else than text; never writes an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = None if isinstance(plain_value(value), str) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
