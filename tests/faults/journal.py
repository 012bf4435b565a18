"""What became of the cases: kept in a file that a later run goes on with, and told as a table."""

from __future__ import annotations

import functools
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .cases import STORIES, Case
from .kinds import KINDS


@dataclass(frozen=True)
class Outcome:
    """One case, carried out."""

    case: str
    room: str
    story: str
    kind: str
    met: bool
    """Whether the run came to the moment, so that the fault happened at all."""
    code: int | None
    """The exit code of the run that was hurt; negative: it was killed; None: it did not come to that."""
    why: str
    """What was lost or did not converge, empty if nothing."""
    seconds: float
    mended: float = 0.0
    """Seconds of the run that mended it; 0: it did not come to that."""
    bites: bool = True
    """Whether the fault came in time to break the run."""
    version: str = ""
    """Of the code that was tried."""

    @property
    def converged(self) -> bool:
        return not self.why

    @property
    def counts(self) -> bool:
        """Whether it says anything: a fault that happened, or something that went wrong before it could."""
        return (self.met and self.bites) or not self.converged


@functools.cache
def version() -> str:
    """Return the hash of what is tried and of what tries it: what older code did says nothing of today's."""
    top = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for path in sorted(path for name in ("provisioner", "tests/faults") for path in (top / name).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(top)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


class Journal:
    """Outcomes by case; many threads may note some.

    Args:
        file: where they are kept; what today's code did already is not done again.
        tell: takes a line for each.
    """

    def __init__(self, file: Path, tell: Callable[[str], None] = print) -> None:
        self._file = file
        self._tell = tell
        self._lock = threading.Lock()
        self._closed = False
        self.outcomes: dict[str, Outcome] = {}
        if file.exists():
            rows = json.loads(file.read_text())["cases"]
            known = [Outcome(**row) for row in rows if row.get("version") == version()]
            self.outcomes = {each.case: each for each in known}

    def is_done(self, case: Case) -> bool:
        """Tell whether a case need not be done again: it happened, and came to a good end."""
        known = self.outcomes.get(str(case))
        return known is not None and known.met and known.converged

    def close(self) -> None:
        """Take no more: what becomes of cases while the hosts are taken away means nothing."""
        with self._lock:
            self._closed = True

    def note(self, outcome: Outcome) -> None:
        with self._lock:
            if self._closed:
                return
            self.outcomes[outcome.case] = outcome
            self._file.parent.mkdir(parents=True, exist_ok=True)
            aside = self._file.with_suffix(".new")
            aside.write_text(json.dumps(report(self.outcomes.values()), indent=1))
            aside.replace(self._file)
            word = "ok  " if outcome.converged else "LOST"
            word = word if outcome.met or outcome.why else "none"
            done = time.strftime("%H:%M:%S")
            self._tell(f"{done} {word} {outcome.seconds:6.1f} s  exit {outcome.code}  {outcome.case}  {outcome.why}")


def report(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """Return everything as data: the figures, and the cases."""
    known = list(outcomes)
    return {"figures": figures(known), "cases": [asdict(each) for each in known]}


def figures(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Return how many faults were tried, converged and lost, for each kind of run and of fault, and in all."""
    known = list(outcomes)
    rows = []
    for story in STORIES:
        for kind in KINDS:
            mine = [each for each in known if (each.story, each.kind) == (story.name, kind)]
            rows.append(_row(story.name, kind, mine))
    rows = [row for row in rows if row["tried"] or row["did not happen"] or row["too late to hurt"]]
    for verb in ("apply", "teardown"):
        names = {story.name for story in STORIES if story.verb == verb}
        rows.append(_row(f"all of {verb}", "", [each for each in known if each.story in names]))
    rows.append(_row("all with Ray", "", [each for each in known if each.room == "ray"]))
    return [*rows, _row("all", "", known)]


def _row(story: str, kind: str, of: list[Outcome]) -> dict[str, Any]:
    tried = [each for each in of if each.counts]
    return {
        "run": story,
        "fault": kind,
        "tried": len(tried),
        "broke the run": sum(each.code != 0 for each in tried),
        "converged": sum(each.converged for each in tried),
        "lost": sum(not each.converged for each in tried),
        "too late to hurt": sum(each.met and not each.counts for each in of),
        "did not happen": sum(not each.met and each.converged for each in of),
        "slowest mend": round(max((each.mended for each in tried), default=0.0), 1),
        "seconds": round(sum(each.seconds for each in of), 1),
    }


def table(outcomes: Iterable[Outcome]) -> str:
    """Return the figures for people."""
    rows = figures(outcomes)
    heads = list(rows[0])
    cells = [heads, *([str(row[head]) for head in heads] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heads))]

    def shown(line: list[str]) -> str:
        return "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()

    return "\n".join([shown(cells[0]), "  ".join("-" * width for width in widths), *map(shown, cells[1:])])
