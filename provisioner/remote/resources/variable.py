"""variable: an environment variable that every new process on the host sees."""

from __future__ import annotations

from provisioner.remote.platforms.base import NEEDS_ELEVATION
from provisioner.remote.resource import Resource, difference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Tuple

    from provisioner.remote.host import Host
    from provisioner.remote.platforms.base import Variables
    from provisioner.remote.resource import Difference


class EnvironmentVariable(Resource):
    """Params: ``name``, ``value``. What was there before is put back by remove.

    Where a variable was set first, there it is looked for, changed and removed, whatever rights a later session has.
    What such a session may not change is named, and is no difference.
    """

    kind = "variable"

    @property
    def key(self) -> str:
        return "variable:%s" % self.params["name"]

    def observe(self, host: Host) -> List[Difference]:
        name, value = self.params["name"], str(self.params["value"])
        kept_in, where = self._kept_in(host)
        now = kept_in.get(name)
        if now == value:
            return []
        if not kept_in.writable:
            _name(host, "set the %s" % where)
            return []
        if now is None:
            return [difference("add", where, after=value)]
        return [difference("change", where, before=now, after=value)]

    def ensure(self, host: Host) -> str:
        name, value = self.params["name"], str(self.params["value"])
        kept_in, _ = self._kept_in(host)
        entry = host.marker.get(self.key)
        if entry is None:
            entry = {"kind": self.kind, "before": kept_in.keep(name), "place": kept_in.place}
        host.marker.put(self.key, dict(entry, params={"name": name, "value": value}))
        kept_in.set(name, value)
        return "%s=%s" % (name, value)

    def traces(self, host: Host) -> List[Difference]:
        kept_in, where = self._kept_in(host)
        if not self._ours(host, kept_in):
            return []
        if not kept_in.writable:
            _name(host, "remove the %s" % where)
            host.marker.hold(self.key)
            return []
        return [difference("remove", where, before=kept_in.get(self.params["name"]) or "")]

    def remove(self, host: Host) -> str:
        entry = host.marker.get(self.key)
        if entry is None:
            return ""
        kept_in, _ = self._kept_in(host)
        if self._ours(host, kept_in):
            kept_in.put_back(self.params["name"], entry["before"])
        host.marker.drop(self.key)
        return "%s removed" % self.params["name"]

    def _kept_in(self, host: Host) -> Tuple[Variables, str]:
        """Return where the variable is kept, or would be, and how that is said."""
        entry = host.marker.get(self.key) or {}
        kept_in = host.platform.variables(entry.get("place", ""))
        return kept_in, "variable %s in %s" % (self.params["name"], kept_in.path)

    def _ours(self, host: Host, kept_in: Variables) -> bool:
        """Tell whether the variable is there and holds what we wrote: a value set later by others stays."""
        entry = host.marker.get(self.key)
        if entry is None:
            return False
        now = kept_in.get(self.params["name"])
        return not kept_in.readable or (now is not None and now == entry["params"]["value"])


def _name(host: Host, what: str) -> None:
    host.shared.setdefault(NEEDS_ELEVATION, []).append(what)
