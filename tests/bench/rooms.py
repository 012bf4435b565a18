"""Lab hosts with an inventory, as the benchmarks need them."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.inventories import write_inventory
from tests.lab.machines import Lab, Machine

from .measure import Cost, cost_of

SMALL = {"num_cpus": 1, "object_store_memory": 80_000_000}
"""Enough for an idle node: many of them share this machine's memory."""
LAB_LIMIT = 1800.0
"""Seconds to wait for another session to leave the lab."""


@dataclass
class Room:
    """Some hosts, the inventory that names them, and the command line that works on it."""

    machines: Sequence[Machine]
    inventory: Path
    playbook: Path | None = None
    state: dict[str, str] = field(default_factory=dict)

    def provision(self, verb: str, *flags: str, expect: int = 0) -> Cost:
        """Run ``provision`` as its users do, without a terminal."""
        playbook: list[str | Path] = ["--playbook", self.playbook] if self.playbook else []
        argv = [sys.executable, "-m", "provisioner.cli", verb, self.inventory, *playbook, *flags]
        return cost_of(argv, expect, self.state)


@contextmanager
def prepared_lab() -> Iterator[Lab]:
    """Have the lab for a while; other sessions may use it in between."""
    lab = Lab.prepare(LAB_LIMIT)
    try:
        yield lab
    finally:
        lab.close()


@contextmanager
def room(lab: Lab, count: int, memory: str = "6G", playbook: Path | None = None) -> Iterator[Room]:
    """Boot fresh hosts, write their inventory, and take them down in the end."""
    machines = lab.new(count)
    try:
        lab.up(machines, memory)
        with tempfile.TemporaryDirectory(prefix="provision-bench-") as folder:
            inventory = write_inventory(Path(folder, "inventory.yml"), "bench", machines, ray=SMALL)
            yield Room(machines, inventory, playbook, {"PROVISION_STATE": str(Path(folder, "state"))})
    finally:
        lab.down(machines)


def forget_files() -> None:
    """Have the kernel forget what it keeps of files in memory, so that every run begins alike."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n", encoding="ascii")
