"""``provision lock``: one lock for everything that the hosts of an inventory need, and what is new in it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from provisioner.artifacts.addresses import without_secrets
from provisioner.artifacts.compile import Request
from provisioner.artifacts.fetch import Progress, fetch
from provisioner.artifacts.interpreter import Archive
from provisioner.artifacts.lock import Lock, Wheel
from provisioner.artifacts.lockset import Locked, LockSet, Need, needs
from provisioner.artifacts.provide import provide, provide_interpreter
from provisioner.artifacts.resolve import fingerprint, kept_lock, make_lock
from provisioner.artifacts.store import Artifacts
from provisioner.errors import ProvisionError
from provisioner.inventory.model import Host, Inventory
from provisioner.inventory.whereabouts import place_of
from provisioner.ray.start import environment_id

Tell = Callable[[str], None]
"""Hears, in a few words, what takes time."""


def lock_cluster(
    inventory: Inventory,
    artifacts: Artifacts,
    former: LockSet | None,
    *,
    upgrade: bool = False,
    tell: Tell = lambda text: None,
    progress: Progress | None = None,
) -> LockSet:
    """Lock everything that the hosts of an inventory need, as far as it is known without asking them.

    Hosts with other platforms or more packages get the same versions of the packages they share, as far as these exist
    for them.

    Args:
        inventory: the cluster.
        artifacts: the cache, and where packages come from.
        former: the lock until now; its versions are kept as far as they satisfy what is asked for.
        upgrade: forget about it, and take the newest versions.
        tell: told what is locked now.
        progress: told about downloads: interpreters, and wheels of which the package index gives no size.

    Raises:
        ProvisionError: there is no such set of packages or no such interpreter, or they cannot be fetched.
    """
    known = LockSet() if upgrade or former is None else former
    made: list[Locked] = []
    for need, hosts in needs(inventory).items():
        tell(f"{need.what}: looking for packages")
        about = ""
        try:
            installed = None if upgrade else kept_lock(fingerprint(_request(need, artifacts)), artifacts.cache)
            lock = _lock(need, artifacts, known, made, installed, upgrade, progress)
            about = "python"
            archive = _interpreter(need, hosts, artifacts, known, tell, progress)
        except ProvisionError as error:
            error.place = error.place or place_of(getattr(error, "about", about), hosts[0], inventory)
            raise
        name = _environment(need, environment_id(hosts[0], inventory), lock, known, installed)
        made.append(Locked(need.requirements, lock, name, archive))
    return LockSet(tuple(made), artifacts.sources.constraints())


def _request(need: Need, artifacts: Artifacts) -> Request:
    return Request(need.platform, need.python, need.requirements, artifacts.sources)


def _lock(
    need: Need,
    artifacts: Artifacts,
    known: LockSet,
    made: list[Locked],
    installed: Lock | None,
    upgrade: bool,
    progress: Progress | None,
) -> Lock:
    """Lock for one need, preferring its former versions, else those that were installed, else those of other needs."""
    preferences = _versions(made) | (_pins(installed) if installed else {}) | _known_versions(need, known)
    request = replace(_request(need, artifacts), preferences=preferences, fresh=upgrade)
    return _with_sizes(make_lock(request, artifacts.cache), artifacts, progress)


def _environment(need: Need, plain: str, lock: Lock, known: LockSet, installed: Lock | None) -> str:
    """Return the name of the environment on hosts: another one for other packages.

    What a run without a lock file installed keeps its name, so that to lock it later restarts nothing.
    """
    before = known.find(need.platform_key, need.python, need.requirements)
    if before and before.lock.digest == lock.digest:
        return before.environment
    if before is None and installed and installed.digest == lock.digest:
        return plain
    return hashlib.sha256(f"{plain} {lock.digest}".encode()).hexdigest()[:12]


def _known_versions(need: Need, known: LockSet) -> dict[str, str]:
    """Return the versions of the former lock, those of the same hosts over those of others."""

    def nearness(each: Locked) -> tuple[bool, bool, int]:
        same = each.lock.platform_key == need.platform_key
        return same, each.lock.python == need.python, -len(set(each.requirements) ^ set(need.requirements))

    return _versions(sorted(known.environments, key=nearness))


def _versions(environments: list[Locked]) -> dict[str, str]:
    """Return versions by name; the last environment counts."""
    return {name: version for each in environments for name, version in _pins(each.lock).items()}


def _pins(lock: Lock) -> dict[str, str]:
    return {wheel.name: wheel.version for wheel in lock.wheels}


def _with_sizes(lock: Lock, artifacts: Artifacts, progress: Progress | None) -> Lock:
    """Fetch what has no known size, and return the lock with all sizes and with addresses that may be written down."""
    unknown = [wheel for wheel in (*lock.wheels, lock.uv) if not wheel.size]
    paths = fetch(unknown, artifacts.cache, progress, login=artifacts.sources.login)

    def completed(wheel: Wheel) -> Wheel:
        size = wheel.size or paths[wheel.sha256].stat().st_size
        return replace(wheel, size=size, url=without_secrets(wheel.url))

    return Lock.of(lock.platform_key, lock.python, map(completed, lock.wheels), completed(lock.uv))


def _interpreter(
    need: Need, hosts: list[Host], artifacts: Artifacts, known: LockSet, tell: Tell, progress: Progress | None
) -> Archive | None:
    """Return the archive that is brought to these hosts; the former one, if there is one."""
    managed = [host for host in hosts if host.interpreter.source == "managed"]
    if not managed:
        return None
    if archive := known.interpreter(need.platform.os, need.platform.arch, need.python):
        return archive
    tell(f"{need.what}: fetching the interpreter")
    facts = {"os": need.platform.os, "arch": need.platform.arch, "libc": need.platform.libc,
             "libc_version": need.platform.libc_version}  # fmt: skip
    archive = artifacts.interpreter(facts, need.python, managed[0].interpreter.mirror, progress)
    return replace(archive, url=without_secrets(archive.url))


@dataclass(frozen=True)
class Change:
    """What is new for the hosts with one need. Versions by package name."""

    need: Need
    hosts: tuple[str, ...]
    packages: int
    new: bool
    """Nothing was locked for them before."""
    added: Mapping[str, str] = field(default_factory=dict)
    changed: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Before and after; the same version where only the file differs."""
    removed: Mapping[str, str] = field(default_factory=dict)


