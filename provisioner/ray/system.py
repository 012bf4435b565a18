"""What a host is, as far as Ray's wheels depend on it: by its own facts, or by the inventory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from provisioner.inventory.model import Host
from provisioner.inventory.systems import OS_NAMES

ASSUMED_GLIBC = "2.28"
"""Of Linux hosts of which the inventory says nothing and that can't be asked."""
Kind = TypeVar("Kind", bound="System")
_ARCHITECTURES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}


def architecture(word: str) -> str:
    """Return a processor's name as we write it: ``AMD64`` is x86_64, ``arm64`` is aarch64."""
    return _ARCHITECTURES.get(word.lower(), word.lower())


@dataclass(frozen=True)
class System:
    """A machine, as far as Ray's wheels depend on it.

    Args:
        os: ``linux``, ``macos`` or ``windows``.
        arch: ``x86_64`` or ``aarch64``; Ray has wheels for nothing else.
        libc: ``glibc`` or ``musl`` on Linux, else empty.
        libc_version: such as ``2.36``; empty if unknown.
        os_version: of macOS, such as ``15.6.1``; empty if unknown, and elsewhere.
    """

    os: str
    arch: str
    libc: str = ""
    libc_version: str = ""
    os_version: str = ""

    @classmethod
    def from_facts(cls: type[Kind], facts: Mapping[str, Any]) -> Kind:
        """Return the system of a host that reports these facts."""
        return cls(
            os=str(facts.get("os", "")).lower(),
            arch=architecture(str(facts.get("arch", ""))),
            libc=str(facts.get("libc") or ""),
            libc_version=str(facts.get("libc_version") or ""),
            os_version=str(facts.get("macos_version") or ""),
        )

    @classmethod
    def of_host(cls: type[Kind], host: Host) -> Kind:
        """Return what the inventory says a host is, or what is assumed of it: Linux on x86_64."""
        libc = ("glibc", host.glibc or ASSUMED_GLIBC) if (host.os or "linux") == "linux" else ("", "")
        return cls(host.os or "linux", host.arch or "x86_64", *libc)

    def __str__(self) -> str:
        return f"{OS_NAMES.get(self.os, self.os or 'an unknown OS')} {self.arch}".rstrip()
