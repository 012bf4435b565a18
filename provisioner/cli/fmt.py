"""``provision fmt``: inventories and playbooks written in one way."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from provisioner.cli.written import read_whole, write

UNFORMATTED = 2
"""Exit code of ``fmt --check`` where something would change, as ``check`` has it."""


@click.command(short_help="Write inventories in one way, comments kept.")
@click.argument("files", nargs=-1, type=click.Path(), metavar="[FILE...]")
@click.option("--check", is_flag=True, help="Change nothing, name what would change. Exit code 2 if something would.")
def fmt(files: tuple[str, ...], check: bool) -> None:
    """Indent inventories and playbooks by two, with single spaces; what they say and their comments stay.

    Order, quotes, and what stands in brackets or in columns of comments stay as well.
    """
    from provisioner.cli.next_steps import shown
    from provisioner.inventory.formatting import formatted
    from provisioner.inventory.load import find_inventory

    others = 0
    for file in [Path.cwd() / name for name in files] or [find_inventory(None, Path.cwd())]:
        content = read_whole(file)
        wanted = formatted(content, file)
        if wanted == content:
            continue
        others += 1
        if not check:
            write(file, wanted)
        click.echo(f"{shown(file)} {'is written another way' if check else 'formatted'}")
    if not others:
        click.echo("nothing to format")
    if check and others:
        sys.exit(UNFORMATTED)
