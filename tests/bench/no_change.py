"""Runs that change nothing, against the floor: ``python -m tests.bench.no_change [HOSTS...]``.

The floor (floor.py) is what no tool on Fabric can go below: one connection and one exec per host. The floor, `check`
and `apply` take turns on the same hosts, so that whatever else the machine does hits all of them. On 3 and 10 hosts the
built-in playbook and a real Ray; on 30 light.yml, for 30 Rays leave nothing of two processors to measure with.
"""

from __future__ import annotations

import sys
from pathlib import Path

from .measure import Comparison, cost_of
from .rooms import Room, prepared_lab, room

ROUNDS = {3: 9, 10: 9, 30: 7}
MOST_RAYS = 10
WALL, CPU = 1.4, 3.0
HERE = Path(__file__).parent


def main(arguments: list[str]) -> None:
    """Measure on each number of hosts and print what came out."""
    for count in map(int, arguments or ROUNDS):
        with prepared_lab() as lab, room(lab, count, "2G", None if count <= MOST_RAYS else HERE / "light.yml") as hosts:
            print(_compared(hosts), flush=True)


def _compared(hosts: Room) -> str:
    hosts.provision("apply", "--concurrency=3")  # two processors can't start ten Rays at once before Ray loses patience
    hosts.provision("check")
    count = len(hosts.machines)
    addresses = [machine.ip for machine in hosts.machines]
    floor = [sys.executable, "-m", "tests.bench.floor", str(hosts.machines[0].lab.golden.key), *addresses]
    what = "each with a real Ray" if hosts.playbook is None else "without Ray, but tests/bench/light.yml"
    cost_of(floor)
    result = Comparison(f"no change, {count} hosts ({what})")
    for _ in range(ROUNDS.get(count, 7)):
        result.round(
            {
                "floor": lambda: cost_of(floor),
                "provision check": lambda: hosts.provision("check"),
                "provision apply": lambda: hosts.provision("apply"),
            }
        )
    limits = (("wall", WALL), ("cpu", CPU))
    verdicts = [result.verdict(f"provision {verb}", *limit) for verb in ("check", "apply") for limit in limits]
    return "\n".join([result.table(), *verdicts])


if __name__ == "__main__":
    main(sys.argv[1:])
