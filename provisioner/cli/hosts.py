"""``provision host``: hosts put into an inventory and taken out of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from provisioner.cli import flags
from provisioner.errors import InputError


@click.group("host", short_help="Add a worker to an inventory, or take it out.")
def hosts() -> None:
    """Add a worker to an inventory, or take it out; comments and order stay. Nothing is contacted."""


@hosts.command("add")
@click.argument("name")
@click.argument("address")
@flags.inventory_option
@click.option("--os", "system", type=click.Choice(["linux", "macos", "windows"]), help="Its operating system.")
@click.option("--user", help="The account that logs in, if not the cluster's.")
@click.option("--port", type=click.IntRange(1, 65535), help="Of its SSH server, if not the cluster's.")
@click.option("--num-cpus", type=click.IntRange(0, 100_000), help="Processors for Ray, if not all.")
@click.option("--num-gpus", type=click.IntRange(0, 1000), help="GPUs for Ray, if not all.")
def add(name: str, address: str, inventory: str | None, **more: Any) -> None:
    """Add a worker NAME at ADDRESS, written as the last one is."""
    from provisioner.inventory.membership import with_host

    ssh = {key: more[key] for key in ("user", "port") if more[key] is not None}
    ray = {key: more[key] for key in ("num_cpus", "num_gpus") if more[key] is not None}
    settings: dict[str, Any] = {"address": address, **({"os": more["system"]} if more["system"] else {})}
    settings.update({key: value for key, value in (("ssh", ssh), ("ray", ray)) if value})
    _change(
        inventory, lambda content, file: with_host(content, file, name, settings), f"{name} is added", "makes it one"
    )


@hosts.command("remove")
@click.argument("name")
@flags.inventory_option
def remove(name: str, inventory: str | None) -> None:
    """Take a worker out of the inventory; the next `apply` stops Ray there and undoes what was done."""
    from provisioner.inventory.membership import without_host

    _change(inventory, lambda content, file: without_host(content, file, name), f"{name} is taken out", "takes it down")


def _change(inventory: str | None, change: Any, said: str, then: str) -> None:
    """Write the changed inventory, if it is one."""
    from provisioner.cli.next_steps import shown
    from provisioner.cli.written import read_whole, write
    from provisioner.inventory.document import parse_document
    from provisioner.inventory.load import find_inventory, load_inventory, read_inventory
    from provisioner.portable import command_line

    file = find_inventory(inventory, Path.cwd(), os.environ)
    load_inventory(file)
    content = change(read_whole(file), file)
    try:
        read_inventory(parse_document(file, content))
    except InputError as error:
        raise InputError(f"{file} stays as it is, for with that change: {error.message}", remedy=error.remedy) from None
    write(file, content)
    click.echo(f"{said}: `provision apply {command_line([shown(file)])}` {then}")
