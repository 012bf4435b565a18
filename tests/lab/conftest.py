"""Most fixtures are in fixtures.py, for tests/winlab too; tests/conftest.py has them registered once."""

from __future__ import annotations

import pytest

from tests import interpreters

from .fixtures import MachineFactory

__all__ = ["MachineFactory"]


@pytest.fixture(scope="module")
def archive() -> interpreters.Archive:
    """An interpreter that can be brought to hosts, made from one of this machine."""
    try:
        return interpreters.relocatable()
    except interpreters.Unavailable as reason:
        pytest.skip(str(reason))
