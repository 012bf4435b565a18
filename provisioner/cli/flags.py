"""Flags and arguments that several commands have in common, said once."""

from __future__ import annotations

from typing import Any

import click

inventory_argument = click.argument("inventory", required=False, type=click.Path(), metavar="[INVENTORY]")
inventory_option = click.option(
    "-i",
    "--inventory",
    type=click.Path(),
    metavar="INVENTORY",
    help="The inventory, where the arguments say something else.",
)
connect_timeout = click.option(
    "--connect-timeout",
    type=click.FloatRange(min=1),
    default=10,
    show_default=True,
    help="Seconds to wait for a host to let us in.",
)
accept_new_host_keys = click.option(
    "--accept-new-host-keys", is_flag=True, help="Trust hosts that are seen for the first time."
)
limit = click.option(
    "--limit", metavar="HOSTS", multiple=True, help="Only these hosts or groups (commas, or several times)."
)
concurrency = click.option(
    "--concurrency",
    type=click.IntRange(1, 1000),
    default=32,
    show_default=True,
    help="Hosts that are worked on at the same time.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
yes = click.option("-y", "--yes", is_flag=True, help="Do not ask before something that runs is stopped or removed.")
lock_timeout = click.option(
    "--lock-timeout",
    type=click.FloatRange(min=0),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="Wait as long for another run on this cluster to end; 0: don't wait.",
)
bundle = click.option(
    "--bundle", type=click.Path(), metavar="FILE", help="Take everything from this file; no network but SSH is needed."
)
_playbook = click.option(
    "--playbook", type=click.Path(), metavar="FILE", help="Use this playbook in place of the built-in one."
)
_timeout = click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=900,
    show_default=True,
    help="Seconds that one task may take on a host.",
)
_verbose = click.option("-v", "--verbose", count=True, help="Show tasks that change nothing, and all that was seen.")


def for_a_run(command: Any) -> Any:
    """Add what apply, check, rollback and teardown have in common."""
    return for_all_hosts(limit(command))


def for_all_hosts(command: Any) -> Any:
    """Add what these have in common with runs that are always about the whole cluster."""
    for option in (
        _verbose, as_json, accept_new_host_keys, connect_timeout, _timeout, concurrency, _playbook, inventory_argument,
    ):  # fmt: skip
        command = option(command)
    return command
