"""A lock: the exact files that make up an environment on one platform with one Python."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from provisioner.artifacts.addresses import INDEX_VARIABLES, redact, without_credentials
from provisioner.artifacts.cache import Cache
from provisioner.artifacts.platform import Platform
from provisioner.errors import ProvisionError

_FORMAT = 1
"""Raised when what a lock holds changes its meaning: older ones are then made anew."""
_SETTINGS = (
    *INDEX_VARIABLES,
    *("UV_NO_INDEX", "UV_INDEX_STRATEGY", "UV_EXCLUDE_NEWER", "UV_PRERELEASE", "UV_RESOLUTION", "UV_CONSTRAINT"),
    *("UV_OVERRIDE", "UV_TORCH_BACKEND"),
)
"""uv's settings in the environment that change which packages are found, or where."""


@dataclass(frozen=True)
class Wheel:
    """One file to send."""

    name: str
    version: str
    filename: str
    sha256: str
    size: int
    """In bytes; 0 if the package index does not say."""
    url: str
    """Where it comes from, never with credentials."""


@dataclass(frozen=True)
class Lock:
    """All that one environment is made of. ``uv`` is the program that installs it, for the same platform."""

    platform_key: str
    python: str
    requirements: str
    """A requirements file for ``uv pip install --require-hashes``: one line per package, one hash each."""
    wheels: tuple[Wheel, ...]
    uv: Wheel
    digest: str
    """Names the environment: the same content, the same digest, whatever was asked for and whichever uv installs."""

    def to_json(self) -> str:
        """Return the lock as text; see from_json."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Lock:
        """Read what to_json wrote; ValueError if it is anything else."""
        try:
            data: dict[str, Any] = json.loads(text)
            if data.pop("format") != _FORMAT:
                raise ValueError("made by another version of the provisioner")
            wheels = tuple(Wheel(**wheel) for wheel in data.pop("wheels"))
            lock = cls(wheels=wheels, uv=Wheel(**data.pop("uv")), **data)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a lock: {error!r}") from error
        if lock.digest != _digest(lock.platform_key, lock.python, lock.requirements):
            raise ValueError("the lock was changed")
        return lock


def fingerprint(
    platform: Platform, python: str, requirements: Sequence[str], settings: Mapping[str, str] | None = None
) -> str:
    """Return a short name for what a lock is made from; the order of the requirements does not matter.

    Args:
        platform: where the packages will be installed.
        python: the exact version of Python there.
        requirements: what is asked for, as pip writes it.
        settings: uv's settings from the environment, if any; credentials in them do not matter.
    """
    plain = {name: redact(value) for name, value in sorted((settings or {}).items()) if value}
    wanted = sorted({requirement.strip() for requirement in requirements})
    inputs = json.dumps([_FORMAT, platform.key, python, wanted, plain])
    return hashlib.sha256(inputs.encode()).hexdigest()[:32]


def settings_in(environment: Mapping[str, str]) -> dict[str, str]:
    """Return uv's settings that change what a lock holds."""
    return {name: environment[name] for name in _SETTINGS if environment.get(name)}


def resolve_lock(platform: Platform, python_version: str, requirements: tuple[str, ...], cache: Cache) -> Lock:
    """Return the lock of these requirements: from the cache, or made by uv with the package index.

    Raises:
        ProvisionError: there is no such set of packages, or the package index cannot be used.
    """
    name = fingerprint(platform, python_version, requirements, settings_in(os.environ))
    if lock := _cached(cache, name):
        return lock
    with cache.exclusive(cache.lock_file(name).with_suffix(".lock"), what="the list of packages"):
        if lock := _cached(cache, name):
            return lock
        lock = _make(platform, python_version, sorted({requirement.strip() for requirement in requirements}))
        cache.write_lock(name, lock.to_json())
        return lock


def lock_from_pylock(text: str, uv: Wheel, platform: Platform, python: str) -> Lock:
    """Choose, from a pylock.toml made for that platform, the one wheel of each package that fits it best."""
    wheels = wheels_in(text, platform, python)
    lines = "".join(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n" for wheel in wheels)
    return Lock(platform.key, python, lines, wheels, uv, _digest(platform.key, python, lines))


def wheels_in(pylock: str, platform: Platform, python: str) -> tuple[Wheel, ...]:
    """Return the best wheel of each package of a pylock.toml, by name."""
    from provisioner.artifacts.compile import parse_pylock

    chosen = [_choose(name, version, files, platform, python) for name, version, files in parse_pylock(pylock)]
    return tuple(sorted(chosen, key=lambda wheel: wheel.name))


def _cached(cache: Cache, name: str) -> Lock | None:
    text = cache.read_lock(name)
    if text is None:
        return None
    try:
        return Lock.from_json(text)
    except ValueError:
        return None


def _make(platform: Platform, python: str, requirements: list[str]) -> Lock:
    """Lock the packages and, at the same time, find the uv that will install them."""
    from importlib.metadata import version

    from provisioner.artifacts.compile import check_inputs, compile_pylock

    check_inputs(python, requirements)
    with ThreadPoolExecutor(2, thread_name_prefix="lock") as pool:
        packages = pool.submit(compile_pylock, platform, python, requirements)
        tool = pool.submit(compile_pylock, platform, python, [f"uv=={version('uv')}"])
        pylock = packages.result()
        (uv,) = wheels_in(tool.result(), platform, python)
    return lock_from_pylock(pylock, uv, platform, python)


def _choose(name: str, version: str, files: list[dict[str, Any]], platform: Platform, python: str) -> Wheel:
    from provisioner.artifacts.compile import described
    from provisioner.artifacts.tags import best_wheel

    filename = best_wheel([file["filename"] for file in files], platform, python)
    if filename is None:
        target = described(platform, python)
        raise ProvisionError(
            f"{name} {version} has no wheel for {target}, and hosts do not build packages",
            remedy="Choose a version that has one, or build one and name its folder in UV_FIND_LINKS.",
        )
    file = next(file for file in files if file["filename"] == filename)
    if not file["sha256"]:
        raise ProvisionError(
            f"the package index gives no sha256 for {filename}",
            remedy="Use an index that does (PEP 503 or 691), or a folder named in UV_FIND_LINKS.",
        )
    url = without_credentials(file["url"])
    return Wheel(name, version or filename.split("-")[1], filename, file["sha256"], file["size"], url)


def _digest(platform_key: str, python: str, requirements: str) -> str:
    family = "-".join(platform_key.split("-")[:2])
    return hashlib.sha256(f"{family}\n{python}\n{requirements}".encode()).hexdigest()
