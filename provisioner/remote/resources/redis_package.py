"""The Redis server that a host's own packages bring, or that is there already; Valkey counts, which is Redis 7.2 under
the name that many systems have it by now."""

from __future__ import annotations

from provisioner.remote.resources.server_package import ServerPackage

PACKAGE = ServerPackage(
    "a Redis server",
    programs=("redis-server", "valkey-server"),
    packages={
        "apt-get": ("redis-server", "valkey-server"),
        "dnf": ("redis", "valkey"),
        "zypper": ("redis", "valkey"),
        "apk": ("redis", "valkey"),
        "pacman": ("valkey", "redis"),
        "brew": ("redis", "valkey"),
    },
    units=("redis-server", "redis", "valkey-server", "valkey"),
)
find = PACKAGE.find
wanted = PACKAGE.wanted
install = PACKAGE.install
remove = PACKAGE.remove
