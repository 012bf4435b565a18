"""What the user can set about a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from provisioner.events import Difference, Verb


@dataclass(frozen=True)
class RunOptions:
    """Flags of a run; times in seconds.

    Args:
        limit: inventory names of the hosts to work on; empty: all.
        confirm: asked before something that runs is stopped, with all of it; returns the user's decision.
    """

    verb: Verb
    confirm: Callable[[tuple[Difference, ...]], bool]
    limit: tuple[str, ...] = ()
    concurrency: int = 32
    task_timeout: float = 900.0
    connect_timeout: float = 10.0
    yes: bool = False
    purge: bool = False
    accept_new_host_keys: bool = False
