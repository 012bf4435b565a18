"""Running ``uv pip compile`` for another machine, and reading the pylock it answers with."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from provisioner.artifacts.addresses import redact
from provisioner.artifacts.explain import explain, missing_version
from provisioner.artifacts.platform import Platform
from provisioner.artifacts.program import REINSTALL, run_uv
from provisioner.artifacts.sources import Sources
from provisioner.errors import InputError, ProvisionError

LIMIT = 300.0
"""Seconds that uv may take to find a set of packages."""


@dataclass(frozen=True)
class Request:
    """What is to be locked.

    Args:
        platform: where the packages will be installed.
        python: the exact version of Python there.
        requirements: what is asked for, as pip writes it.
        sources: where packages come from.
        preferences: versions by package name, kept as far as they satisfy what is asked for.
        fresh: ask the package index for everything, whatever uv remembers.
    """

    platform: Platform
    python: str
    requirements: tuple[str, ...]
    sources: Sources = field(default_factory=Sources)
    preferences: Mapping[str, str] = field(default_factory=dict)
    fresh: bool = False


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


def compile_pylock(request: Request, *, from_source: Sequence[str] = (), options: Sequence[str] = ()) -> str:
    """Return uv's pylock.toml for a request.

    Args:
        request: what is asked for; the user's own settings of uv hold as well.
        from_source: packages whose wheels are passed over for their sources.
        options: further arguments for uv.

    Raises:
        Unsatisfiable: there is no such set of packages.
        ProvisionError: the package index cannot be used.
    """
    done = _compile(request, from_source, options)
    if isinstance(done, str):
        return done
    nearest = "" if options else _nearest(done.stderr, request)
    raise explain(done.stderr, request.requirements, described(request.platform, request.python), nearest)


def _compile(
    request: Request, from_source: Sequence[str], options: Sequence[str]
) -> str | subprocess.CompletedProcess[str]:
    """Return the lock, or what became of uv if it found none."""
    arguments = ["pip", "compile", "--format", "pylock.toml", "--generate-hashes", "--only-binary", ":all:"]
    arguments += [argument for name in from_source for argument in ("--no-binary", name)]
    arguments += ["--python-platform", request.platform.uv_name, "--python-version", request.python]
    arguments += ["--python", sys.executable, "--no-python-downloads", "--no-header", "--no-annotate"]
    arguments += ["--color", "never", "--quiet", *request.sources.arguments(), *options]
    arguments += ["--refresh"] if request.fresh else []
    text = "".join(f"{requirement}\n" for requirement in request.requirements)
    try:
        with tempfile.TemporaryDirectory(prefix="provision-") as nowhere:
            output = Path(nowhere, "pylock.toml")
            _prefer(request.preferences, output)
            macos = {"MACOSX_DEPLOYMENT_TARGET": f"{request.platform.macos_level}.0"}
            environment = {**request.sources.variables(), **(macos if request.platform.os == "macos" else {})}
            arguments += ["--output-file", str(output), "-"]
            done = run_uv(arguments, environment=environment, folder=Path(nowhere), limit=LIMIT, text=text)
            return output.read_text(encoding="utf-8") if done.returncode == 0 else done
    except subprocess.TimeoutExpired as error:
        raise ProvisionError(
            f"uv found no set of packages for {described(request.platform, request.python)} within {LIMIT:.0f} s",
            remedy="Look at the connection to the package index, or name exact versions.",
        ) from error


def _prefer(versions: Mapping[str, str], output: Path) -> None:
    """Write the versions to keep where uv finds them: it prefers what its output file holds already."""
    if not versions:
        return
    lines = ['lock-version = "1.0"', 'created-by = "provision"']
    for name, version in sorted(versions.items()):
        lines += ["", "[[packages]]", f'name = "{name}"', f'version = "{version}"']
    output.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _nearest(stderr: str, request: Request) -> str:
    """Return the existing versions next to the one that uv did not find on that platform, in words; or nothing."""
    missing = missing_version(stderr)
    if missing is None:
        return ""
    name, version = missing
    below = _one_version(request, f"{name}<{version}", "highest")
    above = _one_version(request, f"{name}>{version}", "lowest")
    return " and ".join(found for found in (below, above) if found)


def _one_version(request: Request, requirement: str, which: str) -> str:
    alone = replace(request, requirements=(requirement,), preferences={})
    done = _compile(alone, (), ["--no-deps", "--resolution", which])
    packages = parse_pylock(done) if isinstance(done, str) else []
    return packages[0][1] if packages else ""


def parse_pylock(text: str) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Return each package of a pylock: name, version and its files (``filename``, ``url``, ``size``, ``sha256``)."""
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
    """Return the files of a package; a requirement that is a URL has one, called an archive."""
    return [*package.get("wheels", []), *(package[kind] for kind in ("archive", "sdist") if kind in package)]


def _file(entry: dict[str, Any]) -> dict[str, Any]:
    url = str(entry["url"])
    filename = entry.get("name") or unquote(urlsplit(url).path.rpartition("/")[2])
    size, sha256 = int(entry.get("size", 0)), str(entry.get("hashes", {}).get("sha256", ""))
    return {"filename": str(filename), "url": url, "size": size, "sha256": sha256}
