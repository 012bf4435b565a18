"""``provision exec``: a program on many hosts at once."""

from __future__ import annotations

import sys
from typing import Any

import click

from provisioner.cli import flags


@click.command("exec", short_help="Run a program on the hosts, side by side.")
@click.argument("argv", nargs=-1, required=True, metavar="-- ARGV...")
@flags.inventory_option
@flags.limit
@click.option("--timeout", type=click.FloatRange(min=1), default=900, show_default=True,
              help="Seconds that it may take on a host.")  # fmt: skip
@flags.concurrency
@flags.connect_timeout
@flags.accept_new_host_keys
@flags.as_json
def execute(**given: Any) -> None:
    """Run a program on the hosts, side by side, and print what each says under its name.

    \b
    provision exec -- nvidia-smi
    provision exec --limit workers -- cmd /c ver

    It runs as the account that logs in, in its home folder, with nothing to read; no shell looks at its arguments
    (name one to have one: `-- sh -c '...'`, `-- powershell -Command ...`). Exit code 0: it ended with 0 everywhere, 3:
    with another one somewhere, 4: a host could not be reached.
    """
    from provisioner.cli.asking import asking, limited
    from provisioner.engine.execute import execute as run
    from provisioner.report.executed import Printer, as_json

    with asking(given) as ours:
        names = limited(given["limit"], ours.inventory) or tuple(host.name for host in ours.inventory.hosts)
        hosts = [host for host in ours.inventory.hosts if host.name in names]
        printer = None if given["as_json"] else Printer(sys.stdout, [host.name for host in hosts])
        done = run(
            ours.inventory, ours.connector, hosts, given["argv"], given["timeout"], given["concurrency"], printer
        )
        if printer is None:
            click.echo(as_json(done))
        else:
            printer.end(done)
    sys.exit(max(each.exit_code for each in done))
