"""``provision``: its commands and what they share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from provisioner import __version__
from provisioner.cli import flags
from provisioner.cli.doctor import doctor
from provisioner.cli.edit import edit
from provisioner.cli.execute import execute
from provisioner.cli.fmt import fmt
from provisioner.cli.hosts import hosts
from provisioner.cli.init import init
from provisioner.cli.interrupts import INTERRUPTED, leave_at_once
from provisioner.cli.jobs import job, jobs, submit
from provisioner.cli.logs import logs
from provisioner.cli.reach import connect, dashboard
from provisioner.cli.report import report
from provisioner.cli.ssh import ssh
from provisioner.cli.status import status
from provisioner.cli.validate import validate
from provisioner.errors import InputError, ProvisionError
from provisioner.portable import WINDOWS, speak_any_language


class Program(click.Group):
    """Says errors in sentences and lists commands in the order in which they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="provision")
def cli() -> None:
    """Turn a room of machines into a running Ray cluster.

    Write an inventory of a head and its workers, then `provision apply inventory.yml`.

    \b
    Exit codes: 0 all well, 1 mistake in the input or you said no, 2 check found differences,
    3 something failed on a host, 4 a host could not be reached, 5 another run works on the cluster,
    130 interrupted.
    """


@cli.command()
@flags.for_a_run
@flags.bundle
@flags.lock_timeout
@flags.yes
def apply(**given: Any) -> None:
    """Make every host as declared, and prove it."""
    _run("apply", given)


@cli.command()
@flags.for_a_run
@flags.bundle
def check(**given: Any) -> None:
    """Say what differs, change nothing. Exit code 0: nothing, 2: something."""
    _run("check", given)


@cli.command(short_help="Return to the environment that ran before.")
@flags.for_a_run
@flags.bundle
@flags.lock_timeout
@flags.yes
def rollback(**given: Any) -> None:
    """Return to the environment that ran before: head, then workers, then a task on every node.

    What the hosts ran last on another environment is started again, with the options it had. `provision apply` goes
    forward again; to stay, declare the former version in the inventory.
    """
    _run("rollback", given)


@cli.command(short_help="Stop Ray and undo what apply did.")
@flags.for_a_run
@flags.bundle
@flags.lock_timeout
@flags.yes
@click.option("--purge", is_flag=True, help="Remove the environments and everything else of ours as well.")
def teardown(**given: Any) -> None:
    """Stop Ray and undo what apply did; environments stay without --purge."""
    _run("teardown", given)


@cli.command(short_help="Keep the exact packages for later runs.")
@flags.inventory_argument
@click.option("--upgrade", is_flag=True, help="Take the newest versions; without it those locked stay if they fit.")
@click.option("--json", "as_json", is_flag=True, help="Print what is new as one JSON document.")
def lock(inventory: str | None, upgrade: bool, as_json: bool) -> None:
    """Keep the exact packages: write INVENTORY.lock.yml, which later runs use.

    It holds every package with its hash, for every platform in the inventory, and the interpreters. Keep it beside the
    inventory, under version control if you have one.
    """
    from provisioner.cli.locks import lock as write

    with _nothing_contacted("lock", as_json):
        write(inventory, upgrade, as_json)


@cli.command(short_help="Pack all that hosts need, for use without internet.")
@flags.inventory_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    metavar="FILE",
    help="The file to write.  [default: CLUSTER.bundle in the folder you are in]",
)
def bundle(inventory: str | None, output: str | None) -> None:
    """Pack packages, interpreters and uv for every platform in the inventory into one file.

    Make it where there is internet; `provision apply INVENTORY --bundle FILE` needs none. It is written where you are,
    not beside the inventory, unless -o says otherwise.
    """
    from provisioner.cli.locks import bundle as write

    with _nothing_contacted("bundle"):
        write(inventory, output)


@contextmanager
def _nothing_contacted(verb: str, as_json: bool = False) -> Iterator[None]:
    """End with code 1 whatever goes wrong, for the others are about hosts; with --json say it as a run does."""
    try:
        yield
    except ProvisionError as error:
        error.exit_code = 1
        if not as_json:
            raise
        from provisioner.report.jsondoc import refusal

        click.echo(refusal(verb, error))
        sys.exit(1)


def _run(verb: str, given: dict[str, Any]) -> None:
    from provisioner.cli.run import run_verb

    sys.exit(run_verb(verb, given))


