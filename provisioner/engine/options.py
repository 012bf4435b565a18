"""What the user can set about a run."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.events import Verb


@dataclass(frozen=True)
class RunOptions:
    """Flags of a run; times in seconds.

    Args:
        limit: inventory names of the hosts to work on; empty: all.
    """

    verb: Verb
    limit: tuple[str, ...] = ()
    concurrency: int = 32
    task_timeout: float = 900.0
    connect_timeout: float = 10.0
    yes: bool = False
    purge: bool = False
    accept_new_host_keys: bool = False
    lock_timeout: float = 300.0
    """Seconds to wait for another run that works on the cluster; 0: none."""
    rotate: bool = False
    """Replace Ray's token, on all nodes."""

    def wishes(self, verb: Verb) -> dict[str, bool]:
        """Return what a host must know of these, for what is done with it."""
        return {"purge": self.purge and verb == "teardown", "rotate": self.rotate and verb == "apply"}
