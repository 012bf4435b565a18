"""Which interpreters there are to bring to hosts, by uv's own catalogue, without asking uv every time.

uv carries the catalogue and needs no network for it, but 70 ms to be found and to tell. So the answer is kept in the
cache, and uv is only asked again if a version is not in it: a catalogue grows, what is in it once stays.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from provisioner.artifacts.cache import Cache
from provisioner.artifacts.program import REINSTALL, run_uv
from provisioner.errors import ProvisionError
from provisioner.ray.version import Version, parse

LIMIT = 60.0
"""Seconds that uv may take to tell."""
_NAME = "archives"
_LIST = ("python", "list", "--all-versions", "--all-platforms", "--all-arches", "--only-downloads")
_PLAIN = ("--output-format", "json", "--no-config", "--no-cache", "--offline", "--color", "never")
ELSEWHERE = ("UV_PYTHON_DOWNLOADS_JSON_URL", "UV_PYTHON_INSTALL_MIRROR", "UV_PYTHON_CPYTHON_BUILD")
"""uv's settings that may have another catalogue hold, or a part of its own."""


class KnownArchives:
    """The versions of CPython that uv can fetch, by OS and processor (glibc on Linux).

    Args:
        cache: where the answer is kept.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._fresh: dict[str, list[str]] | None = None

    def has(self, os: str, arch: str, python: Version) -> bool:
        """Tell whether there is an archive of that exact version.

        Raises:
            ProvisionError: uv had to be asked and can't be used.
        """
        text = ".".join(map(str, python))
        return text in self._kept().get(f"{os}-{arch}", ()) or python in self.versions(os, arch)

    def versions(self, os: str, arch: str) -> frozenset[Version]:
        """Return every version there is an archive of, as the uv of this machine knows it.

        Raises:
            ProvisionError: uv can't be used.
        """
        if self._fresh is None:
            self._fresh = _ask()
            self._keep(self._fresh)
        return frozenset(map(parse, self._fresh.get(f"{os}-{arch}", ())))

    def _kept(self) -> Mapping[str, list[str]]:
        if self._fresh is not None:
            return self._fresh
        try:
            known = json.loads(self._cache.read_lock(_NAME) or "{}")
        except ValueError:
            return {}
        return known if isinstance(known, dict) else {}

    def _keep(self, fresh: dict[str, list[str]]) -> None:
        try:
            self._cache.write_lock(_NAME, json.dumps(fresh))
        except ProvisionError:
            return  # it is only asked again


def has_say(mirror: str | None, environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether uv's own catalogue says what there is; not if the user has another one, or chose a part of it.

    Args:
        mirror: the mirror of the inventory, if any.
        environment: holds uv's settings.
    """
    if not mirror and not any(environment.get(name) for name in ELSEWHERE):
        return True
    from provisioner.artifacts.catalogue import Origin

    origin = Origin.of(mirror, environment)
    return origin.catalogue is None and origin.build is None


def _ask() -> dict[str, list[str]]:
    """Return uv's answer: released versions of CPython by ``os-arch``, oldest first."""
    import tempfile
    from subprocess import SubprocessError

    # the user's settings of uv would hide what they forbid, or ask another catalogue
    plain = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    try:
        with tempfile.TemporaryDirectory(prefix="provision-") as nowhere:
            done = run_uv([*_LIST, *_PLAIN], environment=plain, folder=Path(nowhere), limit=LIMIT)
        done.check_returncode()
        found: dict[str, set[Version]] = {}
        for row in json.loads(done.stdout):
            if _is_plain(row):
                found.setdefault(f"{row['os']}-{row['arch']}", set()).add(parse(row["version"]))
    except (SubprocessError, ValueError, KeyError, TypeError) as error:
        raise ProvisionError(f"uv does not tell which interpreters there are: {error}", remedy=REINSTALL) from error
    return {key: [".".join(map(str, version)) for version in sorted(versions)] for key, versions in found.items()}


def _is_plain(row: Mapping[str, str]) -> bool:
    """Tell whether that is a released CPython as hosts get it: no free-threaded one, no musl, no alpha."""
    usual = row["implementation"] == "cpython" and row["variant"] == "default" and row["libc"] in ("gnu", "none")
    return usual and row["version"].replace(".", "").isdigit()
