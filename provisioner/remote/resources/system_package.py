"""system_package: packages of the operating system."""

from __future__ import annotations

from provisioner.remote.failure import Failure
from provisioner.remote.resource import Resource, difference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional

    from provisioner.remote.host import Host
    from provisioner.remote.resource import Difference

LIMIT = 900.0
"""Seconds a package manager may take."""


class SystemPackage(Resource):
    """Params: ``name`` (one or a list). Only packages that we installed are removed again."""

    kind = "system_package"

    @property
    def key(self) -> str:
        return "system_package:" + ",".join(self._names())

    def observe(self, host: Host) -> List[Difference]:
        return [difference("add", "package %s" % name) for name in self._missing(host)]

    def ensure(self, host: Host) -> str:
        missing = self._missing(host)
        entry = host.marker.get(self.key)
        ours = sorted({*missing, *(entry["ours"] if entry else [])})
        host.marker.put(self.key, {"kind": self.kind, "params": self.params, "ours": ours})
        if missing:
            host.doing("installing %s" % ", ".join(missing))
            install(host, provider_of(host), missing)
        return ", ".join(missing)

    def traces(self, host: Host) -> List[Difference]:
        entry = host.marker.get(self.key)
        return [difference("remove", "package %s" % name) for name in (entry or {}).get("ours", [])]

    def remove(self, host: Host) -> str:
        entry = host.marker.get(self.key)
        if entry is None:
            return ""
        provider = provider_of(host)
        present = [name for name in entry["ours"] if is_installed(host, provider, name)]
        if present:
            uninstall(host, provider, present)
        host.marker.drop(self.key)
        return ", ".join(present)

    def _names(self) -> List[str]:
        name = self.params["name"]
        return sorted(name) if isinstance(name, list) else [name]

    def _missing(self, host: Host) -> List[str]:
        provider = provider_of(host)
        return [name for name in self._names() if not is_installed(host, provider, name)]


def provider_of(host: Host) -> str:
    """Return the package manager of this host; Failure if it has none that we know."""
    import shutil

    for provider in PROVIDERS:
        if shutil.which(provider) or (provider == "brew" and _brew()):
            return provider
    raise Failure("no package manager that we know is on this host", "known are: " + ", ".join(PROVIDERS))


def is_installed(host: Host, provider: str, name: str) -> bool:
    code, output = host.platform.run(_command(host, [*PROVIDERS[provider]["query"], name]))
    return code == 0 and (provider != "apt-get" or output.startswith("ii"))


def all_installed(host: Host, provider: str) -> List[str]:
    """Return the names of all packages of the host."""
    code, output = host.platform.run(_command(host, PROVIDERS[provider]["list"]))
    return output.split() if code == 0 else []


def install(host: Host, provider: str, names: List[str]) -> None:
    """Install; where that fails, once more with fresh lists: a bare host often has none. Failure if that fails, too."""
    commands = PROVIDERS[provider]
    try:
        _run(host, commands["install"], names)
    except Failure:
        if "refresh" not in commands:
            raise
        host.doing("fetching the lists of packages")
        _run(host, commands["refresh"], [])
        _run(host, commands["install"], names)


def uninstall(host: Host, provider: str, names: List[str]) -> None:
    _run(host, PROVIDERS[provider]["remove"], names)


def dragged_along(host: Host, provider: str, names: List[str]) -> List[str]:
    """Return the other packages that would go with these, because they need them; where that can't be asked, none."""
    if provider != "apt-get":
        return []
    output = host.platform.run(["apt-get", "purge", "--simulate", *names], LIMIT)[1]
    going = [line.split()[1] for line in output.splitlines() if line.startswith(("Purg ", "Remv "))]
    return sorted(set(going) - set(names))


def _run(host: Host, argv: List[str], names: List[str]) -> None:
    command = _command(host, [*argv, *names])
    code, output = host.platform.run(command, LIMIT, {"DEBIAN_FRONTEND": "noninteractive"})
    if code:
        last = " / ".join(output.strip().splitlines()[-3:])
        raise Failure("%s failed: %s" % (" ".join([*argv, *names]), last))


def _command(host: Host, argv: List[str]) -> List[str]:
    """Return a command as this host takes it: Homebrew is not on every PATH, and refuses root (docs.brew.sh/FAQ)."""
    if argv[0] != "brew":
        return argv
    brew = _brew() or "brew"
    as_owner = ["/usr/bin/sudo", "-H", "-u", host.platform.owner(brew)] if host.platform.privileged() else []
    return [*as_owner, brew, *argv[1:]]


def _brew() -> Optional[str]:
    import shutil

    return shutil.which("brew", path="/opt/homebrew/bin:/usr/local/bin")


PROVIDERS = {
    "apt-get": {
        "query": ["dpkg-query", "--showformat=${db:Status-Abbrev}", "--show"],
        "list": ["dpkg-query", "--showformat=${Package}\n", "--show"],
        "refresh": ["apt-get", "update", "--quiet"],
        "install": ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends"],
        "remove": ["apt-get", "purge", "--yes", "--quiet"],
    },
    "dnf": {
        "query": ["rpm", "--query"],
        "list": ["rpm", "--query", "--all", "--queryformat=%{NAME}\n"],
        "install": ["dnf", "install", "--assumeyes"],
        "remove": ["dnf", "remove", "--assumeyes"],
    },
    "zypper": {
        "query": ["rpm", "--query"],
        "list": ["rpm", "--query", "--all", "--queryformat=%{NAME}\n"],
        "install": ["zypper", "--non-interactive", "install"],
        "remove": ["zypper", "--non-interactive", "remove"],
    },
    "pacman": {
        "query": ["pacman", "-Q"],
        "list": ["pacman", "-Qq"],
        "install": ["pacman", "-S", "--noconfirm", "--needed"],
        "remove": ["pacman", "-Rs", "--noconfirm"],
    },
    "apk": {
        "query": ["apk", "info", "--installed"],
        "list": ["apk", "info"],
        "refresh": ["apk", "update"],
        "install": ["apk", "add", "--no-progress"],
        "remove": ["apk", "del", "--no-progress"],
    },
    "brew": {
        "query": ["brew", "list", "--versions", "--formula"],
        "list": ["brew", "list", "--formula", "-1"],
        "install": ["brew", "install", "--formula", "--quiet"],
        "remove": ["brew", "uninstall", "--formula", "--quiet"],
    },
}
"""How each package manager is asked; the first one found is used."""
