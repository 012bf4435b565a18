"""Which processes are ours on Windows, where a process does not show its variables to others: those whose program lies
under our root, and whatever these have started.

The second half matters where Python was not brought: the interpreter of a virtual environment is a small program there
that starts the real one, which lies elsewhere.
"""

from __future__ import annotations

import ntpath
import os
import time

from provisioner.remote.platforms.windows import calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, Iterable, List, Set, Tuple

    Row = Tuple[int, int, str]

END_LIMIT = 10.0
"""Seconds for ended processes to be gone."""
SLOW = 15.0
"""Seconds for the system to say which ports it keeps for itself."""


def processes_of(root: str) -> List[int]:
    """Return the pids of every process that was started from a root, this program's own left out."""
    return ours(root, calls.processes(), calls.program_of, calls.born, os.getpid())


def ours(
    root: str, rows: Iterable[Row], program_of: Callable[[int], str], born: Callable[[int], int], me: int
) -> List[int]:
    """Return which of the processes are of a root.

    A process is a child of the one whose pid it names only if that one is older: pids are used again.

    Args:
        root: the folder.
        rows: pid, parent's pid and name of the program, of all processes.
        program_of: returns the full path of a pid's program.
        born: returns when a pid was created.
        me: the pid of this program, which is left out with what it was started by and what it has started.
    """
    parents = {pid: parent for pid, parent, _ in rows if pid}
    family = _ancestors(me, parents, born) | {me}
    inside = ntpath.normcase(ntpath.normpath(root)) + "\\"
    found = {pid for pid in parents if pid not in family and ntpath.normcase(program_of(pid)).startswith(inside)}
    children: Dict[int, List[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    _add_descendants(found, children, born)
    mine = {me}
    _add_descendants(mine, children, born)
    return sorted(found - mine - family)


def _ancestors(pid: int, parents: Dict[int, int], born: Callable[[int], int]) -> Set[int]:
    found: Set[int] = set()
    while pid in parents and 0 < born(parents[pid]) <= born(pid) and parents[pid] not in found:
        pid = parents[pid]
        found.add(pid)
    return found


def _add_descendants(found: Set[int], children: Dict[int, List[int]], born: Callable[[int], int]) -> None:
    waiting = list(found)
    while waiting:
        parent = waiting.pop()
        since = born(parent)
        for child in children.get(parent, ()):
            if child not in found and since and born(child) >= since:
                found.add(child)
                waiting.append(child)


def kill(pids: Iterable[int]) -> None:
    """End processes at once and wait until they are gone."""
    left = [pid for pid in pids if calls.terminate(pid) or calls.runs(pid)]
    deadline = time.monotonic() + END_LIMIT
    while any(calls.runs(pid) for pid in left) and time.monotonic() < deadline:
        time.sleep(0.02)


def port_owner(port: int) -> str:
    """Return who listens on a TCP port, in words; empty if nobody does."""
    pid = calls.listeners().get(port)
    if pid is None:
        return ""
    name = next((name for each, _, name in calls.processes() if each == pid), "a process that just ended")
    return "%s (pid %d)" % (name, pid)


def excluded_ports(text: str) -> List[Tuple[int, int]]:
    """Return the spans of ports out of what ``netsh int ipv4 show excludedportrange`` says in whatever language.

    Args:
        text: its output: lines with two numbers, the first and the last port, some with a mark behind them.
    """
    spans = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0].isdecimal() and words[1].isdecimal():
            first, last = int(words[0]), int(words[1])
            if 0 < first <= last <= 65535:
                spans.append((first, last))
    return spans
