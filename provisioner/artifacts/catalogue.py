"""Which interpreters there are, and where uv takes them from: its own catalogue, or a mirror folder's."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from provisioner.artifacts.addresses import redact
from provisioner.artifacts.platform import Platform
from provisioner.artifacts.program import REINSTALL, run_uv
from provisioner.errors import ProvisionError

METADATA = "download-metadata.json"
"""A mirror folder with a file of this name has a catalogue of its own, in the format of uv's."""
LIMIT = 60.0
"""Seconds that uv may take to list what there is; only a catalogue on the web takes more than 0.1."""

_MIRROR, _CATALOGUE, _BUILD = "UV_PYTHON_INSTALL_MIRROR", "UV_PYTHON_DOWNLOADS_JSON_URL", "UV_PYTHON_CPYTHON_BUILD"
_NOT_FOR_US = ("UV_PYTHON", "UV_PYTHON_INSTALL_DIR", "UV_COMPILE_BYTECODE", "UV_NO_MANAGED_PYTHON", "UV_NO_PROGRESS")
"""Settings of the user that are meant for interpreters of this machine, and would break or blur fetching."""


@dataclass(frozen=True)
class Origin:
    """Where archives come from. None stands for uv's own; addresses may hold credentials.

    Args:
        mirror: URL of the releases of python-build-standalone, or of a copy.
        catalogue: URL or path of a list of archives with their checksums.
        build: the release that uv was told to take, if it was.
    """

    mirror: str | None = None
    catalogue: str | None = None
    build: str | None = None

    @classmethod
    def of(cls, mirror: str | None, environment: Mapping[str, str]) -> Origin:
        """Return where archives come from: the inventory's mirror wins over uv's settings in the environment.

        Args:
            mirror: a URL or an existing folder, or None.
            environment: the user's.
        """
        address = mirror or environment.get(_MIRROR) or None
        if address and "://" not in address:
            address = Path(address).expanduser().resolve().as_uri()
        folder = local_path(address)
        catalogue = environment.get(_CATALOGUE) or None
        if folder and (folder / METADATA).is_file():
            catalogue = (folder / METADATA).as_uri()
        return cls(address.rstrip("/") if address else None, catalogue, environment.get(_BUILD) or None)

    @property
    def folder(self) -> Path | None:
        """The mirror, if it is a folder of this machine."""
        return local_path(self.mirror)

    @property
    def local(self) -> bool:
        """Whether everything is on this machine."""
        return self.folder is not None and not (self.catalogue or "").startswith(("http:", "https:"))

    @property
    def identity(self) -> list[str]:
        """What tells this origin from others, without credentials; a catalogue of this machine by its content."""
        return [redact(self.mirror or ""), _identity(self.catalogue), self.build or ""]

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """Return the environment for uv; addresses are given there because others can read a command line."""
        kept = {name: value for name, value in base.items() if name not in _NOT_FOR_US}
        if self.local:
            kept.pop("UV_OFFLINE", None)  # uv means files of this machine as well
            kept["UV_HTTP_RETRIES"] = "0"
        for name, value in {_MIRROR: self.mirror, _CATALOGUE: self.catalogue}.items():
            if value:
                kept[name] = value
        return kept


def local_path(address: str | None) -> Path | None:
    """Return the path that a ``file:`` URL means, None for any other address."""
    if not address or not address.startswith("file:"):
        return None
    from urllib.request import url2pathname

    return Path(url2pathname(urlsplit(address).path))


def described(platform: Platform) -> str:
    """Return the OS and processor as a user would say it."""
    return f"{platform.os} {platform.arch}"


def uv_key(platform: Platform, version: str) -> str:
    """Return the name that uv has for an interpreter; HostFailed if Ray can't run on such a host.

    Args:
        platform: its libc may be unknown, as on a host that was only asked for ``uname``: taken for glibc then.
        version: ``3.11.9``, ``3.11`` or ``3``.
    """
    if platform.os == "linux" and not platform.libc:
        platform = replace(platform, libc="glibc", libc_version="2.17")
    platform.uv_name  # noqa: B018  refuses what Ray has no wheels for
    return f"cpython-{version}-{platform.os}-{platform.arch}-{'gnu' if platform.os == 'linux' else 'none'}"


def available(platform: Platform, origin: Origin) -> dict[str, str]:
    """Return the address of each interpreter's archive by its exact version, newest first; without credentials.

    Raises:
        ProvisionError: uv can't be asked, or not read the catalogue.
    """
    arguments = ["python", "list", uv_key(platform, "3"), "--all-versions", "--only-downloads"]
    done = _asked([*arguments, "--output-format", "json", "--color", "never"], origin)
    if done.returncode != 0:
        from provisioner.artifacts.explain_interpreter import Wanted, explain_interpreter

        raise explain_interpreter(done.stderr, Wanted("", described(platform), origin))
    try:
        found = {str(entry["version"]): redact(str(entry["url"])) for entry in json.loads(done.stdout)}
    except (ValueError, KeyError, TypeError) as error:
        raise ProvisionError(f"uv's list of interpreters cannot be read: {error!r}", remedy=REINSTALL) from error
    return {version: found[version] for version in sorted(filter(_is_release, found), key=_order, reverse=True)}


def nearest(version: str, versions: Iterable[str]) -> list[str]:
    """Return the one or two versions around one that does not exist, preferably of its minor; oldest first."""
    ordered = sorted(versions, key=_order)
    same_minor = [other for other in ordered if _order(other)[:2] == _order(version)[:2]]
    if not same_minor:
        # of another minor the newest is of use, not the neighbour
        ordered = list({_order(other)[:2]: other for other in ordered}.values())
    candidates = same_minor or ordered
    below = [other for other in candidates if _order(other) < _order(version)]
    above = [other for other in candidates if _order(other) > _order(version)]
    return below[-1:] + above[:1]


def _asked(arguments: list[str], origin: Origin) -> subprocess.CompletedProcess[str]:
    try:
        with tempfile.TemporaryDirectory(prefix="provision-") as nowhere:
            environment = origin.environment(os.environ)
            return run_uv(arguments, environment=environment, folder=Path(nowhere), limit=LIMIT)
    except subprocess.TimeoutExpired as error:
        raise ProvisionError(
            f"uv listed no interpreters within {LIMIT:.0f} s",
            remedy="Look at the connection to the catalogue that UV_PYTHON_DOWNLOADS_JSON_URL names.",
        ) from error


def _identity(catalogue: str | None) -> str:
    if not catalogue or catalogue.startswith(("http:", "https:")):
        return redact(catalogue or "")
    try:
        return hashlib.sha256((local_path(catalogue) or Path(catalogue)).read_bytes()).hexdigest()
    except OSError:
        return catalogue


def _is_release(version: str) -> bool:
    return re.fullmatch(r"\d+\.\d+\.\d+", version) is not None


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
