"""What ``lock`` and ``bundle`` do between the command line and the packages."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from provisioner.artifacts import Cache
from provisioner.artifacts.bundle import check_target, files_of, write_bundle
from provisioner.artifacts.locking import Change, changes, lock_cluster, provide_all
from provisioner.artifacts.store import Artifacts
from provisioner.cli.fixed import check_fit, is_fixed, read_locks
from provisioner.cli.next_steps import shown
from provisioner.errors import InputError
from provisioner.inventory.load import find_inventory, load_inventory
from provisioner.inventory.lockfile import lock_file_of, write_lock_file
from provisioner.inventory.model import Inventory

SHOWN_PACKAGES = 40
"""Lines about packages of one kind of host at most."""


def lock(inventory_name: str | None, upgrade: bool, as_json: bool) -> None:
    """Write the lock file of an inventory, and say what is new in it."""
    inventory = _load(inventory_name)
    artifacts = Artifacts(options=inventory.artifacts)
    file = lock_file_of(inventory.file)
    former = None if upgrade and not _readable(inventory) else read_locks(inventory)
    with Progress() as progress:
        made = lock_cluster(
            inventory, artifacts, former, upgrade=upgrade, tell=progress.tell, progress=progress.fetched
        )
    comment = (
        f"The packages of the cluster {inventory.cluster}, exactly as every run installs them.\n"
        f"Written by `provision lock {inventory.file.name}`; keep it beside that file."
    )
    written = write_lock_file(file, made.to_data(), comment)
    news = changes(inventory, former, made)
    if as_json:
        about = {"cluster": inventory.cluster, "inventory": shown(inventory.file), "lock_file": shown(file)}
        from provisioner.report.text import plain_json

        click.echo(plain_json({**about, "written": written, "environments": [_news(each) for each in news]}, indent=2))
        return
    for change in news:
        _say(change)
    click.echo(f"{shown(file)} {'written' if written else 'is as it was'}")


def bundle(inventory_name: str | None, output: str | None) -> None:
    """Write a bundle of everything that the hosts of an inventory need."""
    inventory = _load(inventory_name, locked=True)
    locks = read_locks(inventory)
    artifacts = Artifacts(options=inventory.artifacts, locks=locks)
    target = Path(output or f"{inventory.cluster}.bundle")
    check_target(target)
    with Progress() as progress:
        if locks is None:
            locks = lock_cluster(inventory, artifacts, None, tell=progress.tell, progress=progress.fetched)
        else:
            check_fit(locks, inventory, artifacts)
        locks = provide_all(inventory, artifacts, locks, progress.fetched)
        size = write_bundle(target, inventory.cluster, locks, artifacts.path, progress.written)
    kinds = len({each.lock.platform_key for each in locks.environments})
    what = f"{len(files_of(locks))} files for {kinds} platform{'s' if kinds > 1 else ''}"
    click.echo(f"{shown(target)} written: {size / 10**6:.1f} MB, {what}")
    name = shown(inventory.file)
    click.echo(f"  provision apply {name} --bundle {target.name}   needs no network but SSH")


def _load(name: str | None, locked: bool = False) -> Inventory:
    """Return the inventory, checked; ``locked``: its lock file holds, if there is one."""
    from provisioner.artifacts.archives import KnownArchives
    from provisioner.engine.fleet import check_fleet, check_mirrors

    inventory = load_inventory(find_inventory(name, Path.cwd(), os.environ))
    fixed, cache = locked and is_fixed(inventory), Cache()
    check_fleet(inventory, KnownArchives(cache), fixed)
    if not fixed:
        check_mirrors(inventory, cache)
    return inventory


def _readable(inventory: Inventory) -> bool:
    """Tell whether the former lock file can be compared with; with --upgrade a spoilt one is simply replaced."""
    try:
        read_locks(inventory)
    except InputError:
        return False
    return True


def _news(change: Change) -> dict[str, Any]:
    return {
        "platform": change.need.platform_key,
        "python": change.need.python,
        "hosts": list(change.hosts),
        "packages": change.packages,
        "new": change.new,
        "added": dict(change.added),
        "changed": {name: list(versions) for name, versions in change.changed.items()},
        "removed": dict(change.removed),
    }


def _say(change: Change) -> None:
    hosts = ", ".join(change.hosts[:4]) + (f" and {len(change.hosts) - 4} more" if len(change.hosts) > 4 else "")
    counts = {"added": len(change.added), "changed": len(change.changed), "removed": len(change.removed)}
    news = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    state = "new" if change.new else news or "as before"
    click.echo(f"{change.need.what} ({hosts}): {change.packages} packages, {state}")
    lines = [f"  + {name} {version}" for name, version in change.added.items()]
    lines += [f"  ~ {name} {_step(*versions)}" for name, versions in change.changed.items()]
    lines += [f"  - {name} {version}" for name, version in change.removed.items()]
    for line in lines[:SHOWN_PACKAGES]:
        click.echo(line)
    if len(lines) > SHOWN_PACKAGES:
        click.echo(f"  and {len(lines) - SHOWN_PACKAGES} more")


def _step(before: str, after: str) -> str:
    return f"{before} -> {after}" if before != after else f"{after} (another file)"


class Progress:
    """Says on stderr what takes time: one line that is overwritten on a terminal, else only what begins."""

    def __init__(self) -> None:
        self._shown = 0
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: Any) -> None:
        self._line("")

    def tell(self, text: str) -> None:
        if self._terminal:
            self._line(text)
        else:
            click.echo(text, err=True)

    @property
    def fetched(self) -> Callable[[int, int], None]:
        return lambda done, total: self._count("fetching", done, total)

    @property
    def written(self) -> Callable[[int, int], None]:
        return lambda done, total: self._count("writing", done, total)

    def _count(self, what: str, done: int, total: int) -> None:
        if self._terminal:
            self._line(f"{what} {done // 10**6} of {total // 10**6} MB")

    def _line(self, text: str) -> None:
        if self._terminal:
            sys.stderr.write("\r" + text.ljust(self._shown) + ("" if text else "\r"))
            sys.stderr.flush()
            self._shown = len(text)
