"""What ``apply``, ``check``, ``rollback`` and ``teardown`` do between the command line and the engine."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from provisioner.cli.asking import asking, limited
from provisioner.cli.interrupts import INTERRUPTED, Interrupts
from provisioner.cli.next_steps import dashboard_address, next_commands, shown
from provisioner.errors import InputError, ProvisionError, Stopped
from provisioner.events import Difference, Event, Notice, RunFinished, RunStarted, Verb
from provisioner.inventory.load import find_inventory, load_inventory
from provisioner.inventory.model import Inventory
from provisioner.playbook.load import default_playbook, load_playbook
from provisioner.ray import auth
from provisioner.report import Reports, open_reports

Flags = dict[str, Any]


def run_verb(name: str, flags: Flags) -> int:
    """Load, run, report; returns the exit code.

    Raises:
        InputError: before any host is contacted (with --json it is told in the document instead).
    """
    verb, begun = cast(Verb, name), time.monotonic()
    with Interrupts() as interrupts:
        try:
            with interrupts.asking():
                file, inventory, limit = _load(verb, flags)
                run = _prepare(verb, inventory, limit, flags, begun)
        except ProvisionError as error:
            if not flags["as_json"]:
                raise
            return _told_as_json(verb, error)
        except KeyboardInterrupt:
            if not flags["as_json"]:
                raise
            return _told_as_json(verb, Stopped("interrupted before any host was contacted"))
        chosen = limit or tuple(host.name for host in inventory.hosts)
        with open_reports(
            verb=verb, cluster=inventory.cluster, json=flags["as_json"], verbose=flags["verbose"],
            secrets=inventory.secrets(),
        ) as reports:  # fmt: skip
            head = inventory.head.name
            reports.emit(RunStarted(0.0, verb, inventory.cluster, shown(file), chosen, reports.log, head))
            for message, remedy in auth.remarks(inventory) if verb != "teardown" else ():
                reports.emit(Notice(0.0, "", message, remedy))
            ask = _asker(reports, interrupts, as_json=flags["as_json"])
            emit = _telling_aside(reports) if flags["as_json"] else reports.emit
            code: int = run.execute(emit, ask, reports.hide, lambda: interrupts.count)
            _tell_of_ray(run, shown(file))
            address = dashboard_address(inventory) if verb in ("apply", "rollback") and run.head_is_well() else ""
            following = next_commands(verb, code, inventory, file, flags, run.may_be_repeated())
            reports.emit(RunFinished(run.now(), verb, code, address, following, code == INTERRUPTED))
    return code


def _load(verb: Verb, flags: Flags) -> tuple[Path, Inventory, tuple[str, ...]]:
    """Return the inventory and the hosts it is limited to."""
    file = find_inventory(flags["inventory"], Path.cwd(), os.environ)
    inventory = load_inventory(file)
    if flags.get("rotate"):
        from provisioner.engine.token import require

        require(inventory)
    limit = limited(flags["limit"], inventory)
    if verb == "teardown" and not flags["yes"] and not sys.stdin.isatty():
        raise InputError("teardown removes what runs, and there is no terminal to ask on", remedy="say it with --yes")
    return file, inventory, limit


def _prepare(verb: Verb, inventory: Inventory, limit: tuple[str, ...], flags: Flags, begun: float) -> Any:
    """Return the run, checked as far as can be without a host."""
    playbook = load_playbook(Path(flags["playbook"]) if flags["playbook"] else default_playbook())
    from provisioner.artifacts import Artifacts
    from provisioner.cli.fixed import is_fixed, prepare
    from provisioner.engine.early import check_early
    from provisioner.engine.options import RunOptions
    from provisioner.engine.run import Run

    options = RunOptions(
        verb=verb,
        limit=limit,
        concurrency=flags["concurrency"],
        task_timeout=flags["timeout"],
        connect_timeout=flags["connect_timeout"],
        yes=bool(flags.get("yes")),
        purge=bool(flags.get("purge")),
        accept_new_host_keys=flags["accept_new_host_keys"],
        rotate=bool(flags.get("rotate")),
        lock_timeout=flags.get("lock_timeout", 0.0),
    )
    artifacts = Artifacts(options=inventory.artifacts)
    if verb in ("apply", "check"):  # what stands must come down or go back, whatever is declared now
        check_early(inventory, artifacts.cache, fixed=is_fixed(inventory, flags["bundle"]))
        if verb == "apply" and not flags["bundle"]:
            inventory.require_logins()
        inventory, artifacts = prepare(inventory, flags["bundle"])
    elif flags["bundle"]:  # a host whose interpreter vanished gets it from there
        _, artifacts = prepare(inventory, flags["bundle"])
    return Run(inventory, playbook, options, artifacts, begun)


def _told_as_json(verb: Verb, error: ProvisionError) -> int:
    with open_reports(verb=verb, cluster="", json=True) as reports:
        where = f"{error.place}: " if error.place else ""
        reports.emit(Notice(0.0, error.host, where + error.message, error.remedy))
        interrupted = error.exit_code == INTERRUPTED
        reports.emit(RunFinished(0.0, verb, error.exit_code, interrupted=interrupted))
    return error.exit_code


def _telling_aside(reports: Reports) -> Callable[[Event], None]:
    """Have what somebody at a terminal must know at once told there, too: the document comes at the end."""
    import click

    from provisioner.report.text import clean, flat

    def tell(event: Event) -> None:
        reports.emit(event)
        if isinstance(event, Notice) and event.urgent:
            told = flat(clean(reports.redact(f"{event.message}; {event.remedy}")))
            with suppress(OSError, ValueError):  # stderr is closed, full or unread: the document tells it, too
                click.echo(f"provision: {told}", err=True)

    return tell


def _tell_of_ray(run: Any, inventory: str) -> None:
    """Say where Ray is stopped now: a run that was ended half-way may have stopped it to start it anew."""
    if not run.stopping.is_set():
        return
    stopped, unknown = run.stopped_rays()
    if stopped:
        again = f"`provision apply {inventory}` starts it"
        run.notice("", f"Ray is stopped now on {', '.join(stopped)}", again)
    if unknown:
        look = f"`provision check {inventory}` looks"
        run.notice("", f"whether Ray runs on {', '.join(unknown)} is not known", look)


def _asker(reports: Reports, interrupts: Interrupts, as_json: bool) -> Callable[[tuple[Difference, ...]], bool]:
    """Return what asks the user before something is stopped; without a terminal the answer is no."""

    def ask(stopping: tuple[Difference, ...]) -> bool:
        if as_json or interrupts.count or not (sys.stdin.isatty() and sys.stdout.isatty()):
            return False
        import click

        from provisioner.report.text import clean, flat

        with reports.suspend(), interrupts.asking(), suppress(click.Abort, KeyboardInterrupt):
            for what in dict.fromkeys(difference.stops for difference in stopping if difference.stops):
                click.echo(f"This stops {flat(clean(reports.redact(what)))}.")
            return click.confirm("Go on?", default=False)
        return False

    return ask


def show_token(flags: Flags) -> None:
    """Print the cluster's token alone; ProvisionError if there is none to be had."""
    import click

    from provisioner.engine.token import fetch

    with asking(flags) as ours:
        click.echo(fetch(ours.inventory, ours.connector))
