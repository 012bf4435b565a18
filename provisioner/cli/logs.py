"""``provision logs``: what a node has said."""

from __future__ import annotations

import sys
from typing import Any

import click

from provisioner.cli import flags


@click.command(short_help="Show what Ray on a host has said.")
@click.argument("host")
@flags.inventory_option
@click.option("-f", "--follow", is_flag=True, help="Go on with what is added, until Ctrl-C.")
@click.option("--ray", is_flag=True, help="Ray's own logs of this session (GCS, raylet, dashboard, agent).")
@click.option("-n", "--lines", type=click.IntRange(0, 100_000), default=100, show_default=True, help="The last lines.")
@flags.connect_timeout
@flags.accept_new_host_keys
def logs(host: str, follow: bool, ray: bool, lines: int, **given: Any) -> None:
    """Show the last lines of the log of Ray's service on a host; HOST is its name in the inventory, or `head`."""
    from provisioner.cli.asking import asking, host_of
    from provisioner.engine.inquiry import LIMIT, Inquiry
    from provisioner.report.stream import Stream

    with asking(given) as ours:
        asked = {"which": "ray" if ray else "service", "lines": lines, "follow": follow}
        stream = Stream(sys.stdout)
        with Inquiry(ours.connector, ours.inventory, host_of(host, ours.inventory)) as node:
            node.ask("log", asked, None if follow else LIMIT, stream.put)
        stream.end()
