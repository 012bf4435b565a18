"""Converts the groups of values of a host and of the cluster: ``python``, ``ssh``, ``ray``, ``artifacts`` ..."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from provisioner.errors import Place
from provisioner.inventory import values
from provisioner.inventory.document import Document, Step
from provisioner.inventory.model import ArtifactOptions, Index, MissingSecret
from provisioner.inventory.problems import Problems
from provisioner.inventory.values import BadValue

HEAD_ONLY = frozenset(
    {
        "port",
        "ray_client_server_port",
        "include_dashboard",
        "dashboard_host",
        "dashboard_port",
        "proxy_server_url",
        "system_config",
        "redis_username",
        "redis_shard_ports",
        "autoscaling_config",
        "no_monitor",
    }
)
CLUSTER_ONLY = frozenset({"version", "auth", "tls"})
"""What all nodes must have in common."""
ONE_HOST_ONLY = frozenset({"node_ip", "node_name"})

_SIZES = frozenset({"memory", "object_store_memory", "system_reserved_memory"})
_FILES = frozenset({"key", "known_hosts", "config"})
_SECRETS = frozenset({"passphrase", "password", "become_password"})
_SEPARATE = frozenset({"labels", "resources", "env", *CLUSTER_ONLY})
_AUTH = frozenset({"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"})


@dataclass
class Settings:
    """What one level of the inventory (the cluster, or one host) says, converted."""

    plain: dict[str, Any] = field(default_factory=dict)
    """os, arch, glibc, packages, become, become_password, root, service, account: replaced by the host's."""
    python: dict[str, Any] = field(default_factory=dict)
    ssh: dict[str, Any] = field(default_factory=dict)
    ray: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    resources: dict[str, float] = field(default_factory=dict)
    env: dict[str, Any] = field(default_factory=dict)
    vars: dict[str, Any] = field(default_factory=dict)

    def over(self, base: Settings) -> Settings:
        """These settings laid over others, key by key."""
        return Settings(**{name: {**getattr(base, name), **own} for name, own in vars(self).items()})


