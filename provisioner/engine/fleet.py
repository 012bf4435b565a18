"""Whether a cluster's versions go with its hosts, as the inventory declares them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from provisioner.artifacts.archives import has_say
from provisioner.artifacts.cache import Cache
from provisioner.artifacts.catalogue import local_path
from provisioner.errors import InputError, Place
from provisioner.inventory.document import load_document
from provisioner.inventory.model import Host, Inventory
from provisioner.inventory.problems import listing
from provisioner.ray.fleet import Archives, Fleet, Problem, fleet_of, problems
from provisioner.ray.releases import WHEELS
from provisioner.ray.support import obstacle, unsupported
from provisioner.ray.system import System
from provisioner.ray.version import written


def declared_fleet(inventory: Inventory, fixed: bool = False) -> Fleet:
    """Return what the inventory says of its hosts, and whose Python uv's own catalogue has a say in.

    Args:
        inventory: the cluster.
        fixed: interpreters are not looked for: a lock or a bundle names them.
    """
    judged = {mirror: has_say(mirror) for mirror in {host.interpreter.mirror for host in inventory.hosts}}
    managed = (host for host in inventory.hosts if host.interpreter.source == "managed" and not fixed)
    return fleet_of(inventory, (host.name for host in managed if judged[host.interpreter.mirror]))


def check_fleet(inventory: Inventory, archives: Archives, fixed: bool = False) -> None:
    """Check the versions of Ray and Python against all hosts, as declared. Contacts nobody.

    Args:
        inventory: the cluster.
        archives: the interpreters that can be brought.
        fixed: those that are needed are in a lock or a bundle.

    Raises:
        InputError: they do not go together; names the hosts, the reasons, and versions that would.
        ProvisionError: uv had to be asked for its catalogue and can't be used.
    """
    fleet = declared_fleet(inventory, fixed)
    found = problems(fleet, archives)
    if found:
        raise _refusal(inventory, fleet, found, archives)


def check_mirrors(inventory: Inventory, cache: Cache) -> None:
    """Check that mirrors which are folders of this machine have the interpreters that hosts are to get.

    Raises:
        InputError: one lacks an interpreter that was not fetched before, or can't be read.
        ProvisionError: uv had to be asked and can't be used.
    """
    from provisioner.artifacts.mirrors import lack
    from provisioner.artifacts.platform import Platform

    looked_at = set()
    for host in inventory.hosts:
        platform = Platform.of_host(host)
        wanted = (platform.os, platform.arch, host.python, host.interpreter.mirror)
        if host.interpreter.source != "managed" or wanted in looked_at:
            continue
        looked_at.add(wanted)
        if problem := lack(platform, host.python, host.interpreter.mirror, cache):
            place = None
            with suppress(InputError):
                place = load_document(inventory.file).place("python")
            other = f"; or write what {host.name} is, if it is no {platform.os}: `os:` and `arch:`"
            raise InputError(problem.message, remedy=problem.remedy.rstrip(".") + other, place=place)


def reasons(inventory: Inventory, fleet: Fleet, found: Iterable[Problem]) -> list[str]:
    """Return each problem as a sentence that begins with the hosts it concerns, if not all."""
    return [_sentence(problem, fleet, inventory) for problem in found]


def _refusal(inventory: Inventory, fleet: Fleet, found: list[Problem], archives: Archives) -> InputError:
    told = reasons(inventory, fleet, found)
    if len(told) > 1:
        versions = f"Ray {written(fleet.ray)} and Python {written(fleet.python)} do not go with these hosts:"
        told = [versions, *(f"  {reason}" for reason in told)]
    place, remedy = _place(inventory, fleet, found), _remedy(inventory, fleet, found, archives)
    return InputError("\n".join(told), place=place, remedy=remedy)


def _sentence(problem: Problem, fleet: Fleet, inventory: Inventory) -> str:
    if not problem.sites:
        return problem.reason
    names = fleet.named(problem.sites)
    systems = ", ".join(sorted({str(site.system) for site in problem.sites}))
    assumed = ", assumed" if any(guessed(inventory.host(name)) for name in names) else ""
    return f"{listing(names, 3)} ({systems}{assumed}): {problem.reason}"


def guessed(host: Host) -> bool:
    """Tell whether we don't know what a host is until it is asked."""
    return host.os is None or (host.arch is None and host.os != "windows")


def _remedy(inventory: Inventory, fleet: Fleet, found: list[Problem], archives: Archives) -> str:
    from provisioner.ray.advice import offers

    good = [str(offer) for offer in offers(fleet, archives)]
    listed = f"{', '.join(good[:-1])} or {good[-1]}" if len(good) > 1 else "".join(good)
    advice = [f"with every host would go: {listed}" if listed else _nothing_fits(fleet)]
    if {problem.about for problem in found} == {"python"}:
        advice.append(f"or write `python: {{version: {written(fleet.python)}, source: system}}` if the hosts have it")
        advice += [f"or look at `mirror:`, there is no folder {folder}" for folder in _missing_mirrors(inventory)]
    if _might_be_fine(inventory, fleet, found):
        advice.append("or say what the hosts are, if they are something else: `os:` and `arch:`")
    return "; ".join(advice)


def _missing_mirrors(inventory: Inventory) -> list[Path]:
    """Return the mirrors that are meant to be folders of this machine and are none: a folder may have its own list."""
    folders = {local_path(host.interpreter.mirror) for host in inventory.hosts}
    return sorted(folder for folder in folders if folder and not folder.is_dir())


def _might_be_fine(inventory: Inventory, fleet: Fleet, found: list[Problem]) -> bool:
    """Tell whether there would be no problem if hosts of which we only guess it were something else."""
    sites = [site for problem in found if problem.about != "python" for site in problem.sites]
    return any(
        guessed(host) and any(not obstacle(other, site.python, fleet.ray) for other in _possible(host))
        for site in sites
        for host in map(inventory.host, fleet.hosts[site])
    )


def _possible(host: Host) -> list[System]:
    """Return what a host may be, as far as the inventory says."""
    kinds = [System(os, arch) for os, arch in WHEELS]
    return [kind for kind in kinds if kind.os == (host.os or kind.os) and kind.arch == (host.arch or kind.arch)]


def _nothing_fits(fleet: Fleet) -> str:
    from provisioner.ray.advice import in_the_way

    nothing = "no release of Ray goes with all of these hosts"
    blocking = in_the_way(fleet)
    if not blocking:
        return f"{nothing}: make clusters of fewer kinds"
    kinds = [f"{listing(fleet.named(s for s in fleet.hosts if s.system == kind), 3)} ({kind})" for kind in blocking]
    way = " and " if any(unsupported(kind) for kind in blocking) else " or "
    return f"{nothing}: take {way.join(kinds)} out of the inventory"


def _place(inventory: Inventory, fleet: Fleet, found: list[Problem]) -> Place | None:
    """Return where the inventory says what should be changed."""
    abouts = {problem.about for problem in found}
    if abouts == {"hosts"}:
        return inventory.host(fleet.named(found[0].sites)[0]).place
    with suppress(InputError):
        document = load_document(inventory.file)
        return document.place("ray", "version") if "ray" in abouts else document.place("python")
    return None
