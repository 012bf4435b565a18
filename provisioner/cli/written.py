"""Files of the user's that commands change: read as a whole, written in one step."""

from __future__ import annotations

from pathlib import Path

from provisioner.errors import InputError


def read_whole(file: Path) -> bytes:
    """Return a file's content, checked to be YAML that we take.

    Raises:
        InputError: it can't be read, or is none.
    """
    from provisioner.inventory.document import load_document

    load_document(file)
    return file.read_bytes()


def write(file: Path, content: bytes) -> None:
    """Write a file in one step.

    Raises:
        InputError: it can't be written.
    """
    from provisioner.portable import write_whole

    try:
        write_whole(file, content)
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror or error}") from None
