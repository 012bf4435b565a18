"""The examples add up to what was promised."""

from __future__ import annotations

from .profile import EXAMPLES, SHARES, share


def test_there_are_as_many_examples_as_promised() -> None:
    promised = {2_300: 2_000, 23_000: 20_000}[EXAMPLES]
    assert sum(share(name) for name in SHARES) >= promised
