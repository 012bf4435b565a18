"""Fixtures around the stand-ins: ``winlab``, ``stand_ins``, ``module_stand_ins``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import pytest

from ..lab.fixtures import give_up
from ..lab.machines import Lab
from ..lab.shell import LabUnavailable
from .stand_in import Options, StandIn, StandIns


class StandInFactory(Protocol):
    """``stand_ins(2, shell="powershell", codepage=949)``: booted fresh stand-ins; see `Options`."""

    def __call__(self, count: int = 1, mem: str = "6G", **options: Any) -> list[StandIn]: ...


@pytest.fixture(scope="session")
def winlab(lab: Lab) -> StandIns:
    """What stand-ins of this session are made of. Where it cannot be built: skipped, but failed when CI=true."""
    try:
        return StandIns.prepare(lab)
    except LabUnavailable as reason:
        give_up(reason)


@pytest.fixture
def stand_ins(winlab: StandIns) -> Iterator[StandInFactory]:
    """``stand_ins(2)`` gives booted fresh stand-ins w1, w2; they are gone after the test, however it ends."""
    with _factory(winlab) as make:
        yield make


@pytest.fixture(scope="module")
def module_stand_ins(winlab: StandIns) -> Iterator[StandInFactory]:
    """Like ``stand_ins``, but kept until the module's last test."""
    with _factory(winlab) as make:
        yield make


@contextmanager
def _factory(winlab: StandIns) -> Iterator[StandInFactory]:
    made: list[StandIn] = []

    def make(count: int = 1, mem: str = "6G", **options: Any) -> list[StandIn]:
        fresh = winlab.new(count, Options(**options))
        made.extend(fresh)
        winlab.lab.up(fresh, mem)
        return fresh

    try:
        yield make
    finally:
        winlab.lab.down(made)
