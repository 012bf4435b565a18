"""All locks of a cluster: what ``inventory.lock.yml`` and a bundle hold, and whether it fits an inventory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from provisioner.artifacts.interpreter import Archive
from provisioner.artifacts.lock import Lock, Sdist, Wheel
from provisioner.artifacts.platform import Platform
from provisioner.errors import HostFailed
from provisioner.inventory.lockfile import FORMAT
from provisioner.inventory.model import Host, Inventory
from provisioner.ray.start import requirements

Where = tuple[str | int, ...]


@dataclass(frozen=True, order=True)
class Need:
    """What hosts need that are the same as far as packages go."""

    platform_key: str
    python: str
    requirements: tuple[str, ...]
    platform: Platform = field(compare=False)

    @property
    def what(self) -> str:
        """The platform and the Python, as a user would say it."""
        return f"{self.platform_key}, Python {self.python}"


@dataclass(frozen=True)
class Locked:
    """What hosts with one need get.

    Args:
        requirements: what was asked for.
        lock: the packages.
        environment: names the environment on hosts.
        interpreter: None if none is brought to them.
    """

    requirements: tuple[str, ...]
    lock: Lock
    environment: str
    interpreter: Archive | None = None


class BadLock(ValueError):
    """What a lock holds can't be right; ``path`` leads to where."""

    def __init__(self, message: str, path: Where) -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True)
