"""Who may do what on Windows, as far as it is text: accounts and access lists."""

from __future__ import annotations

import pytest

from provisioner.remote.failure import Failure
from provisioner.remote.platforms.windows import access

KNOWN = {"kim": "S-1-5-21-1-2-3-1001", "lab\\kim": "S-1-5-21-7-8-9-1105", "lee": "S-1-5-21-1-2-3-1002"}


@pytest.fixture(autouse=True)
def accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine DESK and the domain LAB, with a kim each."""

    def sid_of(account: str) -> str:
        try:
            return access.SYSTEM if access.is_system(account) else KNOWN[access.shortest(account, "DESK").lower()]
        except KeyError:
            raise Failure(f"there is no account {account!r} on this host") from None

    monkeypatch.setattr(access, "sid_of", sid_of)


SAME = [
    ("kim", "kim", True),
    ("kim", "KIM", True),
    ("kim", "DESK\\kim", True),
    ("kim", ".\\Kim", True),
    ("kim", "LAB\\kim", False),
    ("LAB\\kim", "lab\\Kim", True),
    ("kim", "lee", False),
    ("SYSTEM", "NT AUTHORITY\\System", True),
    ("S-1-5-18", "LocalSystem", True),
    ("SYSTEM", "kim", False),
]


@pytest.mark.parametrize(("one", "other", "same"), SAME)
def test_two_names_of_an_account(one: str, other: str, same: bool) -> None:
    assert access.same_account(one, other) is same
    assert access.same_account(other, one) is same


def test_a_name_that_means_nobody() -> None:
    with pytest.raises(Failure, match="there is no account 'nobody'"):
        access.same_account("kim", "nobody")
