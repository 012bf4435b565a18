"""The inventory as the rest of the program sees it: frozen, complete, with every default filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from provisioner.errors import InputError, Place

Role = Literal["head", "worker"]
Auth = Literal["token", "none"]
ServiceManager = Literal["auto", "systemd", "systemd-user", "process", "task", "launchd"]


class Secret:
    """A value that must never be printed: it shows as ``***`` wherever it is formatted.

    Args:
        value: the secret itself.
        source: where it came from, for messages: ``from_env: NAME`` or ``from_file: path``.
    """

    __slots__ = ("_value", "source")

    def __init__(self, value: str, source: str) -> None:
        self._value = value
        self.source = source

    def reveal(self) -> str:
        """Return the secret itself; the caller must not print or store it."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret(*** {self.source})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))


class MissingSecret(Secret):
    """A secret that could not be read, and is not needed by every command: whoever needs it hears why.

    Args:
        why: what a user should hear.
        place: where the inventory asks for it.
    """

    __slots__ = ("_why",)

    def __init__(self, why: str, place: Place | None) -> None:
        super().__init__("", "missing")
        self._why = InputError(why, place=place)

    def reveal(self) -> str:
        """Raise the InputError that says why."""
        raise self._why


@dataclass(frozen=True)
class Ssh:
    """How a host is reached. Whatever is None is left to ssh_config, the ssh-agent and OpenSSH's defaults."""

    user: str | None = None
    port: int | None = None
    key: Path | None = None
    passphrase: Secret | None = None
    password: Secret | None = None
    jump: str | None = None
    """``[user@]host[:port]`` of a jump host, several separated by commas (as in ssh -J)."""
    known_hosts: Path | None = None
    """A file of host keys to trust beside the user's own known_hosts."""
    config: Path | None = None
    """An ssh_config file to read in place of ~/.ssh/config."""


@dataclass(frozen=True)
class RayOptions:
    """What one node is started with: every option of ``ray start`` a node can take, named as Ray names it.

    ``options`` holds the options that were given, by their inventory name (``num_cpus``, ``object_store_memory``
    in bytes, ``temp_dir`` ...); ports are completed from ``first_port`` by ``provisioner.ray.ports``.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, float] = field(default_factory=dict)
    env: Mapping[str, str | Secret] = field(default_factory=dict)
    """Environment variables of every Ray process on the node."""


@dataclass(frozen=True)
class Interpreter:
    """Which Python a host uses beside its version, and where it comes from."""

    source: str = "managed"
    """``managed``: brought to the host; ``system``: found there; else the path of the interpreter on the host."""
    match: Literal["exact", "minor"] = "exact"
    """``minor``: the host may have another patch version of the same minor."""
    mirror: str | None = None
    """URL (file:, http: or https:) of a mirror of python-build-standalone's releases."""


@dataclass(frozen=True)
class Index:
    """A package index. ``url`` never holds credentials."""

    url: str
    username: str | None = None
    password: Secret | None = None


@dataclass(frozen=True)
class FixedPackages:
    """The packages that were settled for a host before a run."""

    environment: str
    """Names the environment on the host."""
    digest: str
    """Names the packages."""


@dataclass(frozen=True)
class ArtifactOptions:
    """Where packages come from, on top of the user's own settings of uv, and how files reach the hosts."""

    mirror: str = "head"
    """Who hands files to the other hosts: ``head``, ``none`` or a host's name."""
    port: int = 0
    """TCP port on which it does; 0: any free one."""
    index: Index | None = None
    """In place of PyPI."""
    extra_indexes: tuple[Index, ...] = ()
    find_links: tuple[str, ...] = ()
    """URLs, or absolute paths of folders."""
    constraints: tuple[Path, ...] = ()
    sdists: tuple[str, ...] = ()
    """Names of packages that may be built from source."""

    @property
    def indexes(self) -> tuple[Index, ...]:
        """Every index that is named, in place of PyPI or beside it."""
        return (*self.extra_indexes, *((self.index,) if self.index else ()))


@dataclass(frozen=True)
class Redis:
    """The Redis server in which the head keeps the cluster's state."""

    host: str | None = None
    """Name of the host that runs one of the cluster's own; None: it is somebody else's."""
    address: str = ""
    """IP address or DNS name of somebody else's, as the head reaches it."""
    port: int = 0
    password: Secret | None = None
    """None: made on the host; somebody else's has none."""


@dataclass(frozen=True)
class Grafana:
    """Somebody's Grafana, whose panels Ray's dashboard shows."""

    url: str
    """As the head reaches it."""
    browser: str
    """As the browser does that shows the dashboard."""
    datasource: str
    """Name of the data source there that is the cluster's Prometheus."""


@dataclass(frozen=True)
class Metrics:
    """Where the cluster's metrics are collected and shown."""

    prometheus: str = ""
    """URL of somebody's Prometheus, as the head reaches it; empty: the cluster has its own."""
    host: str | None = None
    """Name of the host that runs the cluster's own."""
    port: int = 0
    """Of the cluster's own."""
    grafana: Grafana | None = None