def changes(inventory: Inventory, former: LockSet | None, now: LockSet) -> list[Change]:
    """Return what differs between two locks of an inventory, need by need."""
    found = []
    for need, hosts in needs(inventory).items():
        locked = now.find(need.platform_key, need.python, need.requirements)
        assert locked is not None, "made for this very inventory"
        names, count = tuple(host.name for host in hosts), len(locked.lock.wheels)
        before = _before(need, former or LockSet())
        if before is None:
            found.append(Change(need, names, count, new=True))
            continue
        old, new = ({wheel.name: wheel for wheel in lock.wheels} for lock in (before, locked.lock))
        found.append(
            Change(
                need, names, count, new=False,
                added={name: new[name].version for name in sorted(new.keys() - old.keys())},
                removed={name: old[name].version for name in sorted(old.keys() - new.keys())},
                changed={name: (old[name].version, new[name].version) for name in sorted(old.keys() & new.keys())
                         if old[name].sha256 != new[name].sha256},
            )
        )  # fmt: skip
    return found


def _before(need: Need, former: LockSet) -> Lock | None:
    """Return what such hosts had: what was locked for the most similar requirements on their platform."""
    names = _names(need.requirements)
    near = [each for each in former.environments if each.lock.platform_key == need.platform_key]
    exact = former.find(need.platform_key, need.python, need.requirements)
    closest = exact or min(near, key=lambda each: len(_names(each.requirements) ^ names), default=None)
    return closest.lock if closest else None


def _names(requirements: tuple[str, ...]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower() for requirement in requirements}


def provide_all(
    inventory: Inventory, artifacts: Artifacts, locks: LockSet, progress: Progress | None = None
) -> LockSet:
    """Have all files that an inventory needs in the cache; return their locks, with all sizes, and no others.

    Raises:
        ProvisionError: a file cannot be had.
    """
    provided = []
    for need, hosts in needs(inventory).items():
        locked = locks.find(need.platform_key, need.python, need.requirements)
        assert locked is not None, "checked before"
        if locked.interpreter:
            mirror = next((host.interpreter.mirror for host in hosts), None)
            provide_interpreter(locked.interpreter, need.platform, mirror, artifacts.cache, progress)
        lock = provide(locked.lock, artifacts.cache, artifacts.sources, progress)
        provided.append(replace(locked, lock=lock))
    return replace(locks, environments=tuple(provided))
