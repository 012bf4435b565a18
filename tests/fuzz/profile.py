"""How many examples each test here tries, and what none of them may take: PROVISION_FUZZ is ``ci`` or ``nightly``."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings

Test = TypeVar("Test", bound=Callable[..., Any])

SHARES = {"inventories": 8, "playbooks": 8, "wire": 10, "conversation": 2, "program": 10, "facts": 8}
"""What each test has of all examples; a conversation takes a hundred times as long as a fact."""
EXAMPLES = {"ci": 2_300, "nightly": 23_000}[os.environ.get("PROVISION_FUZZ", "ci")]
SLOWEST = 20.0
"""Seconds of one example, on a machine that has others to do."""
GROWTH = 300
"""MiB that a process may grow by in one test."""


def share(name: str) -> int:
    """How many examples a test tries."""
    return EXAMPLES * SHARES[name] // sum(SHARES.values())


def fuzzed(name: str) -> Callable[[Test], Test]:
    """Settings of a test that has that share of all examples."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=share(name), suppress_health_check=checks)


@contextmanager
def bounded() -> Iterator[None]:
    """Have one example end in time, and not take memory without end."""
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.monotonic() - begun < SLOWEST
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    assert grown < GROWTH, f"{grown} MiB"
