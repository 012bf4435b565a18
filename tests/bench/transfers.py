"""Packages for bare hosts by way of the head, against all from here: ``python -m tests.bench transfers [HOSTS]``.

Once with the lab's own speed, which no real link has, and once with a link of 100 Mbit/s between this machine and all
hosts together, while the hosts reach each other at full speed: a room of machines behind an uplink. Each run
begins with nothing on the hosts and all packages in the cache here. The bytes are those that leave this machine.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from provisioner.artifacts import Artifacts
from tests.lab import plumbing
from tests.lab.inventories import write_inventory

from .cold import PYTHON, REQUIREMENTS
from .measure import Comparison, Cost
from .rooms import SMALL, Room, forget_files, prepared_lab, room

HOSTS = 10
ROUNDS = 2
LINK = 100
"""Megabits a second."""
MOST = 1.2
"""Times the set of one host that may leave this machine."""
HERE = Path(__file__).parent
FACTS = {"os": "linux", "arch": "x86_64", "libc": "glibc", "libc_version": "2.36"}


def main(arguments: list[str]) -> None:
    """Measure and print."""
    count = int(arguments[0]) if arguments else HOSTS
    lock = Artifacts().lock(FACTS, PYTHON, REQUIREMENTS)
    size = sum(file.size for file in (*lock.wheels, lock.uv))
    for mbit in (0, LINK):
        link = f"{mbit} Mbit/s from here" if mbit else "the lab's own speed"
        result = Traffic(f"packages for {count} bare hosts, {size / 10**6:.0f} MB each, {link}")
        with prepared_lab() as lab, room(lab, count, "2G", HERE / "packages.yml") as hosts:
            plumbing.slow_controller(mbit)
            for _ in range(1 if mbit else ROUNDS):
                result.round({way: partial(result.apply, hosts, way) for way in ("none", "head")})
        print(result.table(), *result.bytes_sent(size), sep="\n", flush=True)


@dataclass
class Traffic(Comparison):
    """A comparison that also counts what leaves this machine."""

    sent: dict[str, list[int]] = field(default_factory=dict)

    def apply(self, hosts: Room, mirror: str) -> Cost:
        """Bring packages to bare hosts."""
        write_inventory(hosts.inventory, "bench", hosts.machines, ray=SMALL, artifacts={"mirror": mirror})
        hosts.provision("teardown", "--yes", "--purge")
        forget_files()
        before = plumbing.bytes_sent()
        cost = hosts.provision("apply")
        self.sent.setdefault(mirror, []).append(plumbing.bytes_sent() - before)
        return cost

    def bytes_sent(self, size: int) -> list[str]:
        """Return lines that say how much left this machine, in sets of one host."""
        times = {way: max(counts) / size for way, counts in self.sent.items()}
        lines = [f"  mirror: {way:6}{max(self.sent[way]) / 10**6:9.1f} MB, {times[way]:.3f} sets" for way in times]
        verdict = "holds " if times["head"] <= MOST else "BROKEN"
        return [*lines, f"  {verdict}  bytes from here: {times['head']:.2f} sets of one host, at most {MOST}"]


if __name__ == "__main__":
    main(sys.argv[1:])
