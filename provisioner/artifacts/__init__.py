"""What is sent to hosts: packages locked per platform and Python, fetched once, kept in a cache on this machine."""

from __future__ import annotations

from provisioner.artifacts.cache import Cache
from provisioner.artifacts.lock import Lock, Wheel
from provisioner.artifacts.platform import Platform
from provisioner.artifacts.store import Artifacts

__all__ = ["Artifacts", "Cache", "Lock", "Platform", "Wheel"]
