"""Whether a host is what the inventory says, and whether Ray can run on it: from its own facts."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from provisioner.errors import HostFailed
from provisioner.inventory.model import Host, Inventory
from provisioner.inventory.systems import OS_NAMES
from provisioner.ray.system import System
from provisioner.ray.version import parse

UNSUPPORTED = (
    "Ray's makers do not support clusters with Windows or macOS hosts: they are at your own risk",
    "believe the task that `apply` runs on every node; the labels os=windows, macos and linux steer work",
)
"""What upstream says of such clusters (docs.ray.io, "Ray on Windows"), told once in a run."""


class Census:
    """Takes the hosts' own word for what they are, and refuses those that can't be part of the cluster.

    Any number of threads may use one.
    """

    def __init__(self, inventory: Inventory) -> None:
        self._ray = parse(inventory.ray_version)
        self._guard = threading.Lock()
        self._oses = frozenset(host.os for host in inventory.hosts if host.os)
        self._is_cluster = len(inventory.hosts) > 1
        self._told = False

    def take(self, host: Host, facts: Mapping[str, Any]) -> None:
        """Compare a host's facts with its declaration and with what Ray can do there.

        Raises:
            HostFailed: it is not what the inventory says, or Ray can't run there, or not beside the others.
        """
        # loaded here, where the host is waited for anyway
        from provisioner.ray.support import fleet_obstacles, obstacle

        system = System.from_facts(facts)
        _check_declaration(host, system)
        if reason := obstacle(system, parse(host.python), self._ray):
            raise HostFailed(f"it is {system}: {reason}", remedy=_way_out(host, system))
        if host.os is None and system.os == "windows":
            # what is installed there is settled before it is asked: Ray's wheel needs a runtime of its own on Windows
            message = f"it is {system}, and the inventory does not say so"
            raise HostFailed(message, remedy=f"write `os: windows` for {host.name}")
        with self._guard:
            oses = self._oses | {system.os}
            mixed = next(fleet_obstacles(oses, False, self._ray), "")
            if not mixed:
                self._oses = oses
        if mixed:
            others = " and ".join(OS_NAMES[os] for os in sorted(self._oses - {system.os}))
            message = f"it is {system}, and there is {others} in this cluster: {mixed}"
            raise HostFailed(message, remedy=_way_out(host, system))

    def unsupported(self, facts: Mapping[str, Any]) -> bool:
        """Tell, once in a run, that a host makes this a cluster that Ray's makers do not support."""
        with self._guard:
            if self._told or not self._is_cluster or facts.get("os") == "linux":
                return False
            self._told = True
            return True


def _check_declaration(host: Host, system: System) -> None:
    said = {"os": host.os, "arch": host.arch}
    wrong = [key for key in said if said[key] is not None and said[key] != getattr(system, key)]
    if wrong:
        says = " and ".join(f"`{key}: {said[key]}`" for key in wrong)
        write = " and ".join(f"`{key}: {getattr(system, key)}`" for key in wrong)
        raise HostFailed(
            f"it is {system}, and the inventory says {says}",
            remedy=f"write {write} for {host.name}, or look whether its address is another machine's",
        )


def _way_out(host: Host, system: System) -> str:
    from provisioner.ray.support import unsupported

    if unsupported(system):
        return f"take {host.name} out of the inventory"
    declared = f"`os: {system.os}` and `arch: {system.arch}`"
    return f"write {declared} for {host.name}; then `provision versions` shows what goes with every host"
