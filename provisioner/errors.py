"""The errors a user may see: what happened, where, and what to do next.

Every error carries the exit code that ends the program with it: 1 for a mistake in the input, 3 for a host on
which something failed, 4 for a host that could not be reached.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A position in a file the user wrote: lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class ProvisionError(Exception):
    """Something a user can act on.

    Args:
        message: what happened, one sentence without a final full stop.
        remedy: what to do next, one sentence or a command; empty if the message says it all.
        host: the inventory name of the host it happened on, if any.
        place: where in the user's files it comes from, if anywhere.
    """

    exit_code = 3

    def __init__(self, message: str, *, remedy: str = "", host: str = "", place: Place | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.host = host
        self.place = place

    def __str__(self) -> str:
        where = str(self.place) if self.place else self.host
        text = f"{where}: {self.message}" if where else self.message
        return f"{text}\n  -> {self.remedy}" if self.remedy else text


class InputError(ProvisionError):
    """The inventory, the playbook or a flag is wrong; no host was contacted."""

    exit_code = 1


class InputErrors(InputError):
    """Several mistakes in the input at once, each an InputError of its own."""

    def __init__(self, errors: list[InputError]) -> None:
        super().__init__("\n".join(str(error) for error in errors))
        self.errors = errors


class HostFailed(ProvisionError):
    """A host was reached, and something on it went wrong."""

    exit_code = 3


class SaysNothing(HostFailed):
    """A host that is there did not answer in time."""


class NotDone(HostFailed):
    """What a host was doing is given up, and its program could still stay and answer others."""


class NoTurn(HostFailed):
    """It is another run's turn to change the cluster, or nobody can say whose it is."""


class Unreachable(ProvisionError):
    """A host could not be reached, or would not let us in."""

    exit_code = 4


class Stopped(ProvisionError):
    """The user wants the run ended."""

    exit_code = 130
