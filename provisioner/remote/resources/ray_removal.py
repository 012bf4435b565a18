"""Ending what is left of a node, and removing the folders it was kept in."""

from __future__ import annotations

import os
import time

from provisioner.remote import folders, secrets, service
from provisioner.remote.failure import Failure
from provisioner.remote.files import remove_tree, unlink
from provisioner.remote.resources import ray_spec, ray_token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Set

    from provisioner.remote.host import Host

GRACE = 3.0
"""Seconds for processes that were told to end."""


def end_leftovers(host: Host) -> None:
    """End what is left of our own tree; a stranger's Ray does not carry our mark."""
    deadline = time.monotonic() + GRACE
    while host.own_processes() and time.monotonic() < deadline:
        time.sleep(0.1)
    left = host.own_processes()
    if left:
        host.platform.kill(left)
    if host.own_processes():
        raise Failure("Ray's processes %s can't be ended" % host.own_processes(), "reboot the host")


def retire_former(host: Host, name: str, entry: Dict[str, Any]) -> None:
    """Take the node from another service manager that has kept it until now, as its marker's entry says."""
    kind = entry.get("manager", host.service_manager.kind)
    if kind != host.service_manager.kind:
        former = host.platform.choose_manager(kind)
        former.stop(host, name)
        former.undefine(host, name)


def remove_temp_dir(host: Host, entry: Dict[str, Any]) -> None:
    """Remove the folder of Ray's sessions that a marker's entry names, if we made it; without an entry, the default.

    Raises:
        Failure: something in it can't be removed.
    """
    if not entry:
        entry = {"temp_dir": host.enclosure() or host.temp_dir(), "made_temp_dir": True}
    if entry.get("made_temp_dir") and not os.path.islink(entry["temp_dir"]):
        folders.remove(entry["temp_dir"], host.platform.holders)


def remove_folders(host: Host) -> None:
    """Remove the specification, the launcher, the logs, the state and what of it is secret; Failure if something there
    can't be removed."""
    for name in (ray_token.NAME, ray_spec.KEY):
        secrets.forget(host, name)
    own = service.service_name(host)
    if service.shared_with(host, own):
        _remove_all_but(host.path("service"), service.kept_for(host, own))
    else:
        folders.remove(host.path("service"), host.platform.holders)
    for name in ("log", "run"):
        folders.remove(host.path(name), host.platform.holders)


def _remove_all_but(folder: str, kept: Set[str]) -> None:
    for name in os.listdir(folder):
        if name not in kept:
            path = os.path.join(folder, name)
            remove_tree(path) if os.path.isdir(path) and not os.path.islink(path) else unlink(path)
