"""Runs commands one after the other, measures what each cost, and says how they compare."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """What one run of a command took, in seconds.

    ``cpu`` is user and system time of the command and the processes it waited for, ``machine`` that of everything on
    this machine meanwhile: in the lab, the hosts too.
    """

    wall: float
    cpu: float
    machine: float


class CommandFailed(RuntimeError):
    """A measured command did not end as it should: its time would mean nothing."""


def cost_of(argv: Sequence[str | Path], expect: int = 0, env: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end and measure it.

    Raises:
        CommandFailed: it ended with another exit code than ``expect``.
    """
    with tempfile.TemporaryFile() as output:
        busy, begun = machine_seconds(), time.monotonic()
        process = subprocess.Popen(
            list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=PROJECT,
            env={**_environment(), **(env or {})},
        )  # fmt: skip
        _, status, used = os.wait4(process.pid, 0)
        wall, machine = time.monotonic() - begun, machine_seconds() - busy
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != expect:
            output.seek(0)
            said = output.read().decode(errors="replace")
            raise CommandFailed(f"exit code {process.returncode} of {' '.join(map(str, argv))}\n{said}")
    return Cost(wall, used.ru_utime + used.ru_stime, machine)


def _environment() -> dict[str, str]:
    """Return our environment, but with Python's byte code written and used, as on any machine it was installed on."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir(), "provision-bench-bytecode"))}


def machine_seconds() -> float:
    """Return the seconds that this machine's processors have worked since it was started."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, _steal = map(int, fields)
    return (user + nice + system + irq + softirq) / TICKS


@dataclass
class Comparison:
    """Costs of several commands, collected round by round; the first one is what the others are compared with."""

    title: str
    runs: dict[str, list[Cost]] = field(default_factory=dict)

    def round(self, commands: Mapping[str, Callable[[], Cost]]) -> None:
        """Run each command once, in order."""
        for name, run in commands.items():
            self.runs.setdefault(name, []).append(run())

    def ratio(self, name: str, what: str) -> float:
        """Return the median of the ratios pair by pair; ``what`` is wall, cpu or machine."""
        first = next(iter(self.runs.values()))
        pairs = zip(self.runs[name], first, strict=True)
        return statistics.median(_part(cost, what) / max(_part(base, what), 0.001) for cost, base in pairs)

    def table(self) -> str:
        """Return the medians, and the ratios to the first command."""
        header = f"  {'':24}{'wall':>9}{'cpu':>9}{'machine':>9}   ratios: {'wall':>5}{'cpu':>6}{'machine':>9}"
        lines = [self.title, header]
        base = next(iter(self.runs))
        for name, costs in self.runs.items():
            row = f"  {name:24}" + "".join(f"{_median(costs, what):8.2f}s" for what in ("wall", "cpu", "machine"))
            if name != base:
                wall, cpu, machine = (self.ratio(name, what) for what in ("wall", "cpu", "machine"))
                row += f"           {wall:5.2f}{cpu:6.2f}{machine:9.2f}"
            lines.append(row)
        lines.append(f"  medians of {len(self.runs[base])} rounds, ratios pair by pair; {load()}")
        return "\n".join(lines)

    def verdict(self, name: str, what: str, limit: float) -> str:
        """Return one line that says whether a limit holds."""
        ratio = self.ratio(name, what)
        return f"  {'holds ' if ratio <= limit else 'BROKEN'}  {name}: {what} {ratio:.2f} times, at most {limit} times"


def load() -> str:
    """Return how busy this machine was of late."""
    averages = " ".join(f"{value:.2f}" for value in os.getloadavg())
    return f"load average {averages} on {os.cpu_count()} processors"


def _median(costs: Sequence[Cost], what: str) -> float:
    return statistics.median(_part(cost, what) for cost in costs)


def _part(cost: Cost, what: str) -> float:
    return {"wall": cost.wall, "cpu": cost.cpu, "machine": cost.machine}[what]
