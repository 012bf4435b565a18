"""What one host may ask another, and what becomes of secrets on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from provisioner.errors import HostFailed
from provisioner.events import Verb
from provisioner.inventory.model import Host

LIMIT = 20.0
"""Seconds for one host to answer another's question."""
QUESTIONS = frozenset({"nodes", "destination", "authority", "secret", "compared"})
"""What one host may ask another; everything else is asked by us alone."""


class Between:
    """Carries questions between hosts.

    Args:
        hosts: the cluster's, as declared: one that was dropped gets no secret.
        ask: puts a question to a host (``Switchboard.ask``).
        hide: has every report replace these texts from now on.
        verb: what is done with the cluster: a token is only needed where nodes are started.
    """

    def __init__(
        self,
        hosts: Sequence[Host],
        ask: Callable[[str, str, Any, float], Any],
        hide: Callable[[list[str]], None],
        verb: Verb = "apply",
    ) -> None:
        self._hosts = hosts
        self._ask = ask
        self._hide = hide
        self._starts = verb in ("apply", "rollback")

    def carry(self, to: str, what: str, args: Any, asker: Host) -> Any:
        """Return a host's answer to another one. A secret is hidden from all reports before anybody gets it.

        Raises:
            HostFailed: hosts don't ask each other for that, the asked one can't say, or that secret is none of the
                asker's concern.
        """
        if what not in QUESTIONS:
            raise HostFailed(f"hosts do not ask each other for {what!r}")
        if what not in ("secret", "compared"):
            return self._ask(to, what, args, LIMIT)
        if what == "compared":  # only a fingerprint comes back (remote/secrets.py), for who may have the secret itself
            if not isinstance(args, dict) or not self._needs(str(args.get("name")), to, asker):
                raise HostFailed(f"{asker.name} has no use for a secret of {to}")
            return self._ask(to, what, args, LIMIT)
        if not isinstance(args, str) or not self._needs(args, to, asker):
            raise HostFailed(f"{asker.name} has no use for the secret {str(args)[:40]!r}")
        value = self._ask(to, what, args, LIMIT)
        if not isinstance(value, str) or not value:
            raise HostFailed(f"{to} did not say what the secret {args!r} is")
        self._hide([value])
        return value

    def _needs(self, secret: str, keeper: str, asker: Host) -> bool:
        """Tell whether a host needs that secret of another one (see remote/secrets.py)."""
        if asker not in self._hosts:
            return False
        if secret == "token":  # noqa: S105 - its name
            return self._starts and any(host.name == keeper and host.role == "head" for host in self._hosts)
        if secret == "redis":  # noqa: S105
            return asker.role == "head" and any(host.name == keeper and host.keeps_redis for host in self._hosts)
        return False
