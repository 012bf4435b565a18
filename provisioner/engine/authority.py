"""The cluster's certificate authority during a run: taken from the head when the first node wants a certificate, used
in memory, never written down here.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from provisioner.errors import HostFailed
from provisioner.inventory.model import Host, Inventory
from provisioner.ray import certificates
from provisioner.ray.certificates import BadAuthority, Pair

Ask = Callable[[str, str, Any, float], Any]

LIMIT = 60.0
"""Seconds for the head to say or to keep something; it may wait for another run's lock."""
SECRET = "authority"  # noqa: S105 - its name (remote/tls.py)


class Authority:
    """Signs certificates for the nodes of one cluster.

    Args:
        inventory: says what names each node has: never the node itself.
        ask: puts a question to a host (``Switchboard.ask``).
        hide: has every report replace these texts from now on.
    """

    def __init__(self, inventory: Inventory, ask: Ask, hide: Callable[[list[str]], None]) -> None:
        self._inventory = inventory
        self._ask = ask
        self._hide = hide
        self._lock = threading.Lock()
        self._pair: Pair | None = None

    def certificate(self, asker: Host) -> dict[str, Any]:
        """Return a new certificate and key for a host's node, as remote/tls.py wants it.

        Raises:
            HostFailed: TLS is not wanted, the host is no member any more, or the head can't say or keep the authority.
        """
        if not self._inventory.tls or asker not in self._inventory.hosts:
            raise HostFailed(f"{asker.name} needs no certificate: it is no node of a cluster with `ray: {{tls: true}}`")
        with self._lock:
            if self._pair is None:
                self._pair = self._present() or self._made()
            pair = self._pair
        issued = certificates.issue(pair, asker.name, certificates.node_names(asker), _now())
        return {
            "certificate": issued.pair.certificate,
            "key": issued.pair.key,
            "authority": pair.certificate,
            "since": issued.since,
            "until": issued.until,
            "names": list(issued.names),
        }

    def _present(self) -> Pair | None:
        """Return the authority that the head keeps; None if another one is to be made."""
        head = self._inventory.head.name
        if not self._ask(head, "authority", None, LIMIT):
            return None
        try:
            told = json.loads(self._ask(head, "secret", SECRET, LIMIT))
            pair = Pair(told["certificate"], told["key"])
            self._hide([pair.key])
            certificates.check_authority(pair)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            why = f": {error}" if isinstance(error, BadAuthority) else ""
            raise HostFailed(
                f"what {head} keeps as the cluster's certificate authority is none{why}",
                remedy=f"remove secrets/{SECRET} in our root on {head}, then apply: all nodes are certified anew",
            ) from None
        return pair

    def _made(self) -> Pair:
        pair = certificates.make_authority(self._inventory.cluster, _now())
        self._hide([pair.key])
        since, until = certificates.validity(pair.certificate)
        value = json.dumps({"certificate": pair.certificate, "key": pair.key, "since": since, "until": until})
        self._ask(self._inventory.head.name, "keep authority", value, LIMIT)
        return pair


def _now() -> datetime:
    return datetime.now(timezone.utc)
