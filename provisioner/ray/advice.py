"""Which versions would go with all hosts of a cluster, if those that were chosen don't. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from provisioner.ray.fleet import Archives, Fleet, common, near, problems
from provisioner.ray.support import choices, unsupported
from provisioner.ray.system import System
from provisioner.ray.version import Version, written


class Offer(NamedTuple):
    """Versions that go with every host. ``patch`` False: any patch version of that Python."""

    ray: Version
    python: Version
    patch: bool = True

    def __str__(self) -> str:
        python = written(self.python) if self.patch else f"{self.python[0]}.{self.python[1]}"
        return f"Ray {written(self.ray)} with Python {python}"


def newest_patch(minor: int, known: frozenset[Version] | None) -> Version | None:
    """Return the newest version of Python 3.minor that is known, None if none is; ``known`` None: its first one."""
    if known is None:
        return (3, minor, 0)
    return max((version for version in known if version[:2] == (3, minor)), default=None)


def offers(fleet: Fleet, archives: Archives) -> list[Offer]:
    """Return versions that go with every host: near to what was wanted first, the newest last."""
    fitting = choices(fleet.systems, fleet.minor_match)
    known = common(fleet.hosts, archives)
    kept = _kept(fleet.python, known)
    wanted: list[tuple[Version | None, Version | None]] = [(fleet.ray, kept), (_newest(fitting, kept), kept)]
    wanted += [(ray, _newest_python(ray, fitting, known)) for ray in (fleet.ray, *list(fitting)[:1])]
    found: dict[Offer, None] = {}
    for ray, python in wanted:
        if ray is None or python is None or (ray, python) == (fleet.ray, fleet.python):
            continue
        if not problems(fleet.having(ray, python), archives):
            found[Offer(ray, python, known is not None or python == fleet.python)] = None
    return list(found)


def _kept(python: Version, known: frozenset[Version] | None) -> Version | None:
    """Return the wanted version of Python, or the nearest there is; rather a newer patch than an older one."""
    if known is None or python in known:
        return python
    return max((version for version in near(python, known) if version[:2] == python[:2]), default=None)


def _newest(fitting: Mapping[Version, tuple[int, int]], python: Version | None) -> Version | None:
    """Return the newest release for a Python."""
    if python is None or python[0] != 3:
        return None
    return next((ray for ray, (oldest, newest) in fitting.items() if oldest <= python[1] <= newest), None)


def _newest_python(
    ray: Version, fitting: Mapping[Version, tuple[int, int]], known: frozenset[Version] | None
) -> Version | None:
    """Return the newest Python for a release."""
    oldest, newest = fitting.get(ray, (0, -1))
    patches = (newest_patch(minor, known) for minor in range(newest, oldest - 1, -1))
    return next((python for python in patches if python), None)


def in_the_way(fleet: Fleet) -> list[System]:
    """Return the systems without any one of which there would be versions for all the others."""
    if choices(fleet.systems, fleet.minor_match):
        return []
    unusable = [system for system in fleet.systems if unsupported(system)]
    alone = [s for s in fleet.systems if choices(fleet.systems - {s}, fleet.minor_match) and len(fleet.systems) > 1]
    return sorted(unusable or alone, key=str)
