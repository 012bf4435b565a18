"""Ranges in host names, as Ansible writes them: ``w[01:12]``, ``rack[a:f]``, ``pc[1:9:2]``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

MOST_NAMES = 10_000

_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_EXAMPLES = "write a range such as [1:9], [01:12], [1:9:2] or [a:f]"


class BadRange(ValueError):
    """A range that does not say which values it stands for."""


def has_range(text: str) -> bool:
    """Whether a text holds brackets, so that `expand` has something to do (or to complain of)."""
    return "[" in text or "]" in text


def expand(text: str) -> list[str]:
    """Write out every range of a text; several ranges multiply, the last one counting fastest.

    >>> expand("w[08:10].lab")
    ['w08.lab', 'w09.lab', 'w10.lab']

    Raises:
        BadRange: a range is malformed, empty, or too large.
    """
    pieces = _BRACKETS.split(text)
    literals, ranges = pieces[::2], pieces[1::2]
    if any(has_range(literal) for literal in literals):
        raise BadRange(f"the brackets in '{text}' do not pair up; {_EXAMPLES}")
    choices: list[Sequence[str]] = [[literals[0]]]
    count = 1
    for body, literal in zip(ranges, literals[1:], strict=True):
        values = _values(body)
        count *= len(values)
        if count > MOST_NAMES:
            raise BadRange(f"'{text}' stands for more than {MOST_NAMES} names")
        choices += [values, [literal]]
    return ["".join(parts) for parts in itertools.product(*choices)]


def _values(body: str) -> list[str]:
    match = re.fullmatch(r"([0-9]{1,9}|[a-z]|[A-Z]):([0-9]{1,9}|[a-z]|[A-Z])(?::([0-9]{1,9}))?", body)
    if match is None:
        raise BadRange(f"'[{body}]' is not a range; {_EXAMPLES}")
    first, last, step = match[1], match[2], int(match[3] or 1)
    if step == 0:
        raise BadRange(f"the step of '[{body}]' is 0; {_EXAMPLES}")
    if first.isdigit() != last.isdigit() or first.isupper() != last.isupper():
        raise BadRange(f"'[{body}]' begins and ends with different kinds of characters; {_EXAMPLES}")
    values = _numbers(body, first, last, step) if first.isdigit() else _letters(first, last, step)
    if not values:
        raise BadRange(f"'[{body}]' ends before it begins; {_EXAMPLES}")
    return values


def _numbers(body: str, first: str, last: str, step: int) -> list[str]:
    padded = len(first) > 1 and first.startswith("0")
    if padded and len(first) != len(last):
        raise BadRange(f"'[{body}]' pads with zeros, so both ends must have the same number of digits")
    width = len(first) if padded else 0
    span = range(int(first), int(last) + 1, step)
    if len(span) > MOST_NAMES:
        raise BadRange(f"'[{body}]' stands for more than {MOST_NAMES} names")
    return [f"{number:0{width}d}" for number in span]


def _letters(first: str, last: str, step: int) -> list[str]:
    return [chr(code) for code in range(ord(first), ord(last) + 1, step)]