class Reader:
    """Reads settings out of a document, noting what is wrong with them."""

    def __init__(self, document: Document, environ: Mapping[str, str], problems: Problems) -> None:
        self._document = document
        self._folder = document.file.absolute().parent
        self._environ = environ
        self._problems = problems

    def settings(self, *path: Step) -> Settings:
        """Convert the settings of the mapping at a path."""
        mapping = self._mapping(path)
        ray = self._mapping((*path, "ray"))
        plain = {key: mapping[key] for key in _PLAIN if key in mapping}
        service = self._mapping((*path, "service"))
        read = self._section
        return Settings(
            plain={**read(plain, path, self._plain), **self._service(service, plain, (*path, "service"))},
            python=read(*self._python_at(path), self._python),
            ssh=read(self._mapping((*path, "ssh")), (*path, "ssh"), self._ssh),
            ray=read({key: value for key, value in ray.items() if key not in _SEPARATE}, (*path, "ray"), self._ray),
            labels=read(ray.get("labels", {}), (*path, "ray", "labels"), lambda _, value: values.as_text(value)),
            resources=read(ray.get("resources", {}), (*path, "ray", "resources"), lambda _, value: value),
            env=read(ray.get("env", {}), (*path, "ray", "env"), self._env),
            vars=read(mapping.get("vars", {}), (*path, "vars"), self._var),
        )

    def _mapping(self, path: tuple[Step, ...]) -> Mapping[str, Any]:
        value = self._document.value
        for step in path:
            value = value.get(step) if isinstance(value, Mapping) else None
        return value if isinstance(value, Mapping) else {}

    def _section(
        self, section: Mapping[str, Any], path: tuple[Step, ...], convert: Callable[[str, Any], Any]
    ) -> dict[str, Any]:
        converted = {}
        for key, value in section.items():
            try:
                converted[key] = convert(key, value)
            except BadValue as error:
                self._problems.add(str(error), self._document.place(*path, key))
        return converted

    def _python_at(self, path: tuple[Step, ...]) -> tuple[Mapping[str, Any], tuple[Step, ...]]:
        """Return what a level says of Python, whichever of the two forms it has, and where."""
        short = self._mapping(path).get("python")
        return ({"version": short}, path) if isinstance(short, str) else (self._mapping((*path, "python")), path)

    def _python(self, key: str, value: str) -> str:
        return values.place_url(value, self._folder) if key == "mirror" else value

    def _service(self, given: Mapping[str, Any], beside: Mapping[str, Any], path: tuple[Step, ...]) -> dict[str, Any]:
        """Convert the long form of ``service``. A level that names an account never takes another level's password."""
        if "account" in given and "account" in beside:
            remedy = "keep one of them"
            self._problems.add("the account is given twice, here and beside", self._document.place(*path), remedy)
        account = given.get("account", beside.get("account"))
        named = {"account": account, "account_password": None} if account else {}
        password = self._section({key: given[key] for key in ("password",) if key in given}, path, self._plain)
        found = {"account_password": password["password"]} if "password" in password else {}
        return {**({"service": given.get("manager", "auto")} if given else {}), **named, **found}

    def artifacts(self) -> ArtifactOptions:
        """Convert the section ``artifacts`` of the cluster."""
        section = self._mapping(("artifacts",))
        return ArtifactOptions(**self._section(section, ("artifacts",), self._artifact))

    def _artifact(self, key: str, value: Any) -> Any:
        if key == "index":
            return self._index(value, self._document.place("artifacts", key))
        if key == "extra_indexes":
            return tuple(
                self._index(index, self._document.place("artifacts", key, at)) for at, index in enumerate(value)
            )
        if key == "find_links":
            return tuple(values.place_url(text, self._folder) for text in value)
        if key == "constraints":
            return tuple(values.existing_file(text, self._folder) for text in value)
        return tuple(value) if key == "sdists" else value

    def _index(self, value: str | Mapping[str, Any], place: Place) -> Index:
        given: Mapping[str, Any] = {"url": value} if isinstance(value, str) else value
        values.forbid_credentials(given["url"])
        try:
            password = self.secret(given["password"]) if "password" in given else None
        except BadValue as error:  # with a bundle, and to tear down, nobody asks the index
            password = MissingSecret(str(error), place)
        return Index(given["url"], given.get("username"), password)

    def _plain(self, key: str, value: Any) -> Any:
        if key == "packages":
            return _packages(value)
        return self.secret(value) if key in _SECRETS else value

    def _ssh(self, key: str, value: Any) -> Any:
        if key in _FILES:
            return values.existing_file(value, self._folder)
        return self.secret(value) if key in _SECRETS else value

    def _ray(self, key: str, value: Any) -> Any:
        if key in _SIZES:
            return values.size_in_bytes(value)
        if key == "worker_ports":
            return values.worker_ports(value)
        return value

    def _env(self, name: str, value: Any) -> Any:
        if name.upper() in _AUTH:
            raise BadValue(f"{name} is set for every node by `ray: {{auth: token}}` or `ray: {{auth: none}}`")
        return self.secret(value) if isinstance(value, Mapping) else values.as_text(value)

    def secret(self, spec: Mapping[str, str]) -> Any:
        """Read a secret; BadValue if it can't be."""
        return values.read_secret(spec, self._folder, self._environ)

    @staticmethod
    def _var(_: str, value: Any) -> Any:
        values.forbid_secret(value)
        return value


_PLAIN = ("os", "arch", "glibc", "packages", "become", "become_password", "root", "service", "account")


def _packages(requirements: list[str]) -> tuple[str, ...]:
    """Return the requirements, if pip could read each; the parser is loaded only where there are some."""
    from packaging.requirements import InvalidRequirement, Requirement

    for requirement in requirements:
        try:
            url = Requirement(requirement).url
        except InvalidRequirement as error:
            raise BadValue(f"'{requirement}' is no requirement: {str(error).splitlines()[0]}") from None
        values.forbid_credentials(url or "")
        if requirement.lower().split("[")[0].split("=")[0].strip() == "ray":
            raise BadValue("Ray itself is not a package of the inventory; its version is 'ray: {version: ...}'")
    return tuple(requirements)
