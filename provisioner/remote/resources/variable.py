"""variable: an environment variable that every new process on the host sees."""

from __future__ import annotations

from provisioner.remote.resource import Resource, difference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List

    from provisioner.remote.host import Host
    from provisioner.remote.resource import Difference


class EnvironmentVariable(Resource):
    """Params: ``name``, ``value``. What was there before is put back by remove."""

    kind = "variable"

    @property
    def key(self) -> str:
        return "variable:%s" % self.params["name"]

    def observe(self, host: Host) -> List[Difference]:
        name, value = self.params["name"], str(self.params["value"])
        now = host.platform.get_variable(name)
        if now == value:
            return []
        where = "variable %s in %s" % (name, host.platform.variable_scope())
        if now is None:
            return [difference("add", where, after=value)]
        return [difference("change", where, before=now, after=value)]

    def ensure(self, host: Host) -> str:
        name, value = self.params["name"], str(self.params["value"])
        entry = host.marker.get(self.key)
        if entry is None:
            entry = {"kind": self.kind, "before": host.platform.keep_variable(name)}
        host.marker.put(self.key, dict(entry, params={"name": name, "value": value}))
        host.platform.set_variable(name, value)
        return "%s=%s" % (name, value)

    def traces(self, host: Host) -> List[Difference]:
        if not self._ours(host):
            return []
        where = "variable %s in %s" % (self.params["name"], host.platform.variable_scope())
        return [difference("remove", where, before=host.platform.get_variable(self.params["name"]) or "")]

    def remove(self, host: Host) -> str:
        entry = host.marker.get(self.key)
        if entry is None:
            return ""
        if self._ours(host):
            host.platform.put_back_variable(self.params["name"], entry["before"])
        host.marker.drop(self.key)
        return "%s removed" % self.params["name"]

    def _ours(self, host: Host) -> bool:
        """Tell whether the variable is there and holds what we wrote: a value set later by others stays."""
        entry = host.marker.get(self.key)
        now = host.platform.get_variable(self.params["name"])
        return entry is not None and now is not None and now == entry["params"]["value"]
