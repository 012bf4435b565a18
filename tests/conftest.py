"""The lab's fixtures, registered once for all folders: its Linux hosts and its stand-ins for Windows machines meet."""

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")  # how fast examples come says more about a machine with others on it than about them

LONGEST_FIRST = ("winlab", "lab", "faults", "sandbox")
"""Folders whose files take minutes: what is long and comes last keeps one process busy while the other is idle."""

if sys.platform == "linux":
    from .lab.fixtures import lab, machines, module_machines, provision, skip_where_no_lab, write_inventory
    from .winlab.fixtures import module_stand_ins, stand_ins, winlab

    __all__ = [
        "lab",
        "machines",
        "module_machines",
        "module_stand_ins",
        "provision",
        "stand_ins",
        "winlab",
        "write_inventory",
    ]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if sys.platform == "linux":
        skip_where_no_lab(items)
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST)
