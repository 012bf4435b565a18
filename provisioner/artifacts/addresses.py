"""Addresses of package indexes: who may log in where, and how to print one without its password."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote, urlsplit, urlunsplit

INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
"""The environment variables that name package indexes to uv, possibly with a user and password inside."""

_SIGNED = re.compile(r"(?i)(^|&)[^=]*(sig|token|key|expires|credential|secret|password|auth)[^=]*=")
_USERINFO = re.compile(r"(?<=://)[^/\s@]+@")


def redact(text: str) -> str:
    """Return the text with the credentials of all addresses in it taken out."""
    return _USERINFO.sub("", text)


def without_credentials(url: str) -> str:
    """Return the address without user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def without_secrets(url: str) -> str:
    """Return the address without credentials, be they a user and password or parameters that sign it."""
    parts = urlsplit(without_credentials(url))
    signed = _SIGNED.search(parts.query)
    return urlunsplit(parts._replace(query="", fragment="") if signed else parts._replace(fragment=""))


def shown(url: str) -> str:
    """Return the part of an address that is fit for a message: neither credentials nor signed parameters."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def login_for(
    url: str, environment: Mapping[str, str], others: Iterable[tuple[str, str]] = ()
) -> tuple[str, str] | None:
    """Return the user and password that uv's settings hold for an address, if any.

    A login is for one server; of several, the one whose index shares the longest path with the address is taken.

    Args:
        url: what will be fetched.
        environment: uv's settings, and the credentials of named indexes.
        others: names (or empty texts) and addresses of indexes that are set elsewhere.
    """
    known = [*_indexes(environment), *others]
    here = [(name, index) for name, index in known if _server(index) == _server(url)]
    nearest_first = sorted(here, key=lambda named: -_common_path(named[1], url))
    logins = (_login(name, index, environment) for name, index in nearest_first)
    return next((login for login in logins if login), None)


def _login(name: str, index: str, environment: Mapping[str, str]) -> tuple[str, str] | None:
    parts = urlsplit(index)
    user, password = (environment.get(variable, "") if name else "" for variable in login_variables(name))
    user, password = user or unquote(parts.username or ""), password or unquote(parts.password or "")
    return (user, password) if user or password else None


def login_variables(name: str) -> tuple[str, str]:
    """Return the variables in which uv looks for the user and the password of an index with that name."""
    prefix = "UV_INDEX_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
    return f"{prefix}_USERNAME", f"{prefix}_PASSWORD"


def _common_path(one: str, other: str) -> int:
    """Return how many folders two addresses share, from the root."""
    pairs = zip(urlsplit(one).path.split("/"), urlsplit(other).path.split("/"), strict=False)
    return next((count for count, (a, b) in enumerate(pairs) if a != b), 1 << 16)


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
