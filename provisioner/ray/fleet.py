"""Whether a cluster's hosts, their Python and its Ray go together. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Protocol

from provisioner.inventory.model import Inventory
from provisioner.ray.releases import RELEASES, may_exist, neighbours
from provisioner.ray.support import fleet_obstacles, obstacle, unsupported
from provisioner.ray.system import System
from provisioner.ray.version import Version, parse, written


class Archives(Protocol):
    """The interpreters that can be brought to hosts (provisioner.artifacts.archives)."""

    def has(self, os: str, arch: str, python: Version) -> bool:
        """Tell whether there is an archive of that version."""

    def versions(self, os: str, arch: str) -> frozenset[Version]:
        """Return every version there is an archive of."""


class Site(NamedTuple):
    """What hosts have in common, as far as versions go.

    Args:
        system: what they are.
        python: the version of Python that they are to have.
        brought: it comes out of the archives.
    """

    system: System
    python: Version
    brought: bool = True


@dataclass(frozen=True)
class Fleet:
    """All hosts of a cluster, by what they have in common. There is at least one; all have one minor Python."""

    ray: Version
    hosts: Mapping[Site, tuple[str, ...]]
    minor_match: bool = False

    @property
    def python(self) -> Version:
        """The version of Python on the first host."""
        return next(iter(self.hosts)).python

    @property
    def systems(self) -> frozenset[System]:
        return frozenset(site.system for site in self.hosts)

    def named(self, sites: Iterable[Site]) -> tuple[str, ...]:
        """Return the names of the hosts of these sites."""
        return tuple(name for site in sites for name in self.hosts[site])

    def having(self, ray: Version, python: Version) -> Fleet:
        """Return the same hosts with other versions."""
        hosts: dict[Site, tuple[str, ...]] = {}
        for site, names in self.hosts.items():
            other = site._replace(python=python)
            hosts[other] = (*hosts.get(other, ()), *names)
        return replace(self, ray=ray, hosts=hosts)


class Problem(NamedTuple):
    """Why the versions don't go with some hosts; with all of them if none is given."""

    about: Literal["ray", "python", "hosts"]
    reason: str
    sites: tuple[Site, ...] = ()


def fleet_of(inventory: Inventory, brought: Iterable[str]) -> Fleet:
    """Return an inventory's fleet.

    Args:
        inventory: the cluster.
        brought: the names of the hosts whose Python comes out of the archives.
    """
    names = frozenset(brought)
    hosts: dict[Site, list[str]] = {}
    for host in inventory.hosts:
        hosts.setdefault(Site(System.of_host(host), parse(host.python), host.name in names), []).append(host.name)
    match = inventory.head.interpreter.match == "minor"
    return Fleet(parse(inventory.ray_version), {site: tuple(found) for site, found in hosts.items()}, match)


def problems(fleet: Fleet, archives: Archives) -> list[Problem]:
    """Return why the versions don't go with the hosts; nothing if they do."""
    if reason := _nonexistent(fleet.ray):
        found = [Problem("ray", reason), *_by_reason(fleet, lambda site: unsupported(site.system))]
    else:
        oses = frozenset(system.os for system in fleet.systems)
        found = [Problem("ray", reason) for reason in fleet_obstacles(oses, fleet.minor_match, fleet.ray)]
        found += _by_reason(fleet, lambda site: obstacle(site.system, site.python, fleet.ray))
    return found + _missing(fleet, archives)


def _nonexistent(ray: Version) -> str:
    if ray < RELEASES[0]:
        return f"Ray {written(ray)} is older than {written(RELEASES[0])}, the oldest that provision knows"
    if may_exist(ray):
        return ""
    nearest = " and ".join(map(written, neighbours(ray, RELEASES)))
    return f"Ray {written(ray)} does not exist; nearest: {nearest}"


def _by_reason(fleet: Fleet, reason_for: Callable[[Site], str]) -> list[Problem]:
    """Return the problems of single sites; those with the same reason share one."""
    sites: dict[str, list[Site]] = {}
    for site in fleet.hosts:
        if reason := reason_for(site):
            sites.setdefault(reason, []).append(site)
    return [
        Problem("hosts" if unsupported(concerned[0].system) else "ray", reason, tuple(concerned))
        for reason, concerned in sites.items()
    ]


def _missing(fleet: Fleet, archives: Archives) -> list[Problem]:
    """Return the versions of Python that should be brought and of which there is no archive."""
    missing: dict[Version, list[Site]] = {}
    for site in fleet.hosts:
        os, arch = site.system.os, site.system.arch
        if site.brought and not unsupported(site.system) and not archives.has(os, arch, site.python):
            missing.setdefault(site.python, []).append(site)
    everywhere = common(fleet.hosts, archives) if missing else None
    found = []
    for python, sites in missing.items():
        known = near(python, everywhere)
        nearest = f"; nearest: {' and '.join(map(written, known))}" if known else ""
        reason = f"no archive of Python {written(python)} exists{nearest}"
        all_of_them = len(sites) == len([site for site in fleet.hosts if site.brought])
        found.append(Problem("python", reason, () if all_of_them else tuple(sites)))
    return found


def common(sites: Iterable[Site], archives: Archives) -> frozenset[Version] | None:
    """Return the versions that can be brought to all of these hosts; None if none of them is brought its Python."""
    each = {(site.system.os, site.system.arch) for site in sites if site.brought and not unsupported(site.system)}
    known = [archives.versions(os, arch) for os, arch in sorted(each)]
    return frozenset.intersection(*known) if known else None


def near(python: Version, known: frozenset[Version] | None) -> tuple[Version, ...]:
    """Return the nearest versions: of the same minor version if there are any."""
    of_minor = tuple(version for version in known or () if version[:2] == python[:2])
    return neighbours(python, of_minor or tuple(known or ()))
