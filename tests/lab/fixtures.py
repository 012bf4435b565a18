"""Fixtures around the lab: ``lab``, ``machines``, ``module_machines``, ``write_inventory``, ``provision``."""

from __future__ import annotations

import os
import signal
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, Protocol

import pytest

from .command import Provision
from .golden import require_debian_root
from .inventories import write_inventory as write_inventory_file
from .machines import Lab, Machine
from .shell import LabUnavailable


class MachineFactory(Protocol):
    """``machines(3)`` or ``machines(2, mem="2G")``: booted fresh hosts."""

    def __call__(self, count: int, mem: str = "6G") -> list[Machine]: ...


def skip_where_no_lab(items: list[pytest.Item]) -> None:
    """Where nobody could have a lab, say so in one line per file instead of one per test."""
    if _ci():
        return
    try:
        require_debian_root()
    except LabUnavailable as reason:
        for item in items:
            if "lab" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason=f"no lab here: {reason}"))


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The lab of this session. Where it cannot be: skipped with the reason, but failed when CI=true."""
    try:
        prepared = Lab.prepare()
    except LabUnavailable as reason:
        give_up(reason)
    with _terminated_like_interrupted():
        try:
            yield prepared
        finally:
            prepared.close()


@pytest.fixture
def machines(lab: Lab) -> Iterator[MachineFactory]:
    """``machines(3)`` gives booted fresh hosts h1, h2, h3; they are gone after the test, however it ends."""
    with _factory(lab) as make:
        yield make


@pytest.fixture(scope="module")
def module_machines(lab: Lab) -> Iterator[MachineFactory]:
    """Like ``machines``, but kept until the module's last test."""
    with _factory(lab) as make:
        yield make


@pytest.fixture
def write_inventory() -> Callable[..., Path]:
    """``write_inventory(path, cluster, machines, **over)``: see inventories.py."""
    return write_inventory_file


@pytest.fixture(scope="session")
def provision(lab: Lab) -> Provision:
    """``provision("apply", ...)`` runs the real command line as a process of its own; see command.py."""
    return Provision(cache=Path(os.environ.get("PROVISION_CACHE") or lab.home / "cache"))


def give_up(reason: LabUnavailable) -> NoReturn:
    """Skip with the reason, but fail when CI=true."""
    message = f"no lab here: {str(reason).splitlines()[0]}"
    if _ci():
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def _ci() -> bool:
    return os.environ.get("CI", "").lower() in {"true", "1"}


@contextmanager
def _factory(lab: Lab) -> Iterator[MachineFactory]:
    made: list[Machine] = []

    def make(count: int, mem: str = "6G") -> list[Machine]:
        fresh = lab.new(count)
        made.extend(fresh)
        lab.up(fresh, mem)
        return fresh

    try:
        yield make
    finally:
        lab.down(made)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM ends the session as Ctrl-C does, so that the hosts are taken down."""

    def interrupt(number: int, frame: types.FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = None
    with suppress(ValueError):  # not in the main thread
        before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
