"""All benchmarks, or one by its name: ``python -m tests.bench [no_change | cold | help_text | transfers]``."""

from __future__ import annotations

import sys
from collections.abc import Callable

from . import cold, help_text, no_change, transfers

ALL: dict[str, Callable[[list[str]], None]] = {
    "help_text": lambda arguments: help_text.main(),
    "no_change": no_change.main,
    "cold": cold.main,
    "transfers": transfers.main,
}

if __name__ == "__main__":
    name, *arguments = sys.argv[1:] or [""]
    if name and name not in ALL:
        sys.exit(f"there is no benchmark {name!r}; there are: {', '.join(ALL)}")
    for each in [name] if name else ALL:
        ALL[each](arguments)
