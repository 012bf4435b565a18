"""Where a host is and how to get in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """How to reach one host; secrets in clear, for it lives only while the connection is made.

    ``None`` leaves a value to ssh_config and OpenSSH's defaults. ``jump`` is written as for ``ssh -J``.
    """

    name: str
    address: str
    user: str | None = None
    port: int | None = None
    key: Path | None = None
    passphrase: str | None = None
    password: str | None = None
    jump: str | None = None
    known_hosts: Path | None = None
    config: Path | None = None
