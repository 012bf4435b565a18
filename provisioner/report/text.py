"""Text for a terminal: no control character of a host reaches it, and no newline can forge a line of ours."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
MOST = 5
"""Hosts that are named one by one where the same is said of them."""

_HARMFUL = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    r"\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""What moves a cursor, turns the direction of what follows, or can't be seen: all of Unicode's Cc, Cf (but for a few
signs of Arabic, Kaithi and hieroglyphs, which show), Cs, Zl and Zp, and its invisible letters."""


def clean(text: str) -> str:
    r"""Show control, direction and surrogate characters as ``\x1b`` or ``\u202e``; newlines stay, tabs are spaces."""
    return _HARMFUL.sub(_visible, text.replace("\r\n", "\n"))


def plain_json(value: Any, indent: int | None = None, default: Callable[[Any], Any] | None = None) -> str:
    """The value as JSON that is harmless even when shown: nothing beyond ASCII, and no control character."""
    return json.dumps(value, indent=indent, default=default).replace("\x7f", "\\u007f")


def _visible(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code == 0x09:
        return "    "
    if code > 0xFFFF:
        return f"\\U{code:08x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def flat(text: str) -> str:
    """The text on one line."""
    return " ".join(text.split("\n"))


def map_strings(value: T, change: Callable[[str], str]) -> T:
    """A copy of a dataclass, container or plain value with ``change`` applied to every string in it, keys included.

    What JSON cannot say (bytes, paths, NaN) becomes a string on the way.
    """
    return _map(value, change)  # type: ignore[no-any-return]


def _map(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = {each.name: _map(getattr(value, each.name), change) for each in dataclasses.fields(value)}
        return type(value)(**changed)
    if isinstance(value, dict):
        return {change(str(key)): _map(each, change) for key, each in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        mapped = [_map(each, change) for each in value]
        return tuple(mapped) if isinstance(value, tuple) else mapped
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return change(value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value))


def several(names: Iterable[str], shown: int = 3) -> str:
    """``w1, w2, w3 and 184 more``."""
    listed = list(names)
    if len(listed) <= shown:
        return ", ".join(listed)
    return f"{', '.join(listed[:shown])} and {len(listed) - shown} more"


def everybody(names: list[str], all_of_them: int) -> str:
    """``w1, w2``, ``w1, w2, w3, w4, w5 and 25 more (30 hosts)`` or ``all 40 hosts``."""
    if len(names) == all_of_them and len(names) > MOST:
        return f"all {len(names)} hosts"
    return several(names, MOST) + (f" ({len(names)} hosts)" if len(names) > MOST else "")


def counted(number: int, noun: str) -> str:
    """``1 host``, ``2 hosts``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
