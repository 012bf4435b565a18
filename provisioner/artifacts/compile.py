"""Running ``uv pip compile`` for another machine, and reading the pylock it answers with."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from typing import Any
from urllib.parse import unquote, urlsplit

from provisioner.artifacts.addresses import redact
from provisioner.artifacts.explain import explain
from provisioner.artifacts.platform import MACOS_TARGET, Platform
from provisioner.artifacts.program import REINSTALL, uv_program
from provisioner.errors import InputError, ProvisionError

LIMIT = 300.0
"""Seconds that uv may take to find a set of packages."""


def check_inputs(python: str, requirements: Sequence[str]) -> None:
    """Refuse what uv would read as something else than a requirement: options, paths, several lines."""
    from packaging.requirements import InvalidRequirement, Requirement

    if not re.fullmatch(r"3\.\d+\.\d+", python):
        raise InputError(f"{python!r} is not an exact version of Python", remedy="Write it in full, such as 3.11.9.")
    for requirement in requirements:
        try:
            if "\n" in requirement or "\r" in requirement:
                raise InvalidRequirement("more than one line")
            url = Requirement(requirement).url
            if url and not re.match(r"(https?|file)://", url):
                raise InvalidRequirement("only http and file addresses can be sent to hosts")
        except InvalidRequirement as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"{redact(requirement)!r} is not a requirement: {reason}",
                remedy="Write it as pip does, such as numpy==2.3.4.",
            ) from error


def compile_pylock(platform: Platform, python: str, requirements: Sequence[str]) -> str:
    """Return uv's pylock.toml for these requirements on that platform. The user's own uv settings hold."""
    arguments = [uv_program(), "pip", "compile", "--format", "pylock.toml", "--generate-hashes"]
    arguments += ["--only-binary", ":all:", "--python-platform", platform.uv_name, "--python-version", python]
    arguments += ["--python", sys.executable, "--no-python-downloads", "--no-header", "--no-annotate"]
    arguments += ["--color", "never", "--quiet"]
    macos = ".".join(str(part) for part in MACOS_TARGET)
    try:
        # an empty project folder: the settings of whatever project the user stands in are none of ours
        with tempfile.TemporaryDirectory(prefix="provision-") as nowhere:
            done = subprocess.run(
                [*arguments, "--project", nowhere, "-"],
                input="".join(f"{requirement}\n" for requirement in requirements),
                env={**os.environ, "MACOSX_DEPLOYMENT_TARGET": macos},
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=LIMIT,
                check=False,
            )
    except subprocess.TimeoutExpired as error:
        raise ProvisionError(
            f"uv found no set of packages for {described(platform, python)} within {LIMIT:.0f} s",
            remedy="Look at the connection to the package index, or name exact versions.",
        ) from error
    except OSError as error:
        raise ProvisionError(f"uv does not start: {error.strerror or error}", remedy=REINSTALL) from error
    if done.returncode != 0:
        raise explain(done.stderr, requirements, described(platform, python))
    return done.stdout


def parse_pylock(text: str) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Return each package of a pylock: name, version and its wheels (``filename``, ``url``, ``size``, ``sha256``)."""
    toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        packages = toml.loads(text).get("packages", [])
        return [(str(p["name"]), str(p.get("version", "")), [_file(file) for file in _files(p)]) for p in packages]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProvisionError(f"uv's lock cannot be read: {error!r}", remedy=REINSTALL) from error


def described(platform: Platform, python: str) -> str:
    """Return a platform and a Python as a user would say it."""
    return f"{platform.key.replace('-', ' ')} with Python {python}"


def _files(package: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the wheels of a package; a requirement that is a URL has one, called an archive."""
    files = list(package.get("wheels", []))
    archive = package.get("archive")
    return [*files, archive] if archive else files


def _file(entry: dict[str, Any]) -> dict[str, Any]:
    url = str(entry["url"])
    filename = entry.get("name") or unquote(urlsplit(url).path.rpartition("/")[2])
    size, sha256 = int(entry.get("size", 0)), str(entry.get("hashes", {}).get("sha256", ""))
    return {"filename": str(filename), "url": url, "size": size, "sha256": sha256}
