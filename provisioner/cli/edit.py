"""``provision edit``: an inventory in the user's editor, checked when it is saved."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from provisioner.cli import flags
from provisioner.errors import InputError, InputErrors, Place

AT_LINE = {
    "vi": "+{line}", "vim": "+call cursor({line},{column})", "nvim": "+call cursor({line},{column})",
    "nano": "+{line},{column}", "emacs": "+{line}:{column}", "micro": "+{line}:{column}", "kak": "+{line}:{column}",
    "hx": "{file}:{line}:{column}", "joe": "+{line}", "mcedit": "+{line}", "code": "--goto={file}:{line}:{column}",
    "subl": "{file}:{line}:{column}", "gedit": "+{line}:{column}", "kate": "--line={line}", "notepad++": "-n{line}",
}  # fmt: skip
"""How editors are told where the cursor is to stand."""
WAITS = {"code": "--wait", "subl": "--wait", "gedit": "--wait", "kate": "--block"}
"""Editors that return at once unless they are told to wait."""


@click.command(short_help="Edit an inventory, checked when it is saved.")
@flags.inventory_argument
def edit(inventory: str | None) -> None:
    """Edit an inventory in $VISUAL or $EDITOR, and see what is new, which you may apply at once.

    What is saved is checked before it counts: with a mistake in it the editor opens again with the cursor there.
    """
    from provisioner.cli.next_steps import shown
    from provisioner.cli.written import write
    from provisioner.inventory.load import find_inventory
    from provisioner.portable import command_line

    file = find_inventory(inventory, Path.cwd(), os.environ)
    if not sys.stdin.isatty():
        raise InputError("there is no terminal to edit at", remedy="change the file, then `provision validate` it")
    before = _content(file)
    after = _edited(file, before)
    if after == before:
        click.echo(f"{shown(file)} is as it was")
        return
    _show(before, after)
    write(file, after)
    again = f"provision apply {command_line([shown(file)])}"
    if not click.confirm(f"Saved. Apply it now ({again})?", default=False):
        click.echo(f"`{again}` makes it so; `provision check` shows what would change on the hosts")
        return
    sys.stdout.flush()
    sys.exit(subprocess.run([sys.executable, "-m", "provisioner.cli", "apply", str(file)], check=False).returncode)


def _edited(file: Path, before: bytes) -> bytes:
    """Return what the user made of it, once it is an inventory; what was there if they give up.

    The copy lies beside the file, for what is written in it is relative to its folder.
    """
    handle, name = tempfile.mkstemp(prefix=f".{file.stem}.", suffix=".yml", dir=file.parent)
    copy, place = Path(name), None
    try:
        with os.fdopen(handle, "wb") as half:
            half.write(before)
        while True:
            _open(copy, place)
            after = copy.read_bytes()
            problem = _problem(file, after)
            if problem is None or after == before:
                return after
            place = _place(problem)
            click.echo(f"provision: {_told(problem)}", err=True)
            if not click.confirm("Go on editing? (no: the file stays as it was)", default=True):
                return before
    finally:
        copy.unlink(missing_ok=True)


def _open(file: Path, place: Place | None) -> None:
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ("notepad" if os.name == "nt" else "vi")
    words = shlex.split(command, posix=os.name != "nt")
    name = Path(words[0].strip('"')).stem.lower()
    wait = [WAITS[name]] if name in WAITS and WAITS[name] not in words else []
    at = AT_LINE.get(name, "") if place is not None else ""
    where = at.format(line=place.line, column=place.column, file=file) if place is not None and at else ""
    target = [where] if "{file}" in at else [*([where] if where else []), str(file)]
    try:
        ended = subprocess.run([*words, *wait, *target], check=False)
    except OSError as error:
        raise InputError(
            f"the editor {words[0]} does not start: {error.strerror}", remedy="set $EDITOR to one"
        ) from None
    if ended.returncode:
        raise InputError(f"the editor ended with exit code {ended.returncode}: the file stays as it was")


def _problem(file: Path, content: bytes) -> InputError | None:
    from provisioner.inventory.document import parse_document
    from provisioner.inventory.load import read_inventory

    try:
        read_inventory(parse_document(file, content))
    except InputError as error:
        return error
    return None


def _place(error: InputError) -> Place | None:
    if isinstance(error, InputErrors):
        return next((each.place for each in error.errors if each.place), None)
    return error.place


def _told(error: InputError) -> str:
    from provisioner.report.lines import told_error

    return told_error(error)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from None


def _show(before: bytes, after: bytes) -> None:
    import difflib

    from provisioner.report.text import clean

    old, new = (text.decode("utf-8-sig", "replace").splitlines() for text in (before, after))
    for line in list(difflib.unified_diff(old, new, lineterm="", n=1))[2:]:
        click.secho(clean(line), fg={"+": "green", "-": "red"}.get(line[:1]))
