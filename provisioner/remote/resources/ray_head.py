"""ray_head: see ray_node.py; the node that has the cluster's state, and its list of nodes."""

from __future__ import annotations

import time

from provisioner.remote import service
from provisioner.remote.resource import difference
from provisioner.remote.resources import ray_history, ray_spec
from provisioner.remote.resources.ray_node import RayNode
from provisioner.remote.resources.ray_state import of_this_host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

    from provisioner.remote.host import Host
    from provisioner.remote.resource import Difference
    from provisioner.remote.resources.ray_state import Node

    Spec = Dict[str, Any]

RETURN_LIMIT = 90.0
"""Seconds that workers get to rejoin a head that went back: their units start them again and again meanwhile."""


class RayHead(RayNode):
    """Params: as every node's, and ``redis`` if there is one (``address``, ``host`` that runs it, ``password``)."""

    kind = "ray_head"
    role = "head"
    _left = ""
    """Names the hosts whose nodes can't come along because the run is limited."""

    def observe(self, host: Host) -> List[Difference]:
        redis = self.params.get("redis")
        if redis and host.mode == "check" and self._keeps_it_there(host):
            from provisioner.remote.resources import ray_redis

            host.shared.setdefault("findings", []).append(ray_redis.finding(host, redis))
        return super().observe(host)

    def _keeps_it_there(self, host: Host) -> bool:
        """Tell whether the head that is defined on this host keeps its state where it is declared."""
        now = service.read_spec(host, service.service_name(host)) or {}
        return bool(now.get("env", {}).get("RAY_REDIS_ADDRESS") == self.params["env"]["RAY_REDIS_ADDRESS"])

    def nodes(self, host: Host, spec: Spec, max_age: float = 0.0) -> Optional[List[Node]]:
        address = spec.get("dashboard") or self.params["dashboard"]
        return of_this_host(host, address, max_age)

    def _check(self, host: Host, now: Optional[Spec], wanted: Spec, seen: List[Node]) -> None:
        from provisioner.remote.resources import ray_checks

        super()._check(host, now, wanted, seen)
        # Who goes back with --limit leaves out those that can't, and was told so.
        if now is not None and not wanted.get(ray_history.REVERTED):
            ray_checks.check_left_out(host, now, wanted, {node["host"] for node in seen})
        if self.params.get("redis") and "RAY_REDIS_ADDRESS" in wanted["env"]:
            from provisioner.remote.resources import ray_redis

            ray_redis.check(host, self.params["redis"])

    def former(self, host: Host) -> List[Difference]:
        from provisioner.remote.resources import ray_checks

        found = super().former(host)
        now = service.read_spec(host, service.service_name(host))
        if now is None or self._target is None:
            return found
        nodes = {node["host"] for node in self.nodes(host, now, max_age=5.0) or [] if node["alive"]}
        self._left = ray_checks.left_out(host, now, self._target, nodes)
        if self._left:
            what = "the nodes on %s, which take no part in this run" % self._left
            found.append(difference("change", what, "in the cluster", "left out", what))
        return found

    def revert(self, host: Host) -> str:
        done = super().revert(host)
        if not self._left:
            return done
        return "%s; left out: %s, which `provision rollback` without --limit takes along" % (done, self._left)

    def _destination(self, host: Host, now: Optional[Spec]) -> Optional[Spec]:
        target = ray_history.destination(host, rollback=True)
        if now is None:
            host.shared["cannot"] = "no Ray of ours is on this host", "`provision apply` makes the cluster"
        elif target is None:
            host.shared["cannot"] = (
                "there is nothing to go back to: %s is the first that ran here" % ray_spec.versions(now),
                "to run another version, declare it and `provision apply`",
            )
        return target

    def _await_others(self, host: Host, spec: Spec, seen: List[Node]) -> List[str]:
        wanted = {node["host"] for node in seen if node["host"] not in ("", host.name)}
        deadline = time.monotonic() + RETURN_LIMIT
        while True:
            missing = wanted - {node["host"] for node in self.nodes(host, spec) or [] if node["alive"]}
            if not missing or time.monotonic() > deadline:
                return sorted(missing)
            host.doing("waiting for %s to come back" % ", ".join(sorted(missing)[:3]))
            time.sleep(1.0)
