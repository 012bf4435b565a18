"""certificate: the key and certificate by which this host's node shows that it belongs to the cluster (gRPC TLS).

The controller signs with the cluster's own authority, which lies on the head's host alone. A new certificate lies
beside the one in use until the node is restarted with it (see ray_node), so nothing that runs is disturbed here.
"""

from __future__ import annotations

import os

from provisioner.remote import secrets, tls
from provisioner.remote.failure import Failure
from provisioner.remote.resource import Resource, difference
from provisioner.remote.resources import ray_history

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Tuple

    from provisioner.remote.host import Host
    from provisioner.remote.resource import Difference

WHAT = "certificate"
ISSUE_LIMIT = 180.0
"""Seconds for a certificate to be made; the head, which may still be connecting, is asked for its authority first."""
AUTHORITY = "the cluster's own certificate authority"


class Certificate(Resource):
    """Params: ``names`` (addresses and names it must have), ``head`` (name of the host that keeps the authority)."""

    kind = "certificate"

    def observe(self, host: Host) -> List[Difference]:
        current = self._authority(host)
        found = self._authority_differences(host)
        change = self._change(host, current)
        if change:
            host.shared[tls.PENDING] = True
            found.append(difference("change" if change[0] else "add", WHAT, *change))
        return found

    def _authority_differences(self, host: Host) -> List[Difference]:
        exposed, path = tls.authority_exposure(host), secrets.original_path(host, tls.AUTHORITY)
        if host.name != self.params["head"]:
            return [difference("remove", AUTHORITY, before=path)] if os.path.lexists(path) else []
        if exposed:
            return [difference("change", AUTHORITY, "open to others (%s)" % exposed[0], "a new one")]
        known = tls.authority(host)
        if known is None:
            return [difference("add", AUTHORITY, after="made and kept on this host")]
        if tls.is_due(host, known):
            return [difference("change", AUTHORITY, "until %s" % tls.day(known["until"]), "a new one")]
        return []

    def _authority(self, host: Host) -> Optional[str]:
        """Return the fingerprint of the authority that signs, "" if there is to be a new one; None: not known."""
        if host.name == self.params["head"]:
            return tls.authority_id(host)
        try:
            answer: str = host.wire.ask(self.params["head"], "authority", None, 30.0)
        except Failure:
            return None
        return answer

    def _change(self, host: Host, current: Optional[str]) -> Optional[Tuple[str, str]]:
        """Return (before, after) of the certificate if another one is needed."""
        known, names = tls.note(host), self.params["names"]
        if known is None:
            return "", "for %s" % ", ".join(names)
        if known["names"] != names:
            return "for %s" % ", ".join(known["names"]), "for %s" % ", ".join(names)
        until = "until %s" % tls.day(known["until"])
        if current is not None and current != known["authority"]:
            return "%s, of another authority" % until, "a new one"
        if tls.is_due(host, known):
            return until, "renewed"
        damage = tls.damage(host, known)
        return (damage, "a new one") if damage else None

    def ensure(self, host: Host) -> str:
        host.marker.put(self.key, {"kind": self.kind, "params": self.params})
        if host.name != self.params["head"]:
            secrets.forget(host, tls.AUTHORITY)  # it lies on one host; this one may have been the head
        known = tls.note(host)
        if self._change(host, self._authority(host)) or known is None:
            known = tls.keep(host, host.wire.ask("controller", "certificate", None, ISSUE_LIMIT))
        ray_history.discard_certificates(host)
        return "until %s" % tls.day(known["until"])

    def traces(self, host: Host) -> List[Difference]:
        found = tls.traces(host)
        return [difference("remove", WHAT, before="%d files" % len(found))] if found else []

    def remove(self, host: Host) -> str:
        tls.forget(host)
        host.marker.drop(self.key)
        return "removed"
