"""``provision doctor``: why is this node not in the cluster?"""

from __future__ import annotations

import sys
from typing import Any

import click

from provisioner.cli import flags
from provisioner.errors import InputError


@click.command(short_help="Find out why a node is not in the cluster.")
@flags.inventory_argument
@click.argument("host", required=False)
@flags.concurrency
@flags.connect_timeout
@flags.accept_new_host_keys
@flags.as_json
def doctor(host: str | None, concurrency: int, **given: Any) -> None:
    """Find out why a node is not in the cluster: the likeliest cause first, with what to do about it.

    Looks at addresses, clocks, versions, the token, the service and its log on every host, and tries the ports between
    all of them with real connections. Nothing is changed. With HOST only that one is told of. Exit code 0: nothing
    keeps a node out, 2: something does.
    """
    from provisioner.cli.asking import asking, host_of
    from provisioner.engine.doctor import Doctor
    from provisioner.report import doctor as report

    with asking(given) as ours:
        if host is not None and not host.strip():
            raise InputError("no host was named", remedy="leave it out to examine all")
        shown = [host_of(host, ours.inventory).name] if host else [each.name for each in ours.inventory.hosts]
        found = Doctor(ours.inventory, ours.connector, concurrency).examine(shown)
    if given["as_json"]:
        click.echo(report.as_json(found))
    else:
        report.write(sys.stdout, found)
    sys.exit(0 if found.is_well else 2)
