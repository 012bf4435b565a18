"""The fixtures are in fixtures.py, for tests/winlab too; tests/conftest.py has them registered once."""

from .fixtures import MachineFactory

__all__ = ["MachineFactory"]
