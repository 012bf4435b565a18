"""Which packages a run gives to hosts: those of a bundle, of the lock file beside the inventory, or what it finds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.artifacts.store import Artifacts
from provisioner.cli.next_steps import shown
from provisioner.errors import InputError
from provisioner.inventory.lockfile import lock_file_of, read_lock_file
from provisioner.inventory.model import FixedPackages, Inventory

ELSEWHERE = " on a machine with internet, and bring the file here"

if TYPE_CHECKING:
    from provisioner.artifacts.lockset import LockSet


def is_fixed(inventory: Inventory, bundle: str | None = None) -> bool:
    """Tell whether packages and interpreters come out of a bundle or a lock file."""
    return bool(bundle) or lock_file_of(inventory.file).exists()


def prepare(inventory: Inventory, bundle: str | None) -> tuple[Inventory, Artifacts]:
    """Return the inventory with its packages fixed, if they are, and what provides them.

    Raises:
        InputError: the lock file or the bundle is damaged or does not fit; no host was contacted.
    """
    kept = read_locks(inventory)
    if bundle:
        return _with_bundle(inventory, bundle, kept)
    artifacts = Artifacts(options=inventory.artifacts, locks=kept)
    if kept is None:
        return inventory, artifacts
    check_fit(kept, inventory, artifacts)
    return _fixed(inventory, kept), artifacts


def _with_bundle(inventory: Inventory, name: str, kept: LockSet | None) -> tuple[Inventory, Artifacts]:
    from provisioner.artifacts.bundle import Bundle

    bundle = Bundle(Path(name), _renewal(inventory, f"provision bundle {{}} -o {name}") + ELSEWHERE)
    artifacts = Artifacts(options=inventory.artifacts, locks=bundle.locks, bundle=bundle)
    check_fit(bundle.locks, inventory, artifacts)
    fixed = _fixed(inventory, bundle.locks)
    if kept is not None:
        check_fit(kept, inventory, artifacts)
        if _fixed(inventory, kept) != fixed:
            message = f"{bundle.locks.name} holds other packages than {kept.name}"
            raise InputError(message, remedy=bundle.locks.renewal)
    bundle.verify(artifacts.cache)
    return fixed, artifacts


def check_fit(locks: LockSet, inventory: Inventory, artifacts: Artifacts) -> None:
    """Refuse locks that are not what an inventory needs.

    Raises:
        InputError: they do not fit; the sentence says why and what renews them.
    """
    if misfit := locks.misfit(inventory, artifacts.sources.constraints()):
        raise InputError(f"{locks.name} does not fit {inventory.file.name}: {misfit}", remedy=locks.renewal)


def read_locks(inventory: Inventory) -> LockSet | None:
    """Return what the lock file beside an inventory holds, None if there is none.

    Raises:
        InputError: it is damaged.
    """
    file = lock_file_of(inventory.file)
    if not file.exists():
        return None
    from provisioner.artifacts.lockset import BadLock, LockSet

    try:
        document = read_lock_file(file)
        try:
            return LockSet.from_data(document.value, file.name, _renewal(inventory, "provision lock {}"))
        except BadLock as error:
            raise InputError(str(error), place=document.place(*error.path)) from None
    except InputError as error:
        # `provision lock` keeps the versions of the file that is there, so it can't read a spoilt one either
        again = f"take back the file as it was, or {_renewal(inventory, 'provision lock {} --upgrade')}"
        error.remedy = f"{error.remedy}; or {again}" if error.remedy else again
        raise


def _renewal(inventory: Inventory, command: str) -> str:
    return f"run `{command.format(shown(inventory.file))}`"


def _fixed(inventory: Inventory, locks: LockSet) -> Inventory:
    """Return the inventory with every host's packages named by the digest of their lock."""
    from provisioner.artifacts.lockset import need_of

    hosts = []
    for host in inventory.hosts:
        need = need_of(host, inventory)
        found = locks.find(need.platform_key, need.python, need.requirements)
        fixed = FixedPackages(found.environment, found.lock.digest) if found else None
        hosts.append(replace(host, fixed=fixed))
    return replace(inventory, hosts=tuple(hosts))
