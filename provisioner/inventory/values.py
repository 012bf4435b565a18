"""Turns the inventory's texts into what the program works with: secrets, paths, sizes, addresses."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from provisioner.inventory.model import Secret

_UNITS = "KMGT"
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(?:([kKMGT])(i)?)?B?")
_DNS_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?")
_LONGEST_SECRET = 65_536


class BadValue(ValueError):
    """A value that fits the schema and still means nothing; the text is for the user."""


def size_in_bytes(value: int | str) -> int:
    """The number of bytes: ``500M`` is 500 million, ``4GiB`` (or ``4Gi``) is 4 * 1024**3.

    >>> size_in_bytes("1.5KiB"), size_in_bytes(7)
    (1536, 7)
    """
    if isinstance(value, int):
        return value
    match = _SIZE.fullmatch(value)
    if match is None:
        raise BadValue(f"'{value}' is not a size; write bytes, or such as 4GiB or 500M")
    number, unit, binary = match.groups()
    power = _UNITS.index(unit.upper()) + 1 if unit else 0
    return int(Decimal(number) * (1024 if binary else 1000) ** power)


def as_text(value: object) -> str:
    """A plain value as it stands in an environment variable or a label."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def existing_file(text: str, folder: Path) -> Path:
    """The file a path names: ``~`` expanded, relative to the inventory's folder."""
    try:
        path = folder / Path(text).expanduser()
        found = path.is_file()
    except (RuntimeError, ValueError, OSError) as error:
        raise BadValue(f"cannot look for '{text}': {error}") from None
    if not found:
        hint = "; start the sandbox first: provision sandbox start" if ".sandbox" in path.parts else ""
        raise BadValue(f"there is no file {os.path.normpath(path)}{hint}")
    return path


def read_secret(spec: Mapping[str, str], folder: Path, environ: Mapping[str, str]) -> Secret:
    """Fetch a secret from where the inventory says it is."""
    name = spec.get("from_env")
    if name is None:
        return _secret_of_file(spec["from_file"], folder)
    if not environ.get(name):
        state = "is empty" if name in environ else "is not set"
        raise BadValue(f"the environment variable {name}, which should hold this secret, {state}")
    return Secret(environ[name], f"from_env: {name}")


def _secret_of_file(text: str, folder: Path) -> Secret:
    path = existing_file(text, folder)
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_SECRET + 1)
        value = content.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise BadValue(f"cannot read the secret's file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadValue(f"the secret's file {path} is not UTF-8 text") from None
    if not value or len(content) > _LONGEST_SECRET:
        raise BadValue(f"the secret's file {path} is {'too large' if value else 'empty'}")
    return Secret(value, f"from_file: {text}")


def address(text: str) -> str:
    """A checked IP address or DNS name."""
    if is_ip(text):
        return text
    if "@" in text:
        raise BadValue(f"'{text}' is not an address; the account goes to ssh: {{user: ...}}")
    if re.fullmatch(r"[^:]+:[0-9]+", text):
        raise BadValue(f"'{text}' is not an address; the port goes to ssh: {{port: ...}}")
    if re.fullmatch(r"[0-9.]+", text) or not _DNS_NAME.fullmatch(text):
        raise BadValue(f"'{text}' is neither an IP address nor a DNS name")
    return text


def is_ip(text: str) -> bool:
    """Whether a text is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_address_range(text: str) -> bool:
    """Whether a text is an address, a range of them (``10.0.0.1-10.0.0.9``) or a network (``10.0.0.0/24``)."""
    first, dash, last = text.partition("-")
    if dash:
        return is_ip(first) and is_ip(last) and (":" in first) == (":" in last)
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def worker_ports(value: str | list[int]) -> str | tuple[int, ...]:
    """A checked span such as ``10002-19999``, or the ports of a list."""
    if not isinstance(value, str):
        return tuple(value)
    low, high = (int(part) for part in value.split("-"))
    if not 1 <= low <= high <= 65535:
        raise BadValue(f"'{value}' is not a span of ports from 1 to 65535, the lower one first")
    return value


def forbid_secret(value: Any) -> None:
    """Refuse ``{from_env: ...}`` where values may be printed."""
    if isinstance(value, Mapping) and len(value) == 1 and set(value) <= {"from_env", "from_file"}:
        raise BadValue("variables of the playbook cannot be secrets; ray: {env: ...} can")


def place_url(text: str, folder: Path) -> str:
    """The URL of a place that is given as one, or as a folder: ``~`` expanded, relative to the inventory's folder."""
    forbid_credentials(text)
    if re.match(r"(https?|file)://", text):
        return text
    try:
        return Path(os.path.normpath(folder / Path(text).expanduser())).as_uri()
    except (RuntimeError, ValueError) as error:
        raise BadValue(f"'{text}' is neither a URL nor a folder: {error}") from None


def forbid_credentials(url: str) -> None:
    """Refuse a URL with a user or password inside: what stands in the inventory may be printed."""
    if re.match(r"\w+://[^/\s@]+@", url):
        raise BadValue("a user or password in a URL is not kept secret; an index takes {url:, username:, password:}")
