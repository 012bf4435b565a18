"""``provision status``: the cluster on one screen."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from provisioner.cli import flags


@click.command(short_help="Show nodes, resources and jobs on one screen.")
@flags.inventory_argument
@click.option("-w", "--watch", is_flag=True, help="Look again and again, until Ctrl-C.")
@click.option("--interval", type=click.FloatRange(0.5, 3600), default=2, show_default=True, metavar="SECONDS",
              help="Between two looks.")  # fmt: skip
@flags.connect_timeout
@flags.accept_new_host_keys
@flags.as_json
def status(watch: bool, interval: float, **given: Any) -> None:
    """Show the cluster on one screen, as its head knows it: nodes, resources, jobs. Nothing is changed.

    A node is alive, dead (it was there), missing (it never was) or strange (it is none of the inventory's). Exit code
    0: all is well, 2: something is not, 3 or 4: the head does not answer.
    """
    from provisioner.cli.asking import asking
    from provisioner.engine.inquiry import Inquiry
    from provisioner.engine.state import fetch
    from provisioner.report import status as report

    with asking(given) as ours, Inquiry(ours.connector, ours.inventory, ours.inventory.head) as head:
        while True:
            found = fetch(head, ours.inventory)
            if given["as_json"]:
                click.echo(report.as_json(found))
            else:
                if watch and sys.stdout.isatty():
                    click.clear()
                report.write(sys.stdout, found)
                sys.stdout.flush()
            if not watch:
                break
            time.sleep(interval)
    sys.exit(0 if found.is_well else 2)
