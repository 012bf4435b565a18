"""The words of the console reports: lines, their tones, and how a difference is written."""

from __future__ import annotations

from typing import Literal, NamedTuple

from provisioner.errors import InputErrors, ProvisionError
from provisioner.events import Difference
from provisioner.report.text import clean, flat

Tone = Literal["", "good", "change", "bad", "note", "quiet", "title"]

MANY = 40
"""With more hosts than this, hosts of which the same is to be said share a line."""

NOTHING = "(none)"
SYMBOLS = {"add": "+", "change": "~", "remove": "-"}
_ACTION_TONES: dict[str, Tone] = {"add": "good", "change": "change", "remove": "bad"}
_STATUS_TONES: dict[str, Tone] = {"ok": "good", "changed": "change", "skipped": "quiet"}


class Line(NamedTuple):
    """A line of output. The tone becomes a color; it never says what the text does not."""

    text: str
    tone: Tone = ""


def lines(text: str, tone: Tone = "", remedy: str = "", indent: str = "") -> list[Line]:
    """The text, with further lines of it indented so that none can pass for one of ours, and the remedy below."""
    first, *others = text.rstrip("\n").split("\n")
    told = [Line(indent + first, tone), *(Line(f"{indent}      {other}", tone) for other in others)]
    return [*told, Line(f"{indent}  -> {flat(remedy)}")] if remedy else told


def told_error(error: ProvisionError) -> str:
    """What is said of an error outside of a run, harmless for a terminal: its text can't pass for lines of ours."""
    if isinstance(error, InputErrors):
        all_of_them = "\n".join(told_error(each) for each in error.errors)
        return f"{all_of_them}\n  -> {flat(clean(error.remedy))}" if error.remedy else all_of_them
    where = str(error.place) if error.place else error.host
    text = f"{flat(where)}: {error.message}" if where else error.message
    return "\n".join(line.text for line in lines(clean(text), remedy=clean(error.remedy)))


def status_tone(status: str) -> Tone:
    """The tone of a status; what is unknown looks bad."""
    return _STATUS_TONES.get(status, "bad")


def difference_line(difference: Difference, prefix: str) -> Line:
    """``+ variable RAY_X: 1`` or ``~ Ray: 2.48 -> 2.49 (stops ray-worker)``; a change always has both sides."""
    before, after = flat(difference.before), flat(difference.after)
    text = flat(difference.what)
    if (before and after) or (difference.action == "change" and (before or after)):
        text += f": {before or NOTHING} -> {after or NOTHING}"
    elif (before or after) and not text.endswith(before or after):
        text += f": {before or after}"
    if difference.stops:
        text += f" (stops {flat(difference.stops)})"
    return Line(f"{flat(prefix)}{SYMBOLS.get(difference.action, '?')} {text}", _ACTION_TONES.get(difference.action, ""))
