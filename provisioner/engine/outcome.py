"""What became of a host: counted task by task, and judged at the end."""

from __future__ import annotations

from dataclasses import dataclass, field

from provisioner.errors import ProvisionError, Unreachable
from provisioner.events import Status


@dataclass
class Outcome:
    """Grows while a host is worked on."""

    counts: dict[str, int] = field(default_factory=lambda: {"ok": 0, "changed": 0, "failed": 0, "skipped": 0})
    pending: bool = False
    """In check: something differs."""
    message: str = ""
    remedy: str = ""
    trouble: Status | None = None
    refused: bool = False
    """The user did not let us stop what runs."""
    busy: bool = False
    """Another run works on the cluster."""

    def count(self, status: str) -> None:
        self.counts[status] = self.counts.get(status, 0) + 1

    def fail(self, error: ProvisionError) -> None:
        """Note what ended the work on this host; the first cause stays."""
        if self.trouble in ("failed", "unreachable"):
            return
        self.trouble = "unreachable" if isinstance(error, Unreachable) else "failed"
        self.message, self.remedy = error.message, error.remedy

    def skip(self, message: str, remedy: str = "") -> None:
        if self.trouble is None:
            self.trouble, self.message, self.remedy = "skipped", message, remedy

    @property
    def status(self) -> Status:
        if self.trouble is not None:
            return self.trouble
        return "changed" if self.counts["changed"] or self.pending else "ok"


def exit_code(outcomes: list[Outcome]) -> int:
    """Return the run's exit code: 5 another run's turn, so nothing was done; 1 refused, 3 failed, 4 unreachable,
    2 changes pending (check), else 0."""
    states = {outcome.status for outcome in outcomes}
    if any(outcome.busy for outcome in outcomes):
        return 5
    if any(outcome.refused for outcome in outcomes):
        return 1
    if "failed" in states:
        return 3
    if "unreachable" in states:
        return 4
    if "skipped" in states:
        return 3
    return 2 if any(outcome.pending for outcome in outcomes) else 0
