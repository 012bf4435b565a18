"""Groups of hosts inside each other, and what each of them says of its hosts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Groups:
    """Hosts and groups in the order in which they were named."""

    def __init__(self) -> None:
        self.hosts: dict[str, dict[str, Any]] = {}
        self.left: list[str] = []
        """What can't be carried over."""
        self._members: dict[str, list[str]] = {}
        self._parents: dict[str, list[str]] = {}
        self._says: dict[str, dict[str, Any]] = {}

    def add(self, group: str, host: str, own: Mapping[str, Any]) -> None:
        """Put a host into a group, with what is said of it there."""
        self.hosts.setdefault(host, {}).update(own)
        members = self._members.setdefault(group, [])
        if host not in members:
            members.append(host)

    def nest(self, group: str, child: str) -> None:
        """Put a group into another one."""
        parents = self._parents.setdefault(child, [])
        if group not in parents:
            parents.append(group)

    def group_says(self, group: str, values: Mapping[str, Any]) -> None:
        """Note what a group says of its hosts."""
        self._says.setdefault(group, {}).update(values)

    def members(self, group: str) -> set[str]:
        """Return the hosts of a group and of those inside it."""
        return {host for host in self.hosts if group in self.of(host)}

    def of(self, host: str) -> tuple[str, ...]:
        """Return the groups of a host, the nearest first; each once, however they are inside each other."""
        found = [group for group, members in self._members.items() if host in members]
        for group in found:  # grows while it is walked
            found += [parent for parent in self._parents.get(group, ()) if parent not in found]
        return tuple(found)

    def said(self, host: str) -> dict[str, Any]:
        """Return what is said of a host: its own words first, then those of the nearest group."""
        values: dict[str, Any] = dict(self._says.get("all", {}))
        for group in reversed(self.of(host)):
            values.update(self._says.get(group, {}))
        return {**values, **self.hosts[host]}
