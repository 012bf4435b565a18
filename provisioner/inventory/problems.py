"""Mistakes in the input, collected so that a user sees all of them at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from provisioner.errors import InputError, InputErrors, Place


class Problems:
    """Collects mistakes and raises them together."""

    def __init__(self) -> None:
        self._errors: dict[str, InputError] = {}

    def add(self, message: str, place: Place | None = None, remedy: str = "") -> None:
        """Note one mistake; the same mistake at the same place counts once."""
        error = InputError(message, place=place, remedy=remedy)
        self._errors.setdefault(str(error), error)

    def raise_any(self) -> None:
        """Raise what was noted, in the file's order; do nothing if there is nothing."""
        errors = sorted(self._errors.values(), key=_position)
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise InputErrors(errors)


def _position(error: InputError) -> tuple[str, int, int]:
    place = error.place
    return (place.file, place.line, place.column) if place else ("", 0, 0)


def suggestion(name: str, known: Iterable[str], what: str = "allowed") -> str:
    """Say which known name was probably meant, or else which names there are.

    >>> suggestion("adress", ["address", "groups"])
    "did you mean 'address'?"
    >>> suggestion("zzz", ["b", "a"])
    'allowed: a, b'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"{what}: {listing(names)}" if names else ""


def listing(names: Sequence[str], most: int = 60) -> str:
    """Join names with commas, cutting a long list short.

    >>> listing(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
