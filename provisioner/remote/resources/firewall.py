"""firewall: the cluster's other hosts reach Ray on this one, where the OS shuts its ports unless somebody opens them.

Whoever joins or leaves changes the rules on every host, and nothing else there: Ray runs on.
"""

from __future__ import annotations

from provisioner.remote.platforms.base import NEEDS_ELEVATION
from provisioner.remote.resource import Resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List

    from provisioner.remote.host import Host
    from provisioner.remote.platforms.firewall import Firewall as PlatformFirewall
    from provisioner.remote.platforms.firewall import Opening
    from provisioner.remote.resource import Difference


class Firewall(Resource):
    """Params: ``environment`` (its id), ``ports`` (spans of TCP ports), ``addresses`` (of the other hosts, and whoever
    else may connect).

    Does nothing where the platform has no firewall of ours. Without the right to change one, what is missing is named.
    """

    kind = "firewall"

    def observe(self, host: Host) -> List[Difference]:
        firewall = host.platform.firewall()
        if firewall is None:
            return []
        found = firewall.differences(host, self._opening(host, firewall))
        return _as_permitted(host, found, "open the firewall for the cluster's other hosts")

    def ensure(self, host: Host) -> str:
        firewall = host.platform.firewall()
        if firewall is None:
            return ""
        host.marker.put(self.key, dict(host.marker.get(self.key) or {}, kind=self.kind, params=self.params))
        return firewall.open(host, self._opening(host, firewall))

    def traces(self, host: Host) -> List[Difference]:
        firewall = host.platform.firewall()
        return _as_permitted(host, firewall.traces(host), "close the firewall again") if firewall else []

    def remove(self, host: Host) -> str:
        firewall = host.platform.firewall()
        done = firewall.close(host) if firewall else ""
        host.marker.drop(self.key)
        return done

    def _opening(self, host: Host, firewall: PlatformFirewall) -> Opening:
        environment = host.environment(self.params["environment"])
        return {
            "programs": firewall.listeners(environment, host.interpreter() or ""),
            "ports": self.params["ports"],
            "addresses": self.params["addresses"],
        }


def _as_permitted(host: Host, found: List[Difference], what: str) -> List[Difference]:
    """Return differences if this session may do something about them; else note what it may not."""
    if not found or host.platform.privileged():
        return found
    host.shared.setdefault(NEEDS_ELEVATION, []).append(what)
    return []
