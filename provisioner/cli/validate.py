"""``provision validate``: is an inventory right, as far as that can be known without its hosts."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from provisioner.cli import flags
from provisioner.errors import InputError, InputErrors


class _Anything(Mapping[str, str]):
    """An environment in which every variable that is not set is taken for one that holds a secret."""

    def __getitem__(self, name: str) -> str:
        return os.environ.get(name) or "not-known-here"

    def __iter__(self) -> Iterator[str]:
        return iter(os.environ)

    def __len__(self) -> int:
        return len(os.environ)


@click.command(short_help="Say whether an inventory is right; contacts no host.")
@click.argument("files", nargs=-1, type=click.Path(), metavar="[INVENTORY]...")
@click.option(
    "--playbook", type=click.Path(), metavar="FILE", help="Look at this playbook as well, in place of the built-in one."
)
@click.option(
    "--without-secrets", is_flag=True, help="Take it that the variables of secrets (from_env) are set, as in CI."
)
@flags.as_json
def validate(files: tuple[str, ...], playbook: str | None, without_secrets: bool, as_json: bool) -> None:
    """Say whether inventories are right: all mistakes at once, each with file, line and what to do about it.

    No host is contacted. Exit code 0: all are right, 1: one is not.
    """
    from provisioner.inventory.load import find_inventory
    from provisioner.report.text import plain_json

    environ: Mapping[str, str] = _Anything() if without_secrets else os.environ
    chosen = [Path(file) for file in files] or [find_inventory(None, Path.cwd(), os.environ)]
    looked = [_look_at(file, playbook, environ) for file in chosen]
    right = all(not each["errors"] for each in looked)
    if as_json:
        click.echo(plain_json({"verb": "validate", "valid": right, "files": looked}, indent=2))
    else:
        for each in looked:
            _tell(each)
    sys.exit(0 if right else 1)


def _look_at(file: Path, playbook: str | None, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what there is to say of a file, as JSON."""
    from provisioner.declaration import Declarer
    from provisioner.inventory.load import load_inventory
    from provisioner.playbook.load import default_playbook, load_playbook

    try:
        inventory = load_inventory(file, environ)
        declarer = Declarer(inventory, load_playbook(Path(playbook) if playbook else default_playbook()))
        for host in inventory.hosts:
            declarer.declare(host, "apply")
    except InputError as error:
        errors = error.errors if isinstance(error, InputErrors) else [error]
        return {"file": str(file), "errors": [_error(each, file) for each in errors]}
    workers = len(inventory.workers)
    return {"file": str(file), "cluster": inventory.cluster, "head": inventory.head.name, "workers": workers,
            "errors": []}  # fmt: skip


def _error(error: InputError, file: Path) -> dict[str, Any]:
    place = error.place
    where = {"file": place.file, "line": place.line, "column": place.column} if place else {"file": str(file)}
    return {**where, "message": error.message, "remedy": error.remedy}


def _tell(each: dict[str, Any]) -> None:
    from provisioner.report.text import clean, flat

    def say(text: str, err: bool = False) -> None:
        click.echo(flat(clean(text)), err=err)

    for error in each["errors"]:
        where = ":".join(str(error[key]) for key in ("file", "line", "column") if key in error)
        say(f"{where}: {error['message']}", err=True)
        if error["remedy"]:
            click.echo(f"  -> {flat(clean(error['remedy']))}", err=True)
    if not each["errors"]:
        workers = each["workers"]
        count = f"{workers} {'worker' if workers == 1 else 'workers'}"
        say(f"{each['file']} is right: cluster {each['cluster']}, head {each['head']}, {count}")