class LockSet:
    """Locks by what hosts need.

    Args:
        environments: each of another need.
        constraints: names what the inventory's constraints said when this was made; empty: there were none.
        name: the file it comes from, for messages.
        renewal: what to do if it does not fit, for messages.
    """

    environments: tuple[Locked, ...] = ()
    constraints: str = ""
    name: str = field(default="", compare=False)
    renewal: str = field(default="", compare=False)

    def find(self, platform_key: str, python: str, wanted: Iterable[str]) -> Locked | None:
        """Return what was locked for these requirements, if anything was."""
        needed = _normal(wanted)
        for each in self.environments:
            if _identity(each) == (platform_key, python, needed):
                return each
        return None

    def interpreter(self, os: str, arch: str, version: str) -> Archive | None:
        """Return the archive of an interpreter, if there is one for such hosts."""
        archives = (each.interpreter for each in self.environments if each.interpreter)
        wanted = (f"{os}-{arch}", version)
        return next((archive for archive in archives if (archive.platform_key, archive.version) == wanted), None)

    def lock_for(self, actual: Platform, declared: Platform, python: str, wanted: Iterable[str]) -> Lock:
        """Return what a host gets.

        Args:
            actual: the platform that the host reports.
            declared: the platform that it was locked for.
            python: the exact version of its Python.
            wanted: its requirements.

        Raises:
            HostFailed: nothing was locked for such a host.
        """
        if not declared.fits(actual):
            older = (actual.os, actual.arch) == (declared.os, declared.arch) == ("macos", actual.arch)
            raise HostFailed(
                f"this host is {actual.key}, and {self.name} was made for {declared.key}",
                remedy=f"upgrade it to macOS {declared.macos_level}, or run without {self.name}"
                if older
                else f"write {_declaration(actual, declared)} for it in the inventory, then {self.renewal}",
            )
        found = self.find(declared.key, python, wanted)
        if found is None:
            need = Need(declared.key, python, _normal(wanted), declared)
            near = [each.lock.python for each in self.environments if each.lock.platform_key == declared.key]
            own = near and python not in near
            raise HostFailed(
                f"{self.name} does not fit this host: {self._difference(need)}",
                remedy=f"write `python: {{version: {python}}}` for this host in the inventory, then {self.renewal}"
                if own
                else self.renewal,
            )
        return found.lock

    def interpreter_for(self, platform: Platform, version: str) -> Archive:
        """Return the interpreter that is brought to a host; HostFailed if there is none for it."""
        found = self.interpreter(platform.os, platform.arch, version)
        if found is None:
            raise HostFailed(
                f"{self.name} holds no Python {version} for {platform.os} {platform.arch}",
                remedy=f"write {_declaration(platform)} for this host in the inventory, then {self.renewal}",
            )
        return found

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data, sorted, as it is read by users."""
        limits = {"constraints": self.constraints} if self.constraints else {}
        ordered = sorted(
            self.environments, key=lambda each: (each.lock.platform_key, each.lock.python, each.requirements)
        )
        return {"format": FORMAT, **limits, "environments": [_environment_data(each) for each in ordered]}

    @classmethod
    def from_data(cls, data: Mapping[str, Any], name: str = "", renewal: str = "") -> LockSet:
        """Read what to_data returned; for the rest see the class.

        Raises:
            BadLock: it was changed by hand or cut off. Its shape must have been checked before.
        """
        found = [_environment(each, ("environments", at)) for at, each in enumerate(data["environments"])]
        return cls(tuple(found), data.get("constraints", ""), name, renewal)

    def misfit(self, inventory: Inventory, constraints: str) -> str:
        """Return in a sentence why this is not what an inventory needs; empty if it is.

        Args:
            inventory: the cluster.
            constraints: names what the inventory's constraints say now.
        """
        for need, hosts in needs(inventory).items():
            found = self.find(need.platform_key, need.python, need.requirements)
            if found is None:
                return f"{self._difference(need)} (wanted for {_few(hosts)})"
            if found.interpreter is None and any(host.interpreter.source == "managed" for host in hosts):
                return f"it holds no interpreter for {need.what} (wanted for {_few(hosts)})"
        return "the constraints have changed since" if constraints != self.constraints else ""

    def _difference(self, need: Need) -> str:
        """Say what is missing for a need."""
        near = [each for each in self.environments if each.lock.platform_key == need.platform_key]
        if not near:
            known = ", ".join(sorted({each.lock.platform_key for each in self.environments}))
            return f"it holds nothing for {need.platform_key}, only for {known}"
        same = [each for each in near if each.lock.python == need.python]
        if not same:
            known = ", ".join(sorted({each.lock.python for each in near}))
            return f"it holds nothing for Python {need.python} on {need.platform_key}, only for {known}"
        closest = min(same, key=lambda each: len(set(each.requirements) ^ set(need.requirements)))
        more = sorted(set(need.requirements) - set(closest.requirements))
        less = sorted(set(closest.requirements) - set(need.requirements))
        said = [f"without {', '.join(more)}" if more else "", f"with {', '.join(less)}" if less else ""]
        return f"its packages for {need.what} were locked {' and '.join(part for part in said if part)}"


def needs(inventory: Inventory) -> dict[Need, list[Host]]:
    """Return what the hosts of an inventory need, as far as can be known without asking them, in order.

    Raises:
        HostFailed: there is no Ray for a host.
    """
    found: dict[Need, list[Host]] = {}
    for host in inventory.hosts:
        found.setdefault(need_of(host, inventory), []).append(host)
    return dict(sorted(found.items()))


def need_of(host: Host, inventory: Inventory) -> Need:
    """Return what one host needs."""
    platform = Platform.of_host(host)
    return Need(platform.key, host.python, _normal(requirements(host, inventory)), platform)


def _identity(each: Locked) -> tuple[str, str, tuple[str, ...]]:
    return each.lock.platform_key, each.lock.python, each.requirements


def _normal(wanted: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({requirement.strip() for requirement in wanted}))


def _few(hosts: list[Host]) -> str:
    names = [host.name for host in hosts]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _declaration(actual: Platform, declared: Platform | None = None) -> str:
    """Return what declares a platform in an inventory, in place of what was declared or assumed."""
    said = {"os": actual.os, "arch": actual.arch}
    if actual.os == "linux":
        said["glibc"] = f'"2.{actual.glibc_level}"'
    if declared:
        before = {"os": declared.os, "arch": declared.arch, "glibc": '"2.28"'}
        said = {key: value for key, value in said.items() if value != before[key]}
    return "`" + ", ".join(f"{key}: {value}" for key, value in said.items()) + "`"


def _environment_data(each: Locked) -> dict[str, Any]:
    archive = each.interpreter
    brought = {"interpreter": _file_data(archive)} if archive else {}
    return {
        "platform": each.lock.platform_key,
        "python": each.lock.python,
        "environment": each.environment,
        "digest": each.lock.digest,
        "requirements": list(each.requirements),
        **brought,
        "uv": _wheel_data(each.lock.uv),
        "packages": {wheel.name: _wheel_data(wheel) for wheel in each.lock.wheels},
    }


def _wheel_data(wheel: Wheel) -> dict[str, Any]:
    built = {"sdist": _file_data(wheel.sdist)} if wheel.sdist else {}
    return {"version": wheel.version, **_file_data(wheel), **built}


def _file_data(file: Wheel | Sdist | Archive) -> dict[str, Any]:
    known = {"file": file.filename, "sha256": file.sha256, "size": file.size}
    return {**known, "url": file.url} if file.url else known


def _environment(data: Mapping[str, Any], path: Where) -> Locked:
    wheels = [_wheel(name, wheel) for name, wheel in data["packages"].items()]
    lock = Lock.of(data["platform"], data["python"], wheels, _wheel("uv", data["uv"]))
    if lock.digest != data["digest"]:
        raise BadLock("these packages were changed by hand or are not all there: they do not match `digest`", path)
    archive = None
    if "interpreter" in data:
        system = "-".join(lock.platform_key.split("-")[:2])
        archive = Archive(version=lock.python, platform_key=system, **_file(data["interpreter"]))
    return Locked(tuple(data["requirements"]), lock, data["environment"], archive)


def _wheel(name: str, data: Mapping[str, Any]) -> Wheel:
    sdist = Sdist(**_file(data["sdist"])) if "sdist" in data else None
    return Wheel(name=name, version=data["version"], **_file(data), sdist=sdist)


def _file(data: Mapping[str, Any]) -> dict[str, Any]:
    return {"filename": data["file"], "sha256": data["sha256"], "size": data["size"], "url": data.get("url", "")}
