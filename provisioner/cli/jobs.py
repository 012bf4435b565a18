"""``provision submit``, ``jobs`` and ``job``: work for the cluster."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provisioner.cli import flags
from provisioner.cli.interrupts import INTERRUPTED
from provisioner.errors import InputError

if TYPE_CHECKING:
    from provisioner.engine.jobs import Cluster


class _BeforeDashes(click.Command):
    """A command whose last arguments stand behind ``--``, so that an optional one may stand before."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        place = args.index("--") if "--" in args else len(args)
        ctx.meta["argv"] = args[place + 1 :]
        return super().parse_args(ctx, args[:place])

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "-- ARGV..."]


@click.command(cls=_BeforeDashes, short_help="Run a command on the cluster as a job.")
@flags.inventory_argument
@click.option("--working-dir", type=click.Path(path_type=Path), metavar="FOLDER",
              help="Sent along: what the job needs of this machine.  [default: nothing is sent]")  # fmt: skip
@click.option("--env", multiple=True, metavar="NAME=VALUE", help="A variable of the job; several times for several.")
@click.option("--id", "name", default="", metavar="ID", help="An id of your own; else Ray makes one.")
@click.option("--no-wait", is_flag=True, help="Only submit it, and print its id.")
@flags.connect_timeout
@flags.accept_new_host_keys
@flags.as_json
def submit(working_dir: Path | None, env: tuple[str, ...], name: str, no_wait: bool, **given: Any) -> None:
    """Run a command on the cluster as a job, show what it prints, and end as it ends.

    \b
    provision submit inventory.yml --working-dir . -- python script.py --size 3

    The command begins on the head; `python` there is the cluster's own, with Ray. Neither Ray nor an open port is
    needed on this machine. Ctrl-C asks whether to stop the job. Exit code: the command's own, 1 if it was stopped or
    never began.
    """
    argv = click.get_current_context().meta["argv"]
    if not argv:
        raise InputError(
            "there is nothing to run", remedy="put it behind `--`: provision submit INVENTORY -- python script.py"
        )
    variables = _variables(env)
    with _cluster(given) as cluster:
        job = cluster.submit(argv, working_dir, variables, name)
        if no_wait:
            click.echo(_document({"id": job}) if given["as_json"] else job)
            return
        if not given["as_json"]:
            click.echo(f"job {job}", err=True)
        sys.exit(_follow(given, cluster, job, None, given["as_json"]))


@click.command(short_help="List the jobs of the cluster.")
@flags.inventory_argument
@flags.connect_timeout
@flags.accept_new_host_keys
@flags.as_json
def jobs(**given: Any) -> None:
    """List the jobs of the cluster, the newest first."""
    from provisioner.report.jobs import document, write

    with _cluster(given) as cluster:
        rows = cluster.list()
    if given["as_json"]:
        click.echo(document(rows))
    else:
        write(sys.stdout, rows)


@click.group(short_help="Show what a job prints, or stop it.")
def job() -> None:
    """Show what a job prints, or stop it."""


@job.command("logs")
@click.argument("name", metavar="ID")
@flags.inventory_option
@click.option("-f", "--follow", is_flag=True, help="Until the job has ended; the exit code is the job's.")
@click.option("-n", "--lines", type=click.IntRange(0, 1_000_000), help="Only the last lines.")
@flags.connect_timeout
@flags.accept_new_host_keys
def job_logs(name: str, follow: bool, lines: int | None, **given: Any) -> None:
    """Show what a job has printed."""
    with _cluster(given) as cluster:
        if follow:
            sys.exit(_follow(given, cluster, name, lines))
        from provisioner.report.stream import Stream

        stream = Stream(sys.stdout)
        cluster.follow(name, stream.put, lines, to_the_end=False)
        stream.end()


@job.command("stop")
@click.argument("name", metavar="ID")
@flags.inventory_option
@flags.connect_timeout
@flags.accept_new_host_keys
def job_stop(name: str, **given: Any) -> None:
    """Have a job stopped."""
    with _cluster(given) as cluster:
        click.echo(f"job {name} is being stopped" if cluster.stop(name) else f"job {name} has ended already")


@contextmanager
def _cluster(given: dict[str, Any]) -> Iterator[Cluster]:
    from provisioner.cli.asking import asking
    from provisioner.engine.inquiry import Inquiry
    from provisioner.engine.jobs import Cluster

    with asking(given) as ours, Inquiry(ours.connector, ours.inventory, ours.inventory.head) as head:
        yield Cluster(head, ours.inventory)


def _follow(given: dict[str, Any], cluster: Cluster, name: str, lines: int | None, as_json: bool = False) -> int:
    """Show what a job prints until it ends; returns the exit code. Ctrl-C asks whether to stop it."""
    from provisioner.report.stream import Stream
    from provisioner.report.text import clean, flat

    stream = Stream(sys.stderr if as_json else sys.stdout)
    try:
        ended = cluster.follow(name, stream.put, lines)
    except KeyboardInterrupt:
        stream.end()
        _ask_to_stop(given, name)
        return INTERRUPTED
    stream.end()
    if as_json:
        told = {"id": ended.id, "status": ended.status, "message": ended.message, "exit_code": ended.exit_code}
        click.echo(_document(told))
    elif ended.status != "SUCCEEDED":
        click.echo(f"provision: job {name}: {ended.status}: {flat(clean(ended.message))[:500]}", err=True)
    return ended.exit_code


def _ask_to_stop(given: dict[str, Any], name: str) -> None:
    """Have the job stopped, over a connection of its own, if the user says so; without a terminal it runs on."""
    again = f"provision job logs {name} --follow"
    stop = sys.stdin.isatty() and sys.stderr.isatty() and click.confirm(f"\nStop job {name} too?", err=True)
    if not stop:
        click.echo(f"\njob {name} runs on: {again}", err=True)
        return
    with _cluster(given) as cluster:
        cluster.stop(name)
    click.echo(f"job {name} is being stopped", err=True)


def _variables(texts: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for text, (name, sign, _) in zip(texts, pairs, strict=True):
        if not sign or not name:
            raise InputError(f"--env {text}: that is no variable", remedy="write --env NAME=VALUE")
    return {name: value for name, _, value in pairs}


def _document(value: dict[str, Any]) -> str:
    from provisioner.report.text import plain_json

    return plain_json(value, indent=2)
