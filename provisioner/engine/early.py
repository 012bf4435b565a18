"""The check of all hosts before a run, done once for the same versions and hosts: a run without changes is quick."""

from __future__ import annotations

import os

from provisioner.artifacts.archives import ELSEWHERE, KnownArchives
from provisioner.artifacts.cache import Cache
from provisioner.inventory import stamps
from provisioner.inventory.model import Inventory
from provisioner.ray import auth


def check_early(inventory: Inventory, cache: Cache, fixed: bool = False) -> None:
    """Refuse versions that do not go with every host, as declared; see ``engine.fleet``.

    What was found good is remembered: releases do not lose wheels. So the modules that know are not even loaded.

    Raises:
        InputError: the versions do not go together, or a mirror that is a folder here lacks an interpreter.
        ProvisionError: uv had to be asked for its catalogue and can't be used.
    """
    auth.check(inventory)
    stamp = stamps.stamp_of(_matters(inventory), b"fixed fleet" if fixed else b"fleet")
    if stamps.remembered(stamp):
        return
    from provisioner.engine.fleet import check_fleet, check_mirrors

    check_fleet(inventory, KnownArchives(cache), fixed)
    if not fixed:
        check_mirrors(inventory, cache)
    stamps.remember(stamp)


def _matters(inventory: Inventory) -> str:
    """Return all that the check depends on, but for the table and uv's catalogue."""
    hosts = {(h.os, h.arch, h.glibc, h.python, *vars(h.interpreter).values()) for h in inventory.hosts}
    settings = [os.environ.get(name, "") for name in ELSEWHERE]
    return repr([inventory.ray_version, sorted(map(repr, hosts)), settings])
