"""members: the head remembers who belongs to the cluster and how to reach them.

So that a host which was dropped from the inventory is found, whoever runs the next apply and from where.
"""

from __future__ import annotations

import json

from provisioner.remote import service
from provisioner.remote.resource import Resource, difference
from provisioner.remote.resources import ray_history
from provisioner.remote.resources.ray_state import of_this_host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Set, Tuple

    from provisioner.remote.host import Host
    from provisioner.remote.resource import Difference
    from provisioner.remote.resources.ray_state import Node

    Known = Dict[str, Dict[str, Any]]


FEW = 5
"""Members, or changes of a kind, that are named one by one."""


class Members(Resource):
    """Params: ``members`` (name -> address, port, user, jump), ``dashboard``. Never a secret."""

    kind = "members"

    def observe(self, host: Host) -> List[Difference]:
        known, wanted = _recorded(host), self.params["members"]
        dropped = self.dropped(host)
        host.shared["dropped"] = dropped
        host.shared.setdefault("findings", []).extend(_undeclared(self._nodes(host), {*wanted, *dropped}))
        found = [
            difference("remove", "member %s" % name, before="dropped from the inventory") for name in sorted(dropped)
        ]
        added = [name for name in wanted if name not in known]
        if added:
            found.append(difference("add", "members", after=_few(added)))
        return found + _changes(known, wanted)

    def ensure(self, host: Host) -> str:
        kept: Known = host.wire.ask("controller", "undropped", None, 600.0)
        members = dict(kept, **self.params["members"])
        host.write(_path(host), json.dumps(members, indent=1, sort_keys=True).encode("utf-8"), 0o600)
        return "%d members" % len(self.params["members"])

    def traces(self, host: Host) -> List[Difference]:
        host.shared["dropped"] = self.dropped(host)
        known = _recorded(host)
        return [difference("remove", "members", before=_few(sorted(known)))] if known else []

    def remove(self, host: Host) -> str:
        import os

        if os.path.exists(_path(host)):
            os.unlink(_path(host))
        return ""

    def dropped(self, host: Host) -> Known:
        """Return who belonged to the cluster, as this host noted it, and is no longer declared.

        Ray's own list counts for nothing here: any job may start a node under any name and address, and whoever is
        dropped is logged in to.
        """
        known = dict(_former_head(host), **_recorded(host))
        return {name: how for name, how in known.items() if name not in self.params["members"]}

    def _nodes(self, host: Host) -> List[Node]:
        """Return the cluster's nodes; none if it is another cluster's dashboard that answers here.

        Ours is the one whose head runs what was started on this host, now or before.
        """
        spec = service.read_spec(host, service.service_name(host))
        started = {each.get("config") for each in (spec or {}, *ray_history.read(host))}
        nodes = of_this_host(host, self.params["dashboard"], 5.0) or []
        return nodes if any(node["head"] and node["config"] in started for node in nodes) else []


def _undeclared(nodes: List[Node], known: Set[str]) -> List[Dict[str, str]]:
    """Return what the user should know of living nodes that are no member's."""
    strange = sorted({_node_name(node) for node in nodes if node["alive"] and node["host"] not in known})
    if not strange:
        return []
    number = "a node" if len(strange) == 1 else "%d nodes" % len(strange)
    told = "Ray lists %s that nobody declared: %s" % (number, _few(strange))
    remedy = "declare what is yours; else find who started it, stop Ray there, and `provision token rotate`"
    return [{"severity": "notice", "message": told, "remedy": remedy}]


def _node_name(node: Node) -> str:
    address, name = str(node["ip"])[:60], str(node["host"])[:60]
    return "%s at %s" % (name, address) if name else address


def _former_head(host: Host) -> Known:
    """Return the head of the cluster that this host is in by now: whoever moves the head elsewhere may drop it."""
    spec = service.read_spec(host, service.service_name(host)) or {}
    address = str(spec.get("gcs", "")).rpartition(":")[0].strip("[]")
    return {spec["head"]: {"address": address}} if spec.get("head") and address else {}


def _path(host: Host) -> str:
    return host.path("members.json")


def _recorded(host: Host) -> Known:
    try:
        with open(_path(host), encoding="utf-8") as file:
            members = json.load(file)
    except (OSError, ValueError):
        return {}
    if not isinstance(members, dict):
        return {}
    return {name: how for name, how in members.items() if isinstance(how, dict) and "address" in how}


def _changes(known: Known, wanted: Known) -> List[Difference]:
    """Return what is new about members that are known; what is the same of several, or too much to list, once."""
    told: Dict[str, Dict[Tuple[str, str], List[str]]] = {}
    for name in wanted:
        before, after = known.get(name, wanted[name]), wanted[name]
        for key in sorted({*before, *after}):
            if before.get(key) != after.get(key):
                values = _shown(before.get(key)), _shown(after.get(key))
                told.setdefault(key, {}).setdefault(values, []).append(name)
    found = []
    for key, changes in told.items():
        everybody = [name for names in changes.values() for name in names]
        listed = changes if len(changes) <= FEW else {("as remembered", "as declared"): everybody}
        for values, names in listed.items():
            who = "member%s %s" % ("s"[: len(names) - 1], _few(names))
            found.append(difference("change", "%s: %s" % (who, key), *values))
    return found


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def _few(names: List[str]) -> str:
    return ", ".join(names[:FEW]) + (" and %d more" % (len(names) - FEW) if len(names) > FEW else "")
