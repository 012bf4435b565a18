"""A lock: the exact files that make up an environment on one platform with one Python."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

FORMAT = 2
"""Raised when what a lock holds changes its meaning: older ones are then made anew."""


@dataclass(frozen=True)
class Sdist:
    """The source archive that a wheel was built from on this machine."""

    filename: str
    sha256: str
    size: int
    """In bytes; 0 if the package index does not say."""
    url: str


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
    """Where it comes from, never with credentials; empty if it was built here."""
    sdist: Sdist | None = None


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
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Lock:
        """Read what to_json wrote; ValueError if it is anything else."""
        try:
            data: dict[str, Any] = json.loads(text)
            if data.pop("format") != FORMAT:
                raise ValueError("made by another version of the provisioner")
            wheels = tuple(_wheel(wheel) for wheel in data.pop("wheels"))
            lock = cls(wheels=wheels, uv=_wheel(data.pop("uv")), **data)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a lock: {error!r}") from error
        if lock != cls.of(lock.platform_key, lock.python, lock.wheels, lock.uv):
            raise ValueError("the lock was changed")
        return lock

    @classmethod
    def of(cls, platform_key: str, python: str, wheels: Iterable[Wheel], uv: Wheel) -> Lock:
        """Return the lock of these wheels."""
        chosen = tuple(sorted(wheels, key=lambda wheel: wheel.name))
        lines = "".join(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n" for wheel in chosen)
        family = "-".join(platform_key.split("-")[:2])
        digest = hashlib.sha256(f"{family}\n{python}\n{lines}".encode()).hexdigest()
        return cls(platform_key, python, lines, chosen, uv, digest)


def _wheel(data: dict[str, Any]) -> Wheel:
    sdist = data.pop("sdist")
    return Wheel(**data, sdist=Sdist(**sdist) if sdist else None)
