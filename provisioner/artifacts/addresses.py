"""Addresses of package indexes: who may log in where, and how to print one without its password."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urlsplit, urlunsplit

INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
"""The environment variables that name package indexes to uv, possibly with a user and password inside."""

_USERINFO = re.compile(r"(?<=://)[^/\s@]+@")


def redact(text: str) -> str:
    """Return the text with the credentials of all addresses in it taken out."""
    return _USERINFO.sub("", text)


def without_credentials(url: str) -> str:
    """Return the address without user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def shown(url: str) -> str:
    """Return the part of an address that is fit for a message: neither credentials nor signed parameters."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def login_for(url: str, environment: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the user and password the user's uv settings hold for the server of an address, if any."""
    server = _server(url)
    for name, index in _indexes(environment):
        if _server(index) != server:
            continue
        parts = urlsplit(index)
        prefix = "UV_INDEX_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
        user = environment.get(f"{prefix}_USERNAME", "") if name else ""
        password = environment.get(f"{prefix}_PASSWORD", "") if name else ""
        user = user or unquote(parts.username or "")
        password = password or unquote(parts.password or "")
        if user or password:
            return user, password
    return None


def _indexes(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the name (or an empty text) and the address of each index in uv's environment variables."""
    for variable in INDEX_VARIABLES:
        for entry in re.split(r"[\s,]+", environment.get(variable, "")):
            name, equals, address = entry.partition("=")
            named = bool(equals) and re.fullmatch(r"[\w.-]+", name) is not None
            url = address if named else entry
            if "://" in url:
                yield (name if named else ""), url


def _server(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    return parts.scheme, parts.hostname or "", port or {"http": 80, "https": 443}.get(parts.scheme, 0)
