"""old_environments: what no longer runs stays for a while, to go back to, and then goes.

With an environment goes what only it needed: its interpreter, if that was brought, and the files it was made from.
"""

from __future__ import annotations

import os

from provisioner.remote import service
from provisioner.remote.files import remove_tree, unlink
from provisioner.remote.resource import Resource, difference
from provisioner.remote.resources import ray_history
from provisioner.remote.resources.environment import STAMP, read_stamp
from provisioner.remote.resources.python import COMPLETE, read_note

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Set, Tuple

    from provisioner.remote.host import Host
    from provisioner.remote.resource import Difference


KEPT = {"env": "environments", "python": "interpreters", "store": "files that were sent"}
"""Folders of the root that stay when a cluster is torn down, and what is in them."""


class OldEnvironments(Resource):
    """Params: ``environment`` (the declared one's id), ``keep`` (how many others stay: those that ran last).

    ``keep`` of 1 or more always leaves the one that a rollback returns to.
    """

    kind = "old_environments"
    breaks_off = True

    def observe(self, host: Host) -> List[Difference]:
        """Tell what will be too much when everything else is as declared: what runs now may be an old one by then."""
        return [difference("remove", what, before=folder) for what, folder in self._surplus(host, set())]

    def ensure(self, host: Host) -> str:
        now = service.read_spec(host, service.service_name(host)) or {}
        surplus = self._surplus(host, {str(now.get("environment"))})
        for _, folder in surplus:
            remove(folder)
        self._clear_store(host)
        left = [folder for _, folder in surplus if os.path.exists(folder)]
        return "still in use: %s" % ", ".join(left) if left else "removed %s" % ", ".join(what for what, _ in surplus)

    def _surplus(self, host: Host, used: Set[str]) -> List[Tuple[str, str]]:
        """Return what is to go, in words and as a folder: environments before the interpreters they need."""
        declared = host.environment(self.params["environment"])
        old = [folder for folder in by_last_use(host) if folder != declared]
        kept = {declared, *used, *old[: self.params["keep"]]}
        environments = [
            ("environment %s" % os.path.basename(folder) if read_stamp(folder) else "an unfinished environment", folder)
            for folder in folders(host.path("env"))
            if folder not in kept
        ]
        pythons = {host.python, *(str((read_stamp(folder) or {}).get("python")) for folder in kept)}
        interpreters = [
            ("Python %s" % os.path.basename(folder) if read_note(folder) else "an unfinished Python", folder)
            for folder in folders(host.path("python"))
            if os.path.basename(folder) not in pythons
        ]
        return environments + interpreters

    def _clear_store(self, host: Host) -> None:
        """Remove the files of which nothing was made that stays."""
        needed: Set[str] = set()
        for folder in folders(host.path("env")):
            needed.update((read_stamp(folder) or {}).get("files", ()))
        for folder in folders(host.path("python")):
            needed.add(str((read_note(folder) or {}).get("archive")))
        for folder in folders(host.path("store")):
            if os.path.basename(folder) not in needed:
                remove(folder)


def by_last_use(host: Host) -> List[str]:
    """Return the folders of all finished environments: those that ran last first, those that never ran at the end."""
    there = [folder for folder in folders(host.path("env")) if read_stamp(folder)]
    ran = [spec["environment"] for spec in ray_history.read(host) if spec["environment"] in there]
    never = [folder for folder in there if folder not in ran]
    return ran + sorted(never, key=lambda folder: -os.stat(os.path.join(folder, STAMP)).st_mtime)


def spare(host: Host) -> str:
    """Return in words which environments may be removed for want of room, the oldest first; empty if there is none."""
    now = service.read_spec(host, service.service_name(host)) or {}
    old = [folder for folder in reversed(by_last_use(host)) if folder != now.get("environment")]
    told = ", ".join("%s (%d MiB)" % (folder, _size(folder) >> 20) for folder in old)
    return "; what no longer runs may be removed there: %s" % told if told else ""


def all_that_is_kept(host: Host) -> List[Difference]:
    """Return what a teardown leaves and a purge removes, with its size: environments, interpreters, files sent here."""
    kept = [(name, folders(host.path(name))) for name in KEPT]
    return [
        difference("remove", KEPT[name], before="%d (%d MB)" % (len(there), _size(host.path(name)) // 1000000))
        for name, there in kept
        if there
    ] + _data(host)


def _data(host: Host) -> List[Difference]:
    """Return what the cluster's own servers have kept, with its size."""
    sizes = [(whose, _size(host.path(name))) for name, whose in DATA.items()]
    return [difference("remove", "%s data" % whose, before="%.1f MB" % (size / 1e6)) for whose, size in sizes if size]


DATA = {"redis": "Redis's", "prometheus": "Prometheus'"}
"""Folders of the cluster's own servers, and whose data is in them."""


def _size(folder: str) -> int:
    """Return the bytes of all files in a folder, as far as they can be seen."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(path, name)).st_size
            except OSError:
                continue
    return total


def folders(path: str) -> List[str]:
    """Return the folders in a folder, by name; none if it does not exist."""
    try:
        return sorted(entry.path for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def remove(folder: str) -> None:
    """Remove an environment, an interpreter or a file's folder; what was begun and interrupted counts as unfinished."""
    for name in (STAMP, COMPLETE):
        if os.path.exists(os.path.join(folder, name)):
            unlink(os.path.join(folder, name))
    remove_tree(folder)
