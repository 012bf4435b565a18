"""Processes and ports, as ``ps`` and ``lsof`` of macOS tell them: there is no /proc."""

from __future__ import annotations

import os
import re
import time

from provisioner.remote.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Set

    from provisioner.remote.platforms.base import Platform

PS = "/bin/ps"
LSOF = "/usr/sbin/lsof"
ROW = re.compile(r"\s*(\d+)\s+(\d+)\s+(\S+)\s(.*)")


class Processes:
    """Args:
    platform: runs programs.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def of(self, root: str, mark: str) -> List[int]:
        """Return the pids of what runs out of a folder, or was started with our mark, or by such a process.

        ``ps -E`` shows the environment as it was at the start, of one's own processes, or to root of all but those of
        the system itself (ps(1)). Ray's workers change their title, not their environment (SPT_NOENV, ray#15061).

        Args:
            root: the folder.
            mark: ``NAME=value``, set in the environment of what we start.
        """
        output = self._ps(["-axww", "-E", "-o", "pid=,ppid=,state=,command="])
        parents: Dict[int, int] = {}
        found: Set[int] = set()
        for pid, parent, state, command in ROW.findall(output):
            if state.startswith("Z") or int(pid) == os.getpid():
                continue
            parents[int(pid)] = int(parent)
            if command.startswith(root + "/") or " %s " % mark in command + " ":
                found.add(int(pid))
        return sorted(_with_children(found, parents))

    def living(self, pids: Iterable[int]) -> List[int]:
        """Return which of these processes there are; one that has ended and waits for its parent is none."""
        wanted = ",".join(str(pid) for pid in pids)
        if not wanted:
            return []
        output = self._ps(["-o", "pid=,state=", "-p", wanted])
        rows = [line.split() for line in output.splitlines()]
        return [int(row[0]) for row in rows if len(row) == 2 and row[0].isdigit() and not row[1].startswith("Z")]

    def command(self, pid: int) -> str:
        """Return the command line of a process, empty if there is none."""
        return self._ps(["-ww", "-o", "command=", "-p", str(pid)]).strip()

    def birth(self, pid: int) -> str:
        """Return when a process was started, the same to whoever asks; empty if there is none."""
        words = {"LC_ALL": "C", "TZ": "UTC"}
        return " ".join(self._platform.run([PS, "-o", "lstart=", "-p", str(pid)], env=words)[1].split())

    def pulse(self, pid: int) -> str:
        """Return the same only as long as a process is stopped or hangs in the system (T, U of ps(1)): how often it was
        given a processor, macOS does not say, and its time grows by less than is shown where it waits for something."""
        state = self._ps(["-o", "state=", "-p", str(pid)]).strip()
        return state if state[:1] in ("T", "U") else repr(time.monotonic())

    def listener(self, port: int) -> str:
        """Return who listens on a TCP port, such as ``nginx (pid 711)``; without root, others' programs don't show."""
        try:
            output = self._platform.run([LSOF, "-nP", "-iTCP:%d" % port, "-sTCP:LISTEN", "-Fpc"])[1]
        except Failure:
            return "another process"
        told = {line[0]: line[1:] for line in reversed(output.splitlines()) if line[:1] in ("p", "c")}
        if not told.get("p", "").isdigit():
            return "another process"
        return "%s (pid %s)" % (told.get("c", "a program"), told["p"])

    def _ps(self, arguments: List[str]) -> str:
        """Run ps; its code is 1 if it has nothing to show."""
        return self._platform.run([PS, *arguments])[1]


def _with_children(found: Set[int], parents: Dict[int, int]) -> Set[int]:
    """Add what these processes have started, and that, and so on."""
    every = set(found)
    while True:
        more = {pid for pid, parent in parents.items() if parent in every} - every
        if not more:
            return every
        every |= more
