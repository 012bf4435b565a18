"""Cuts the connection to a stand-in in the middle of every step of a run, each in a run of its own.

Steps are not listed here: they are what the program on the host does to the machine, told by the Python it runs in
(win/tripwire.py). As on Windows, whatever a session has started ends with it.
"""

from __future__ import annotations

import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from ..lab.cluster import Answer, Cluster
from ..lab.command import Running
from ..lab.shell import LabError
from .stages import HERE
from .stand_in import StandIn

STEP_LIMIT = 300.0
"""Seconds from the start of a run to its next step, or its end."""
MOST = 200
"""Steps of one command: more are a loop that no run gets out of."""


@dataclass
class Steps:
    """The steps at which runs on one stand-in were cut; its home must hold an interpreter that was brought."""

    stand_in: StandIn
    cut: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        (library,) = self.stand_in.path(rf"{self.stand_in.home}\.provision\python").glob("*/Lib")
        (library / "tripwire.py").write_bytes((HERE / "win/tripwire.py").read_bytes())
        with (library / "threading.py").open("a", encoding="utf-8") as module:
            module.write("\nimport tripwire\n")

    @property
    def _folder(self) -> Path:
        return self.stand_in.drive / "cuts"

    def through(self, cluster: Cluster, verb: str, *flags: str) -> Answer:
        """Run a command again and again, cut at the first step where none was cut yet; return what the last said."""
        self._folder.mkdir(exist_ok=True)
        while len(self.cut) < MOST:
            (self._folder / "seen").write_text("\n".join(self.cut), encoding="utf-8")
            (self._folder / "now").unlink(missing_ok=True)
            running = cluster.start(verb, "--yes", *flags)
            step = self._next(running)
            if not step:
                shutil.rmtree(self._folder)
                return cluster.answer(running.wait())
            self.stand_in.end_sessions()
            self.cut.append(step)
            lost = cluster.answer(running.wait(), code=4)
            assert lost.status()[self.stand_in.name] == "unreachable", (step, lost.result.out)
        raise LabError("no run gets through: " + "\n".join(self.cut))

    def _next(self, running: Running) -> str:
        """Wait until the program stands still before a step; returns it, empty if the run ended before."""
        deadline = time.monotonic() + STEP_LIMIT
        while not running.ended:
            if (self._folder / "now").exists():
                return (self._folder / "now").read_text(encoding="utf-8")
            if time.monotonic() > deadline:
                return self._gave_up(running)
            time.sleep(0.005)
        return ""

    def _gave_up(self, running: Running) -> str:
        running.signal(signal.SIGKILL)
        said = running.wait()
        raise LabError(f"neither a step nor an end within {STEP_LIMIT:.0f} s: {said.out}{said.err}")