@cli.command(short_help="Show the newest Ray and Python that go.")
@flags.inventory_argument
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
def versions(inventory: str | None, as_json: bool) -> None:
    """Show the newest versions of Ray and Python that go with every host; contacts none."""
    from provisioner.cli.versions import show_versions

    with _nothing_contacted("versions", as_json):
        sys.exit(show_versions(inventory, as_json))


@cli.command()
@click.argument("which", type=click.Choice(["inventory", "playbook"]))
def schema(which: str) -> None:
    """Print the JSON Schema of inventories or playbooks."""
    from importlib import resources

    click.echo((resources.files(f"provisioner.{which}") / "schema.json").read_text(encoding="utf-8"), nl=False)


@cli.group(short_help="Show or replace the token that Ray asks for.")
def token() -> None:
    """Show or replace the token that Ray asks for, from whoever connects (Ray 2.52 and newer)."""


@token.command("show")
@flags.inventory_argument
@flags.connect_timeout
@flags.accept_new_host_keys
def token_show(**given: Any) -> None:
    """Print the token, and nothing else: for the dashboard's question, and for `ray job submit`.

    \b
    export RAY_AUTH_MODE=token RAY_AUTH_TOKEN="$(provision token show INVENTORY)"
    ray job submit --address http://127.0.0.1:8265 -- python script.py
    """
    from provisioner.cli.run import show_token

    show_token(given)


@token.command("rotate")
@flags.for_all_hosts
@flags.bundle
@flags.lock_timeout
@flags.yes
def token_rotate(**given: Any) -> None:
    """Replace the token on all nodes: an `apply` that restarts the head with a new one, and then the workers.

    What ran on the cluster ends; you are asked first. A worker that can't be reached gets it with its next `apply`, and
    so does one whose run was broken off.
    """
    _run("apply", {**given, "limit": (), "rotate": True})


@cli.group()
def sandbox() -> None:
    """Throw-away hosts on this machine, for a first try."""


_folder = click.option(
    "--folder", type=click.Path(path_type=Path), default=Path(".sandbox"), show_default=True, help="Where they live."
)


@sandbox.command("start")
@_folder
@click.option("--hosts", "count", type=click.IntRange(1, 500), default=3, show_default=True, help="How many.")
@click.option(
    "--first-port", type=click.IntRange(1024, 65000), default=22201, show_default=True, help="Port of the first."
)
def sandbox_start(folder: Path, count: int, first_port: int) -> None:
    """Start SSH servers on loopback, each with a folder of its own as its home."""
    if WINDOWS:
        raise InputError("the sandbox needs Linux or macOS", remedy="start it in WSL, or begin with a machine of yours")
    from provisioner.sandbox.sandbox import Sandbox

    for host in Sandbox(folder.absolute()).start(count, first_port):
        click.echo(f"{host.name}: 127.0.0.1:{host.port}, home {host.home}")


@sandbox.command("stop")
@_folder
@click.option("--remove", is_flag=True, help="Remove the folder as well.")
def sandbox_stop(folder: Path, remove: bool) -> None:
    """Stop the SSH servers."""
    if WINDOWS:
        raise InputError("the sandbox needs Linux or macOS: there is none here")
    from provisioner.sandbox.sandbox import Sandbox

    machines = Sandbox(folder.absolute())
    machines.stop()
    if remove:
        machines.remove()


@cli.command(short_help="Print a shell's completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a shell's completion script: eval "$(provision completion bash)"."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(cli, {}, "provision", "_PROVISION_COMPLETE").source())


for _command in (
    status,
    doctor,
    dashboard,
    connect,
    submit,
    jobs,
    job,
    logs,
    ssh,
    execute,
    report,
    init,
    validate,
    fmt,
    hosts,
    edit,
):
    cli.add_command(_command)


def main() -> None:
    """Run ``provision`` and exit; whatever happens is said in a sentence."""
    leave_at_once(_main)


def _main() -> None:
    speak_any_language()
    try:
        cli(prog_name="provision", standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(1)
    except ProvisionError as error:
        from provisioner.report.lines import told_error

        click.echo(f"provision: {told_error(error)}", err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("provision: interrupted; running the same command again is safe", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.exit(1)
    except Exception as error:
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        place = f" ({Path(where.tb_frame.f_code.co_filename).name}:{where.tb_lineno})" if where else ""
        from provisioner.report.text import clean, flat

        told = f"unexpected {type(error).__name__}{place}: {flat(clean(str(error)))}"
        click.echo(f"provision: {told}\n  -> please report this as a bug", err=True)
        sys.exit(3)
