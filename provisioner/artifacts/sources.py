"""Where packages come from: what the inventory says, on top of the user's own settings of uv."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from provisioner.artifacts.addresses import INDEX_VARIABLES, login_for, login_variables, redact
from provisioner.inventory.model import ArtifactOptions

_SETTINGS = (
    *INDEX_VARIABLES,
    *("UV_NO_INDEX", "UV_INDEX_STRATEGY", "UV_EXCLUDE_NEWER", "UV_PRERELEASE", "UV_RESOLUTION", "UV_CONSTRAINT"),
    *("UV_OVERRIDE", "UV_TORCH_BACKEND"),
)
"""uv's settings in the environment that change which packages are found, or where."""
_NESTED = re.compile(r"^\s*(?:-c|-r|--constraints?|--requirements?)[\s=]+(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Sources:
    """Package indexes, folders of wheels, constraints and logins.

    Args:
        options: what the inventory says.
        environment: the variables of the user, with uv's settings among them.
    """

    options: ArtifactOptions = field(default_factory=ArtifactOptions)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)

    def variables(self) -> dict[str, str]:
        """Return the environment for uv: the user's with ours in front. Credentials go to uv in no other way."""
        found, named = dict(self.environment), []
        for number, index in enumerate(self.options.indexes):
            name = f"provision{number}"
            named.append(f"{name}={index.url}")
            for variable, value in zip(login_variables(name), (index.username, index.password), strict=True):
                if value:
                    found[variable] = value if isinstance(value, str) else value.reveal()
        if self.options.index:
            found["UV_DEFAULT_INDEX"] = named.pop()
            found.pop("UV_INDEX_URL", None)
        _put_before(found, "UV_INDEX", named, " ")
        # uv splits the list at commas, and a folder may have one in its name
        _put_before(found, "UV_FIND_LINKS", [url.replace(",", "%2C") for url in self.options.find_links], ",")
        return found

    def arguments(self) -> list[str]:
        """Return the arguments for uv: the constraints, the user's among them, for uv heeds one place only."""
        if not self.options.constraints:
            return []
        files = [*map(str, self.options.constraints), *self.environment.get("UV_CONSTRAINT", "").split()]
        return [argument for file in files for argument in ("--constraints", file)]

    def login(self, url: str) -> tuple[str, str] | None:
        """Return user and password for an address, if the inventory or uv's settings have them."""
        return login_for(url, self.variables(), _indexes_in(_config_files(self.environment)))

    def folders(self) -> list[Path]:
        """Return the folders on this machine that are named as find-links."""
        urls = self.variables().get("UV_FIND_LINKS", "").split(",")
        paths = [
            Path(url2pathname(urlsplit(url).path)) if url.startswith("file:") else Path(url) for url in urls if url
        ]
        return [path for path in paths if path.is_dir()]

    def described(self) -> list[Any]:
        """Return, as plain data without credentials, all that changes which packages are found."""
        options, environment = self.options, self.environment
        plain = {name: redact(environment[name]) for name in _SETTINGS if environment.get(name)}
        files = [*_config_files(environment), *_files_in(environment, "UV_CONSTRAINT", "UV_OVERRIDE")]
        indexes = [options.index.url if options.index else "", *(index.url for index in options.extra_indexes)]
        listed = [[entry.name, entry.stat().st_size] for folder in self.folders() for entry in sorted(folder.iterdir())]
        own = [indexes, list(options.find_links), sorted(options.sdists), self.constraints()]
        return [plain, [_digest(file) for file in files], own, listed]

    def constraints(self) -> str:
        """Return a short name for what the inventory's constraints say; empty if there are none."""
        files = self.options.constraints
        return hashlib.sha256("".join(map(_digest, files)).encode()).hexdigest()[:16] if files else ""


def _put_before(variables: dict[str, str], name: str, values: list[str], separator: str) -> None:
    if values:
        variables[name] = separator.join([*values, *filter(None, [variables.get(name)])])


def _files_in(environment: Mapping[str, str], *names: str) -> Iterator[Path]:
    for name in names:
        yield from (Path(word) for word in environment.get(name, "").split())


def _digest(file: Path, depth: int = 5) -> str:
    """Return a hash of a file's text without credentials, and of the files it names as pip's files do."""
    try:
        text = redact(file.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return "missing"
    nested = [_digest(file.parent / name, depth - 1) for name in _NESTED.findall(text)] if depth else []
    return hashlib.sha256("".join([text, *nested]).encode()).hexdigest()


def _config_files(environment: Mapping[str, str]) -> list[Path]:
    """Return the uv.toml files that hold for this user, as uv looks for them (docs: Configuration files)."""
    if environment.get("UV_NO_CONFIG", "").lower() in ("1", "true", "yes", "on", "t", "y"):
        return []
    if named := environment.get("UV_CONFIG_FILE"):
        return [Path(named)]
    user, system = _places(environment)
    found = [folder / "uv" / "uv.toml" for folder in (user, *system)]
    of_user, of_system = found[:1], [file for file in found[1:] if file.is_file()]
    return [file for file in of_user if file.is_file()] + of_system[:1]


def _places(environment: Mapping[str, str]) -> tuple[Path, list[Path]]:
    """Return the folder of the user's settings, and those of the system's, the first of which counts."""
    if sys.platform == "win32":
        drive = environment.get("SYSTEMDRIVE", "C:")
        return Path(environment.get("APPDATA", "")), [Path(f"{drive}\\ProgramData")]
    of_user = environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME", "~")).expanduser() / ".config"
    of_system = environment.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    return Path(of_user), [*(Path(folder) for folder in of_system.split(":") if folder), Path("/etc")]


def _indexes_in(files: list[Path]) -> list[tuple[str, str]]:
    """Return the name (or an empty text) and the address of each index in uv.toml files."""
    found: list[tuple[str, str]] = []
    for file in files:
        try:
            found += _named(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, AttributeError):  # uv says what is wrong with it
            continue
    return found


def _named(text: str) -> Iterator[tuple[str, str]]:
    toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    settings = toml.loads(text)
    for index in settings.get("index", []):
        yield str(index.get("name", "")), str(index.get("url", ""))
    for section in (settings, settings.get("pip", {})):
        for name in ("index-url", "extra-index-url", "find-links"):
            given = section.get(name, [])
            yield from (("", str(url)) for url in ([given] if isinstance(given, str) else given))
