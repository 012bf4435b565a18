"""Most fixtures are in fixtures.py, for tests/winlab too; tests/conftest.py has them registered once."""

from __future__ import annotations

import pytest

from tests import interpreters

from .fixtures import MachineFactory

HOSTS_PYTHON = "3.11.2"
"""What Debian 12, of which the hosts are made, brings."""
__all__ = ["MachineFactory"]


@pytest.fixture(scope="module")
def archive() -> interpreters.Archive:
    """An interpreter that can be brought to hosts, made from one of this machine, of another version than theirs."""
    others = [each for each in interpreters.at_hand() if each.version != HOSTS_PYTHON]
    if not others:
        pytest.skip(f"there is no Python here but {HOSTS_PYTHON}, which the hosts have")
    try:
        return interpreters.relocatable(min(others, key=lambda each: each.minor != HOSTS_PYTHON.rpartition(".")[0]))
    except interpreters.Unavailable as reason:
        pytest.skip(str(reason))
