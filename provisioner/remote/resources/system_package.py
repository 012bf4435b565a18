"""system_package: packages of the operating system."""

from __future__ import annotations

from provisioner.remote.failure import Failure
from provisioner.remote.resource import Resource, difference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List

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
            self._install(host, PROVIDERS[_provider(host)], missing)
        return ", ".join(missing)

    def traces(self, host: Host) -> List[Difference]:
        entry = host.marker.get(self.key)
        return [difference("remove", "package %s" % name) for name in (entry or {}).get("ours", [])]

    def remove(self, host: Host) -> str:
        entry = host.marker.get(self.key)
        if entry is None:
            return ""
        provider = _provider(host)
        present = [name for name in entry["ours"] if _installed(host, provider, name)]
        if present:
            self._run(host, PROVIDERS[provider]["remove"], present)
        host.marker.drop(self.key)
        return ", ".join(present)

    def _names(self) -> List[str]:
        name = self.params["name"]
        return sorted(name) if isinstance(name, list) else [name]

    def _missing(self, host: Host) -> List[str]:
        provider = _provider(host)
        return [name for name in self._names() if not _installed(host, provider, name)]

    def _install(self, host: Host, provider: Dict[str, List[str]], names: List[str]) -> None:
        """Install; where that fails, once more with fresh lists: a bare host often has none."""
        try:
            self._run(host, provider["install"], names)
        except Failure:
            if "refresh" not in provider:
                raise
            host.doing("fetching the lists of packages")
            self._run(host, provider["refresh"], [])
            self._run(host, provider["install"], names)

    def _run(self, host: Host, argv: List[str], names: List[str]) -> None:
        code, output = host.platform.run([*argv, *names], LIMIT, {"DEBIAN_FRONTEND": "noninteractive"})
        if code:
            last = " / ".join(output.strip().splitlines()[-3:])
            raise Failure("%s failed: %s" % (" ".join([*argv, *names]), last))


def _provider(host: Host) -> str:
    import shutil

    for provider in PROVIDERS:
        if shutil.which(provider):
            return provider
    raise Failure("no package manager that we know is on this host", "known are: " + ", ".join(PROVIDERS))


def _installed(host: Host, provider: str, name: str) -> bool:
    code, output = host.platform.run([*PROVIDERS[provider]["query"], name])
    return code == 0 and (provider != "apt-get" or output.startswith("ii"))


PROVIDERS = {
    "apt-get": {
        "query": ["dpkg-query", "--showformat=${db:Status-Abbrev}", "--show"],
        "refresh": ["apt-get", "update", "--quiet"],
        "install": ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends"],
        "remove": ["apt-get", "purge", "--yes", "--quiet"],
    },
    "dnf": {
        "query": ["rpm", "--query"],
        "install": ["dnf", "install", "--assumeyes"],
        "remove": ["dnf", "remove", "--assumeyes"],
    },
    "zypper": {
        "query": ["rpm", "--query"],
        "install": ["zypper", "--non-interactive", "install"],
        "remove": ["zypper", "--non-interactive", "remove"],
    },
    "pacman": {
        "query": ["pacman", "-Q"],
        "install": ["pacman", "-S", "--noconfirm", "--needed"],
        "remove": ["pacman", "-Rs", "--noconfirm"],
    },
}
"""How each package manager is asked; the first one found is used."""
