"""ray_head: see ray_node.py; with what a head needs if it keeps the cluster's state in Redis."""

from __future__ import annotations

from provisioner.remote import service
from provisioner.remote.resources import ray_node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

    from provisioner.remote.host import Host
    from provisioner.remote.resource import Difference
    from provisioner.remote.resources.ray_state import Node

    Spec = Dict[str, Any]


class RayHead(ray_node.RayHead):
    """Params: as every node's, and ``redis`` if there is one (``address``, ``host`` that runs it, ``password``)."""

    def observe(self, host: Host) -> List[Difference]:
        found, redis = super().observe(host), self.params.get("redis")
        if redis is None:
            return found
        from provisioner.remote.resources import ray_redis

        if host.mode == "check" and self._keeps_it_there(host):
            host.shared.setdefault("findings", []).append(ray_redis.finding(host, redis))
        active = host.service_manager.observe(host, service.service_name(host))["active"] if not found else False
        return found + ray_redis.differences(host, redis, "Ray on %s" % host.name if active else "")

    def _keeps_it_there(self, host: Host) -> bool:
        """Tell whether the head that is defined on this host keeps its state where it is declared."""
        now = service.read_spec(host, service.service_name(host)) or {}
        return bool(now.get("env", {}).get("RAY_REDIS_ADDRESS") == self.params["env"]["RAY_REDIS_ADDRESS"])

    def _check(self, host: Host, now: Optional[Spec], wanted: Spec, seen: List[Node]) -> None:
        super()._check(host, now, wanted, seen)
        if self.params.get("redis") and "RAY_REDIS_ADDRESS" in wanted["env"]:
            from provisioner.remote.resources import ray_redis

            ray_redis.check(host, self.params["redis"])

    def _has_its_secrets(self, host: Host) -> bool:
        if not self.params.get("redis"):
            return True
        from provisioner.remote.resources import ray_redis

        return not ray_redis.differences(host, self.params["redis"], "")

    def _hand_over(self, host: Host) -> None:
        if self.params.get("redis"):
            from provisioner.remote.resources import ray_redis

            ray_redis.prepare(host, self.params["redis"])
