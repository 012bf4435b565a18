"""The package that brings a server, of the host's own system, or the server that is there already.

A package's own service is nobody's: it stays stopped, unless somebody has switched it on.
"""

from __future__ import annotations

import os

from provisioner.remote.failure import Failure
from provisioner.remote.resources import system_package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Sequence

    from provisioner.remote.host import Host

FOLDERS = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin", "/opt/local/bin")
"""Looked at beside PATH, which a login without a terminal may have short."""


class ServerPackage:
    """A server that many systems have a package of.

    Args:
        what: how messages call it.
        programs: names that the server may have.
        packages: names of the package by the program that installs it, the one that most releases have first.
        units: services under which packages start a server of their own.
    """

    def __init__(self, what: str, programs: Sequence[str], packages: Dict[str, Sequence[str]], units: Sequence[str]):
        self.what = what
        self._programs = programs
        self._packages = packages
        self._units = units
        self._remedy = "install %s on this host, and run the same command again" % what

    def find(self) -> Optional[str]:
        """Return the path of the server, None if this host has none."""
        import shutil

        where = os.pathsep.join([os.environ.get("PATH", ""), *FOLDERS])
        for program in self._programs:
            found = shutil.which(program, path=where)
            if found:
                return found
        return None

    def wanted(self, host: Host) -> str:
        """Return the name of the package that brings it.

        Raises:
            Failure: no package of this host can.
        """
        provider = system_package.provider_of(host)
        if provider not in self._packages:
            raise Failure("we know no package of %s for %s" % (self.what, provider), self._remedy)
        if provider != "brew" and not host.platform.privileged():
            message = "%s is not on this host, and only root may install it" % self.what
            raise Failure(message, "set `become: true`, or " + self._remedy)
        return self._packages[provider][0]

    def install(self, host: Host) -> List[str]:
        """Install the package, and leave the server that it may start by itself stopped: it is nobody's. Returns what
        was installed.

        Raises:
            Failure: none of the packages that bring it can be installed.
        """
        self.wanted(host)
        provider = system_package.provider_of(host)
        before = set(system_package.all_installed(host, provider))
        self._mask(host, provider)
        try:
            name = self._install_any(host, provider)
        finally:
            self._unmask(host, provider)
        self._silence(host)
        if self.find() is None:
            raise Failure("the package %s has brought no server" % name, self._remedy)
        return sorted(set(system_package.all_installed(host, provider)) - before) or [name]

    def remove(self, host: Host, packages: List[str]) -> str:
        """Remove what was installed, unless others use it by now; returns in words what stays, if anything does."""
        provider = system_package.provider_of(host)
        self._unmask(host, provider)  # of a run that was ended while it installed
        present = [name for name in packages if system_package.is_installed(host, provider, name)]
        if not present:
            return ""
        if any(_is_used(host, unit) for unit in self._units):
            return "%s stays: its own service was switched on" % ", ".join(present)
        others = system_package.dragged_along(host, provider, present)
        if others:
            return "%s stays: %s need it" % (", ".join(present), ", ".join(others[:3]))
        system_package.uninstall(host, provider, present)
        return ""

    def _install_any(self, host: Host, provider: str) -> str:
        """Install the first of the packages that can be; returns its name."""
        failures = []
        for name in self._packages[provider]:
            try:
                system_package.install(host, provider, [name])
                return name
            except Failure as failure:
                failures.append(failure.message)
        raise Failure(failures[0], self._remedy)

    def _mask(self, host: Host, provider: str) -> None:
        """Keep what Debian's package starts at once, without a password and on a port of Ray's, from running even for a
        moment; until the next boot at most."""
        for unit in self._units if _starts_at_once(provider) else ():
            if not _systemctl(host, "cat", unit):
                _systemctl(host, "mask", unit, "--runtime")

    def _unmask(self, host: Host, provider: str) -> None:
        for unit in self._units if _starts_at_once(provider) else ():
            if os.path.islink("/run/systemd/system/%s.service" % unit):
                _systemctl(host, "unmask", unit, "--runtime")

    def _silence(self, host: Host) -> None:
        """Stop what the package has started; where nothing manages services, or it started nothing, nothing happens."""
        for unit in self._units:
            if os.path.isdir("/run/systemd/system"):
                if _systemctl(host, "cat", unit):
                    _systemctl(host, "disable", unit, "--now")
            elif os.path.exists("/etc/init.d/" + unit):
                host.platform.run(["/etc/init.d/" + unit, "stop"], 60.0)


def _starts_at_once(provider: str) -> bool:
    return provider == "apt-get" and os.path.isdir("/run/systemd/system")


def _is_used(host: Host, unit: str) -> bool:
    return os.path.isdir("/run/systemd/system") and (
        _systemctl(host, "is-active", unit) or _systemctl(host, "is-enabled", unit)
    )


def _systemctl(host: Host, verb: str, unit: str, *more: str) -> bool:
    return host.platform.run(["systemctl", "--quiet", "--no-pager", verb, *more, unit + ".service"], 60.0)[0] == 0
