"""Secrets never leave: every known form of every secret is replaced before any report sees an event."""

from __future__ import annotations

import base64
import json
import re
import shlex
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar, get_args
from urllib.parse import quote, quote_plus

from provisioner.events import Action, Event, Status, Verb
from provisioner.report.text import map_strings

HIDDEN = "***"

_OUR_WORDS = frozenset(get_args(Verb) + get_args(Status) + get_args(Action))
"""A field that is exactly one of these stays as it is: reports branch on them, and they give nothing away."""

_SHORTEST_FRAGMENT = 6
"""A fragment (base64 inside a longer text, a line of a key) shorter than this would hide innocent text."""

_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?:(?!-----BEGIN)[\s\S])*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|$)"
)
"""Any private key in PEM, whoever made it, escaped line ends or not: each node of a cluster may have one of its own."""

_KEY_BEGINS = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg"
_KEY_LINES = re.compile(
    re.escape(_KEY_BEGINS) + r"""[A-Za-z0-9+/]{16}(?:(?:\\[rn]|[\s'",\[\]])*[A-Za-z0-9+/]{40,64}={0,2}){0,2}"""
)
"""The lines of such a key without those around them, as nodes are given them (P-256, PKCS #8: all begin like this)."""

E_ = TypeVar("E_", bound=Event)


class Redactor:
    """Replaces secrets by ``***``; more secrets may be added while other threads use it."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Hide these, too, from now on."""
        with self._lock:
            new = set(secrets) - self._known
            self._known |= new
            self._forms.update(form for secret in new for form in forms(secret))
            if new and self._forms:
                longest_first = sorted(self._forms, key=lambda form: (-len(form), form))
                self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def text(self, text: str) -> str:
        """The text without secrets."""
        if text in _OUR_WORDS:
            return text
        if "PRIVATE KEY-----" in text:
            text = _PRIVATE_KEY.sub(HIDDEN, text)
        if _KEY_BEGINS in text:
            text = _KEY_LINES.sub(HIDDEN, text)
        return self._pattern.sub(HIDDEN, text) if self._pattern else text

    def event(self, event: E_) -> E_:
        """The event without secrets in any string, however deep, keys of dicts included."""
        return map_strings(event, self.text)


def forms(secret: str) -> set[str]:
    """The secret as it may appear in what programs say: as it is, quoted, escaped or encoded."""
    if not secret.strip():
        return set()
    found = {secret, secret.strip()}
    for plain in tuple(found):
        found.update(_quoted(plain), _escaped(plain), _encoded(plain))
    lines = secret.strip().splitlines()
    if len(lines) > 1:
        found.update(line.strip() for line in lines if len(line.strip()) >= _SHORTEST_FRAGMENT)
    return found - {""}


def _quoted(secret: str) -> Iterator[str]:
    yield shlex.quote(secret)
    yield secret.replace("'", "'\\''")
    yield secret.replace("'", "''")  # PowerShell
    yield secret.replace('"', '\\"')
    yield re.sub(r"([^\w@%+=:,./-])", r"\\\1", secret)  # printf %q


def _escaped(secret: str) -> Iterator[str]:
    import html

    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield html.escape(secret)
    yield html.escape(secret, quote=False)
    data = secret.encode("utf-8", "surrogatepass")
    yield repr(data)[2:-1]
    for percent in (quote(data, safe=""), quote(data), quote_plus(data)):
        yield percent
        yield re.sub(r"%[0-9A-F]{2}", lambda match: match.group().lower(), percent)


def _encoded(secret: str) -> Iterator[str]:
    for encoding in ("utf-8", "utf-16-le"):  # the latter is PowerShell's -EncodedCommand
        data = secret.encode(encoding, "surrogatepass")
        if len(data) >= _SHORTEST_FRAGMENT:
            yield data.hex()
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            whole = encode(data).decode()
            yield from (whole, whole.rstrip("="))
            yield from _base64_inside(data, encode)


def _base64_inside(data: bytes, encode: object) -> Iterator[str]:
    """The digits that are the same wherever the data stands in a longer text, as in ``user:password``."""
    for offset in range(3):
        digits = encode(b"\0" * offset + data).decode()  # type: ignore[operator]
        sure = digits[-(-8 * offset // 6) : 8 * (offset + len(data)) // 6]
        if len(sure) >= _SHORTEST_FRAGMENT:
            yield sure
