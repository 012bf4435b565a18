"""What ``apply``, ``check`` and ``teardown`` do between the command line and the engine."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from provisioner.errors import InputError, ProvisionError
from provisioner.events import Difference, Notice, RunFinished, RunStarted, Verb
from provisioner.inventory.load import find_inventory, load_inventory
from provisioner.inventory.model import Inventory
from provisioner.playbook.load import default_playbook, load_playbook
from provisioner.playbook.model import Playbook
from provisioner.report import Reports, open_reports


def run_verb(name: str, flags: dict[str, Any]) -> int:
    """Load, run, report; returns the exit code.

    Raises:
        InputError: before any host is contacted.
    """
    begun = time.monotonic()
    verb = cast(Verb, name)
    file = find_inventory(flags["inventory"], Path.cwd(), os.environ)
    inventory = load_inventory(file)
    playbook = load_playbook(Path(flags["playbook"]) if flags["playbook"] else default_playbook())
    limit = _limit(flags["limit"], inventory)
    if verb == "teardown" and not flags["yes"] and not sys.stdin.isatty():
        raise InputError("teardown removes what runs, and there is no terminal to ask on", remedy="say it with --yes")
    with open_reports(
        verb=verb, cluster=inventory.cluster, json=flags["as_json"], verbose=flags["verbose"],
        secrets=inventory.secrets(),
    ) as reports:  # fmt: skip
        chosen = limit or tuple(host.name for host in inventory.hosts)
        reports.emit(RunStarted(0.0, verb, inventory.cluster, _shown(file), chosen, reports.log))
        code = _execute(verb, inventory, playbook, limit, flags, reports, begun)
        now = time.monotonic() - begun
        reports.emit(
            RunFinished(now, verb, code, _dashboard(verb, code, inventory), _next(verb, code, file, inventory))
        )
    return code


def _execute(
    verb: Verb, inventory: Inventory, playbook: Playbook, limit: tuple[str, ...], flags: dict[str, Any],
    reports: Reports, begun: float,
) -> int:  # fmt: skip
    from provisioner.artifacts import Artifacts
    from provisioner.engine.options import RunOptions
    from provisioner.engine.run import Run

    options = RunOptions(
        verb=verb,
        confirm=_asker(reports, as_json=flags["as_json"]),
        limit=limit,
        concurrency=flags["concurrency"],
        task_timeout=flags["timeout"],
        connect_timeout=flags["connect_timeout"],
        yes=bool(flags.get("yes")),
        purge=bool(flags.get("purge")),
        accept_new_host_keys=flags["accept_new_host_keys"],
    )
    try:
        return Run(inventory, playbook, options, Artifacts(), reports.emit, begun).execute()
    except ProvisionError as error:
        reports.emit(Notice(time.monotonic() - begun, error.host, error.message, error.remedy))
        return error.exit_code


def _asker(reports: Reports, as_json: bool) -> Callable[[tuple[Difference, ...]], bool]:
    """Return what asks the user before something is stopped; without a terminal the answer is no."""

    def ask(stopping: tuple[Difference, ...]) -> bool:
        if as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
            return False
        import click

        with reports.suspend():
            for what in dict.fromkeys(difference.stops for difference in stopping if difference.stops):
                click.echo(f"This stops {what}.")
            return click.confirm("Go on?", default=False)

    return ask


def _limit(values: tuple[str, ...], inventory: Inventory) -> tuple[str, ...]:
    """Return the hosts that --limit names, in the inventory's order."""
    wanted = [name.strip() for value in values for name in value.split(",") if name.strip()]
    chosen: set[str] = set()
    for name in wanted:
        found = {
            host.name for host in inventory.hosts if name in (host.name, *host.groups, _role_name(host.role), "all")
        }
        if not found:
            known = [host.name for host in inventory.hosts] + ["head", "workers", "all"]
            close = get_close_matches(name, known, 3)
            hint = f"did you mean {' or '.join(close)}?" if close else "see the inventory for the names of its hosts"
            raise InputError(f"--limit {name}: no host or group of that name", remedy=hint)
        chosen |= found
    return tuple(host.name for host in inventory.hosts if host.name in chosen)


def _role_name(role: str) -> str:
    return "head" if role == "head" else "workers"


def _shown(file: Path) -> str:
    """Return a path as short as it can be typed."""
    path = Path(os.path.normpath(file.absolute()))
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _dashboard(verb: Verb, code: int, inventory: Inventory) -> str:
    if verb != "apply" or code not in (0, 3, 4):
        return ""
    from provisioner.ray.start import dashboard

    address, port = dashboard(inventory)
    here = "" if _is_here(inventory) else f" (on {inventory.head.name})"
    return f"http://{address}:{port}{here}"


def _is_here(inventory: Inventory) -> bool:
    """Tell whether the head runs on this machine, so that its loopback is ours."""
    return inventory.head.address in ("127.0.0.1", "localhost", "::1")


def _next(verb: Verb, code: int, file: Path, inventory: Inventory) -> tuple[tuple[str, str], ...]:
    """Return the commands that make sense now."""
    name = shlex.quote(_shown(file))
    if code in (3, 4):
        return ((f"provision {verb} {name}", "once the cause is gone: it goes on where it stopped"),)
    if verb == "check":
        return ((f"provision apply {name}", "make it so"),) if code == 2 else ()
    if verb == "teardown":
        return ((f"provision apply {name}", "bring it back"),) if code == 0 else ()
    if code != 0:
        return ()
    tunnel = () if _is_here(inventory) else ((_tunnel(inventory), "brings the dashboard to your browser"),)
    return (
        *tunnel,
        (f"provision check {name}", "see what differs"),
        (f"provision teardown {name}", "stop Ray and remove what was made"),
    )


def _tunnel(inventory: Inventory) -> str:
    """Return the ssh command that brings the head's dashboard here."""
    from provisioner.ray.start import dashboard

    head = inventory.head
    address, port = dashboard(inventory)
    parts = ["ssh", "-N", "-L", f"{port}:{address}:{port}"]
    if head.ssh.port:
        parts += ["-p", str(head.ssh.port)]
    if head.ssh.key:
        parts += ["-i", _shown(head.ssh.key)]
    if head.ssh.jump:
        parts += ["-J", head.ssh.jump]
    parts.append(f"{head.ssh.user}@{head.address}" if head.ssh.user else head.address)
    return " ".join(shlex.quote(part) for part in parts)
