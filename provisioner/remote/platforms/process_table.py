"""Processes of this machine, told apart and ended."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List


class ProcessTable:
    """What a platform says of one process, whoever started it."""

    def runs(self, pid: int) -> bool:
        """Tell whether there is such a process; one that has ended and waits for its parent is none."""
        raise NotImplementedError

    def command_line(self, pid: int) -> str:
        """Return the words that a process was started with, empty if there is none."""
        raise NotImplementedError

    def birth(self, pid: int) -> str:
        """Return when a process was started, in the system's own terms: with the pid it tells one from all others.

        Empty if that is not known, or there is none.
        """
        return ""

    def pulse(self, pid: int) -> str:
        """Return what is another after a while if a process does anything at all; empty if that is not known.

        Raises:
            OSError: there is no such process.
        """
        return ""

    def kill(self, pids: List[int]) -> None:
        """End processes at once."""
        raise NotImplementedError