@dataclass(frozen=True)
class Host:
    """One machine of the inventory, with the cluster-wide values already merged in."""

    name: str
    role: Role
    address: str
    """IP address or DNS name under which the host is reached; defaults to its name."""
    python: str
    """The exact version, such as ``3.11.9``; with ``interpreter.match`` minor, the preferred one."""
    packages: tuple[str, ...]
    """Requirements installed beside ``ray[default]`` and ``redis``, as pip writes them."""
    ray: RayOptions
    interpreter: Interpreter = Interpreter()
    os: str | None = None
    """``linux``, ``macos`` or ``windows``; None: not declared."""
    arch: str | None = None
    """``x86_64`` or ``aarch64``; None: not declared."""
    glibc: str | None = None
    """The oldest glibc, such as ``2.17``, that packages are chosen for; None: not declared."""
    ssh: Ssh = Ssh()
    become: bool = False
    """Work as root through sudo."""
    become_password: Secret | None = None
    service: ServiceManager = "auto"
    """What keeps Ray running; ``auto``: systemd, a LaunchDaemon, a scheduled task, else a supervised process."""
    account: str | None = None
    """The account Ray runs under; None: the one that logs in."""
    account_password: Secret | None = None
    """That account's, where the system must know it to run anything under it (Windows)."""
    root: str | None = None
    """Folder on the host for all that is ours; None: chosen on the host."""
    groups: tuple[str, ...] = ()
    keeps_redis: bool = False
    """Whether the cluster's own Redis runs here."""
    runs_prometheus: bool = False
    """Whether the cluster's own Prometheus runs here."""
    vars: Mapping[str, Any] = field(default_factory=dict)
    fixed: FixedPackages | None = None
    """What a lock file or a bundle gives it; None: a run finds packages by itself."""
    place: Place | None = None
    """Where the inventory declares it."""

    @property
    def selectors(self) -> frozenset[str]:
        """Every word by which a play or --limit can mean this host: its name, its groups, its role, ``all``,
        ``redis-host`` and ``prometheus-host``."""
        servers = {"redis-host": self.keeps_redis, "prometheus-host": self.runs_prometheus}
        own = [name for name, is_here in servers.items() if is_here]
        return frozenset({"all", "head" if self.role == "head" else "workers", self.name, *own, *self.groups})


@dataclass(frozen=True)
class Logins:
    """How the inventory has all its hosts reached, not one of them, with the passwords for that."""

    ssh: Ssh = Ssh()
    become_password: Secret | None = None


@dataclass(frozen=True)
class Inventory:
    """A whole cluster: one head and any number of workers.

    ``hosts`` starts with the head and keeps the file's order.
    """

    cluster: str
    ray_version: str
    hosts: tuple[Host, ...]
    file: Path
    vars: Mapping[str, Any] = field(default_factory=dict)
    artifacts: ArtifactOptions = ArtifactOptions()
    tls: bool = False
    """Whether Ray's nodes talk to each other, and to drivers, through TLS only (gRPC; the dashboard's HTTP is not part
    of it)."""
    keep: int = 2
    """Old environments that stay on a host beside the one in use."""
    redis: Redis | None = None
    """None: the cluster's state ends with its head."""
    metrics: Metrics | None = None
    """None: nobody collects them, as far as we know."""
    auth: Auth | None = None
    """Whether Ray asks for the cluster's token; None: not declared (see ``ray.auth``)."""
    auth_place: Place | None = None
    """Where that is declared."""
    logins: Logins = Logins()
    """What a host is given that the inventory has dropped: never another host's own."""

    @property
    def head(self) -> Host:
        return self.hosts[0]

    @property
    def workers(self) -> tuple[Host, ...]:
        return self.hosts[1:]

    def host(self, name: str) -> Host:
        """Return the host of that name; KeyError if there is none."""
        return next(host for host in self.hosts if host.name == name)

    def require_logins(self) -> None:
        """Raise an InputError if the password of a package index is missing."""
        for index in self.artifacts.indexes:
            if index.password:
                index.password.reveal()

    def secrets(self) -> tuple[str, ...]:
        """Every secret value of the inventory, for redaction."""
        common = (self.logins.ssh.password, self.logins.ssh.passphrase, self.logins.become_password)
        found = {value.reveal() for value in common if value is not None}
        for host in self.hosts:
            own = (host.ssh.password, host.ssh.passphrase, host.become_password, host.account_password)
            candidates = (*own, *host.ray.env.values())
            found.update(value.reveal() for value in candidates if isinstance(value, Secret))
        if self.redis and self.redis.password:
            found.add(self.redis.password.reveal())
        passwords = [index.password for index in self.artifacts.indexes if index.password]
        found.update(each.reveal() for each in passwords if not isinstance(each, MissingSecret))
        return tuple(sorted(found))
