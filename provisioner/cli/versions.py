"""What ``provision versions`` prints."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.cli.next_steps import shown
from provisioner.inventory.load import find_inventory, load_inventory

if TYPE_CHECKING:
    from provisioner.engine.versions import Versions
    from provisioner.report.lines import Line

NOW = " *"
"""Marks what the inventory has."""


def show_versions(argument: str | None, as_json: bool) -> int:
    """Print the newest versions that go with all hosts; returns the exit code: 1 if there are none.

    Raises:
        InputError: the inventory is wrong.
        ProvisionError: uv can't be asked for its catalogue.
    """
    from provisioner.artifacts.archives import KnownArchives
    from provisioner.artifacts.cache import Cache
    from provisioner.engine.versions import survey

    file = find_inventory(argument, Path.cwd(), os.environ)
    inventory = load_inventory(file)
    found = survey(inventory, KnownArchives(Cache()))
    if as_json:
        document = {"cluster": inventory.cluster, "inventory": shown(file), **asdict(found)}
        from provisioner.report.text import plain_json

        print(plain_json(document, indent=2))  # noqa: T201
    else:
        _print(inventory.cluster, found)
    return 0 if found.choices else 1


def _print(cluster: str, found: Versions) -> None:
    from provisioner.report.lines import Line
    from provisioner.report.table import write_lines, write_table

    hosts = sum(len(kind.hosts) for kind in found.kinds)
    title = f"Versions that go with every host of {cluster} ({hosts} {'host' if hosts == 1 else 'hosts'})"
    write_lines(sys.stdout, [Line(title, "title"), Line("")])
    if found.choices:
        write_table(sys.stdout, *_table(found), marked=NOW)
        write_lines(sys.stdout, [Line("")])
    write_lines(sys.stdout, [*_now(found), Line(""), *_limits(found)])


def _table(found: Versions) -> tuple[list[str], list[list[str]]]:
    """Return the table's head and rows: releases downwards, minor versions of Python across."""
    minors = sorted({_minor(python) for choice in found.choices for python in choice.pythons}, reverse=True)
    head = ["RAY", *(f"PYTHON 3.{minor}" for minor in minors)]
    rows = []
    for choice in found.choices:
        cells = {_minor(python): python for python in choice.pythons}
        now = choice.ray == found.ray
        if now and not found.problems:
            cells[_minor(found.python)] = found.python + NOW
        rows.append([choice.ray + (NOW if now else ""), *(cells.get(minor, "-") for minor in minors)])
    return head, rows


def _minor(python: str) -> int:
    return int(python.split(".")[1])


def _now(found: Versions) -> list[Line]:
    from provisioner.report.lines import Line

    now = f"Ray {found.ray} with Python {found.python}"
    if not found.problems:
        return [Line(f"* now: {now} goes with every host", "good")]
    return [Line(f"* now: {now} does not go:", "bad"), *(Line(f"  {problem}") for problem in found.problems)]


def _limits(found: Versions) -> list[Line]:
    from provisioner.report.lines import Line
    from provisioner.report.text import several

    told = [Line("What limits the choice", "title")]
    told += [Line(f"  {kind.system} ({several(kind.hosts)}): {'; '.join(kind.limits)}") for kind in found.kinds]
    told += [Line(f"  {limit}") for limit in found.together]
    unsure = [kind for kind in found.kinds if kind.assumed]
    told += [Line(f"Assumed to be {kind.system} until asked: {several(kind.assumed)}", "note") for kind in unsure]
    return [*told, *([Line("  -> `os:` and `arch:` in the inventory say what a host is")] if unsure else [])]
