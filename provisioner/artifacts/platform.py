"""The platforms packages are locked for, as uv and the wheels' names call them."""

from __future__ import annotations

import re

from provisioner.errors import HostFailed
from provisioner.ray.system import System

_ASSUMED_MACOS = 13
"""Of Macs that can't be asked. uv supports 13 and newer (its platform policy), Ray's own wheels ask for 12."""
_MACOS_LEVELS = (12, 13, 14)
"""The releases that wheels are chosen for: few are built for a newer one alone, and each level more would give the
Macs of one fleet another set."""

_OLDEST_GLIBC = 17
"""Ray's wheels are manylinux2014: they need glibc 2.17."""
_GLIBC_LEVELS = (17, 28)
"""The minor versions of glibc 2 that wheels are built for: manylinux2014 and manylinux_2_28. uv knows more, and
each would give the hosts of one fleet another set."""

_SUPPORTED = "Ray has wheels for Linux (glibc) and macOS on x86_64 and arm64, and for Windows on x86_64"


class Platform(System):
    """The OS and processor of a host, as far as wheels depend on them."""

    def fits(self, actual: Platform) -> bool:
        """Tell whether packages for this platform run on that one."""
        if (self.os, self.arch) != (actual.os, actual.arch):
            return False
        if self.os == "macos":
            return self.macos_level <= actual.macos_level
        return self.os != "linux" or self.glibc_level <= actual.glibc_level

    @property
    def uv_name(self) -> str:
        """The platform as ``uv --python-platform`` calls it; HostFailed if Ray has no wheels for it."""
        if self.arch not in ("x86_64", "aarch64"):
            raise self._unsupported(f"{self.os} on {self.arch or 'an unknown processor'}")
        if self.os == "linux":
            return f"{self.arch}-manylinux_2_{self.glibc_level}"
        if self.os == "macos":
            return f"{self.arch}-apple-darwin"
        if self.os == "windows" and self.arch == "x86_64":
            return "x86_64-pc-windows-msvc"
        raise self._unsupported("Windows on ARM" if self.os == "windows" else self.os or "an unknown system")

    @property
    def macos_level(self) -> int:
        """The newest release of macOS whose wheels are taken for this host."""
        match = re.match(r"\d+", self.os_version)
        major = int(match[0]) if match else _ASSUMED_MACOS
        if major < _MACOS_LEVELS[0]:
            raise self._unsupported(f"macOS {self.os_version}")
        return max(level for level in _MACOS_LEVELS if level <= major)

    @property
    def glibc_level(self) -> int:
        """The minor version of the newest glibc 2 whose wheels are taken for this host."""
        if self.libc != "glibc":
            raise self._unsupported(f"Linux with {self.libc or 'an unknown C library'}")
        match = re.fullmatch(r"2\.(\d+)(\..*)?", self.libc_version)
        minor = int(match[1]) if match else 0
        if minor < _OLDEST_GLIBC:
            raise HostFailed(
                f"glibc {self.libc_version or 'of unknown version'} is too old: Ray's wheels need 2.17 or newer",
                remedy="Upgrade the host's Linux, or take the host out of the inventory.",
            )
        return max(level for level in _GLIBC_LEVELS if level <= minor)

    @property
    def key(self) -> str:
        """A short text for names; hosts that can share a lock have the same key."""
        uv_name = self.uv_name
        if self.os == "linux":
            return f"linux-{self.arch}-glibc2.{self.glibc_level}"
        level = "" if self.os != "macos" or self.macos_level == _ASSUMED_MACOS else f"-{self.macos_level}"
        return f"{self.os}-{uv_name.partition('-')[0]}{level}"

    @staticmethod
    def _unsupported(what: str) -> HostFailed:
        return HostFailed(f"Ray has no wheels for {what}", remedy=f"{_SUPPORTED}: take this host out of the inventory.")


def of_this_machine() -> Platform:
    """Return the platform of the machine this runs on."""
    import platform
    import sys

    system = {"linux": "linux", "darwin": "macos", "win32": "windows"}.get(sys.platform, sys.platform)
    libc, version = platform.libc_ver() if system == "linux" else ("", "")
    facts = {"os": system, "arch": platform.machine(), "libc": libc, "libc_version": version}
    return Platform.from_facts({**facts, "macos_version": platform.mac_ver()[0]})
