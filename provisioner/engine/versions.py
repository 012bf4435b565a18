"""The newest versions of Ray and Python that go with all hosts of an inventory. Contacts nobody."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.engine.fleet import declared_fleet, guessed, reasons
from provisioner.inventory.model import Host, Inventory
from provisioner.inventory.systems import OS_NAMES
from provisioner.ray.advice import in_the_way, newest_patch
from provisioner.ray.fleet import Archives, Fleet, common, problems
from provisioner.ray.releases import MINOR_MATCH_SINCE, MIXED_OS_SINCE, RELEASES, Span
from provisioner.ray.support import choices, limits
from provisioner.ray.system import System
from provisioner.ray.version import Version, written

MOST = 10
"""So many releases are shown, the newest of each minor version."""


@dataclass(frozen=True)
class Choice:
    """A release of Ray and the versions of Python that go with it, newest first; ``3.12`` where any patch does."""

    ray: str
    pythons: tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """Hosts that are the same to Ray: what they are, and what limits the choice there."""

    system: str
    hosts: tuple[str, ...]
    limits: tuple[str, ...]
    assumed: tuple[str, ...]
    """Those of which the inventory does not say it."""


@dataclass(frozen=True)
class Versions:
    """What `provision versions` tells: plain data. ``problems`` is empty if what the inventory has now goes."""

    ray: str
    python: str
    problems: tuple[str, ...]
    choices: tuple[Choice, ...]
    kinds: tuple[Kind, ...]
    together: tuple[str, ...]
    """What limits the choice for all hosts together."""


def survey(inventory: Inventory, archives: Archives) -> Versions:
    """Find the versions that go with all hosts, as declared.

    Raises:
        ProvisionError: uv can't be asked for its catalogue.
    """
    fleet = declared_fleet(inventory)
    fitting = choices(fleet.systems, fleet.minor_match)
    shown = _shown(fitting, fleet.ray)
    known = common(fleet.hosts, archives)
    since = min(shown, default=RELEASES[0])
    return Versions(
        ray=written(fleet.ray),
        python=written(fleet.python),
        problems=tuple(reasons(inventory, fleet, problems(fleet, archives))),
        choices=tuple(Choice(written(ray), _pythons(fitting[ray], known)) for ray in shown),
        kinds=_kinds(inventory, since),
        together=_together(fleet, since),
    )


def _shown(fitting: dict[Version, Span], now: Version) -> list[Version]:
    """Return the newest patch of each of the newest minor versions, and the inventory's own release."""
    series: dict[tuple[int, int], Version] = {}
    for ray in fitting:
        series.setdefault(ray[:2], ray)
    newest = list(series.values())[:MOST]
    return sorted({*newest, now} & set(fitting), reverse=True)


def _pythons(minors: Span, known: frozenset[Version] | None) -> tuple[str, ...]:
    each = range(minors[1], minors[0] - 1, -1)
    if known is None:
        return tuple(f"3.{minor}" for minor in each)
    return tuple(written(python) for minor in each if (python := newest_patch(minor, known)))


def _kinds(inventory: Inventory, since: Version) -> tuple[Kind, ...]:
    hosts: dict[System, list[Host]] = {}
    for host in inventory.hosts:
        hosts.setdefault(System.of_host(host), []).append(host)
    return tuple(_kind(system, alike, since) for system, alike in hosts.items())


def _kind(system: System, hosts: list[Host], since: Version) -> Kind:
    names = tuple(host.name for host in hosts)
    unsure = tuple(host.name for host in hosts if guessed(host))
    return Kind(str(system), names, tuple(limits(system, since)), unsure)


def _together(fleet: Fleet, since: Version) -> tuple[str, ...]:
    found = []
    oses = sorted({OS_NAMES.get(system.os, system.os) for system in fleet.systems}, key=str.lower)
    if len(oses) > 1:
        found.append(f"{' and '.join(oses)} in one cluster: Ray {written(MIXED_OS_SINCE)} or newer")
    if fleet.minor_match and since < MINOR_MATCH_SINCE:
        found.append(f"`match: minor`: Ray {written(MINOR_MATCH_SINCE)} or newer")
    if blocking := in_the_way(fleet):
        kinds = " or ".join(map(str, blocking))
        found.append(f"no release goes with all of them; without {kinds} there would be some")
    return tuple(found)
