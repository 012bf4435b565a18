"""``provision --help``: CPU seconds until a user sees the commands."""

from __future__ import annotations

import statistics
import sys

from .measure import cost_of, load

LIMIT = 0.2
ROUNDS = 9


def main() -> None:
    """Measure and print."""
    costs = [cost_of([sys.executable, "-m", "provisioner.cli", "--help"]) for _ in range(ROUNDS)]
    cpu = statistics.median(cost.cpu for cost in costs)
    print("provision --help")
    print(f"  {'holds ' if cpu <= LIMIT else 'BROKEN'}  {cpu:.3f} s of CPU, at most {LIMIT}; {load()}")


if __name__ == "__main__":
    main()
