"""The Redis server that a host's own packages bring, or that is there already; Valkey counts, which is Redis 7.2 under
the name that many systems have it by now."""

from __future__ import annotations

import os

from provisioner.remote.failure import Failure
from provisioner.remote.resources import system_package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional

    from provisioner.remote.host import Host

PROGRAMS = ("redis-server", "valkey-server")
FOLDERS = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin", "/opt/local/bin")
"""Looked at beside PATH, which a login without a terminal may have short."""
PACKAGES = {
    "apt-get": ("redis-server", "valkey-server"),
    "dnf": ("redis", "valkey"),
    "zypper": ("redis", "valkey"),
    "apk": ("redis", "valkey"),
    "pacman": ("valkey", "redis"),
    "brew": ("redis", "valkey"),
}
"""Names of the package, the one that most releases of a system have first."""
UNITS = ("redis-server", "redis", "valkey-server", "valkey")
"""Services under which packages start a server of their own."""


def find() -> Optional[str]:
    """Return the path of the server, None if this host has none."""
    import shutil

    where = os.pathsep.join([os.environ.get("PATH", ""), *FOLDERS])
    for program in PROGRAMS:
        found = shutil.which(program, path=where)
        if found:
            return found
    return None


def wanted(host: Host) -> str:
    """Return the name of the package that brings it.

    Raises:
        Failure: no package of this host can.
    """
    provider = system_package.provider_of(host)
    if provider not in PACKAGES:
        raise Failure("we know no package of Redis for %s" % provider, REMEDY)
    if provider != "brew" and not host.platform.privileged():
        raise Failure("Redis is not on this host, and only root may install it", "set `become: true`, or " + REMEDY)
    return PACKAGES[provider][0]


REMEDY = "install a Redis server on this host, and run the same command again"


def install(host: Host) -> List[str]:
    """Install the package, and leave the server that it may start by itself stopped: it is nobody's. Returns what was
    installed.

    Raises:
        Failure: none of the packages that bring it can be installed.
    """
    wanted(host)
    provider = system_package.provider_of(host)
    before = set(system_package.all_installed(host, provider))
    _mask(host, provider)
    try:
        name = _install_any(host, provider)
    finally:
        _unmask(host, provider)
    _silence(host)
    if find() is None:
        raise Failure("the package %s has brought no server" % name, REMEDY)
    return sorted(set(system_package.all_installed(host, provider)) - before) or [name]


def remove(host: Host, packages: List[str]) -> str:
    """Remove what was installed, unless others use it by now; returns in words what stays, empty if nothing does."""
    provider = system_package.provider_of(host)
    _unmask(host, provider)  # of a run that was ended while it installed
    present = [name for name in packages if system_package.is_installed(host, provider, name)]
    if not present:
        return ""
    if any(_is_used(host, unit) for unit in UNITS):
        return "%s stays: its own service was switched on" % ", ".join(present)
    others = system_package.dragged_along(host, provider, present)
    if others:
        return "%s stays: %s need it" % (", ".join(present), ", ".join(others[:3]))
    system_package.uninstall(host, provider, present)
    return ""


def _install_any(host: Host, provider: str) -> str:
    """Install the first of the packages that can be; returns its name."""
    failures = []
    for name in PACKAGES[provider]:
        try:
            system_package.install(host, provider, [name])
            return name
        except Failure as failure:
            failures.append(failure.message)
    raise Failure(failures[0], REMEDY)


def _mask(host: Host, provider: str) -> None:
    """Keep what Debian's package starts at once, without a password and on a port of Ray's, from running even for a
    moment; until the next boot at most."""
    for unit in UNITS if _starts_at_once(provider) else ():
        if not _systemctl(host, "cat", unit):
            _systemctl(host, "mask", unit, "--runtime")


def _unmask(host: Host, provider: str) -> None:
    for unit in UNITS if _starts_at_once(provider) else ():
        if os.path.islink("/run/systemd/system/%s.service" % unit):
            _systemctl(host, "unmask", unit, "--runtime")


def _starts_at_once(provider: str) -> bool:
    return provider == "apt-get" and os.path.isdir("/run/systemd/system")


def _silence(host: Host) -> None:
    """Stop what the package has started; where nothing manages services, or it started nothing, nothing happens."""
    for unit in UNITS:
        if os.path.isdir("/run/systemd/system"):
            if _systemctl(host, "cat", unit):
                _systemctl(host, "disable", unit, "--now")
        elif os.path.exists("/etc/init.d/" + unit):
            host.platform.run(["/etc/init.d/" + unit, "stop"], 60.0)


def _is_used(host: Host, unit: str) -> bool:
    return os.path.isdir("/run/systemd/system") and (
        _systemctl(host, "is-active", unit) or _systemctl(host, "is-enabled", unit)
    )


def _systemctl(host: Host, verb: str, unit: str, *more: str) -> bool:
    return host.platform.run(["systemctl", "--quiet", "--no-pager", verb, *more, unit + ".service"], 60.0)[0] == 0
