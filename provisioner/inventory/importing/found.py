"""What an importer finds: hosts as another tool has them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class FoundHost:
    """One host. Whatever is None or empty was not said."""

    name: str
    """As the other tool calls it; may be no name of ours (see ``init``)."""
    address: str | None = None
    user: str | None = None
    port: int | None = None
    key: str | None = None
    """The private key's file, as written there."""
    jump: str | None = None
    groups: tuple[str, ...] = ()
    become: bool = False
    os: str | None = None
    """``linux``, ``macos`` or ``windows``."""
    is_head: bool = False


@dataclass(frozen=True)
class Found:
    """All hosts of one source, in its order."""

    hosts: tuple[FoundHost, ...] = ()
    cluster: str | None = None
    left: tuple[str, ...] = field(default=())
    """What could not be carried over, one sentence each; never a value that may be a secret."""
