"""``provision ssh``: a shell on a host, by the system's own ssh."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click

from provisioner.cli import flags
from provisioner.errors import InputError


@click.command(short_help="Log in to a host.", context_settings={"ignore_unknown_options": True})
@click.argument("host")
@click.argument("argv", nargs=-1, metavar="[-- ARGV...]")
@flags.inventory_option
def ssh(host: str, argv: tuple[str, ...], inventory: str | None) -> None:
    """Log in to a host as the inventory says: with the system's ssh, its user, port, key, jump host and host keys.

    HOST is its name in the inventory, or `head`. What follows is run there in place of a shell, as ssh does it.
    """
    from provisioner.cli.asking import host_of
    from provisioner.inventory.load import find_inventory, load_inventory
    from provisioner.transport.openssh import command

    loaded = load_inventory(find_inventory(inventory, Path.cwd(), os.environ))
    program = shutil.which("ssh")
    if program is None:
        raise InputError("there is no ssh here", remedy="install OpenSSH's client")
    from provisioner.engine.reached import reached

    target, _ = reached(host_of(host, loaded))
    words = [program, *command(target), *argv]
    if os.name == "nt":  # exec there returns to the shell at once
        sys.exit(subprocess.run(words, check=False).returncode)
    sys.stdout.flush()
    os.execv(program, words)
