"""Who may do what on Windows, as far as it is text: accounts and access lists."""

from __future__ import annotations

import pytest

from provisioner.remote.failure import Failure
from provisioner.remote.platforms.windows import access, descriptors, guard

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


BA, SY, KIM = "(A;OICI;FA;;;BA)", "(A;OICI;FA;;;SY)", "(A;OICI;0x1200a9;;;S-1-5-21-1-2-3-1001)"
COMPARED = [
    (f"D:P{BA}{SY}", f"D:PAI{SY}{BA}", True),
    (f"D:P{BA}{SY}", f"D:AI{BA}{SY}", False),
    (f"D:P{BA}{SY}", f"D:P{BA}{SY}{KIM}", False),
    (f"D:P{BA}{SY}", f"D:P{BA}{SY.replace('FA', '0x1301bf')}", False),
    (f"D:P{BA}", f"D:P{BA.replace('OICI', '')}", False),
    (f"D:P(D;;FA;;;WD){BA}", f"D:P{BA}(D;;FA;;;WD)", False),
    ("D:NO_ACCESS_CONTROL", "D:P", False),
    (f'D:P(XA;;FX;;;WD;(@User.a=="(P"))){BA}', f'D:P(XA;;FX;;;WD;(@User.a=="(P"))){BA}', True),
]


@pytest.mark.parametrize(("one", "other", "same"), COMPARED)
def test_two_lists_that_mean_the_same(one: str, other: str, same: bool) -> None:
    assert descriptors.same(one, other) is same
    assert descriptors.same(other, one) is same


OWN_PARTS = [
    ("D:AI(A;ID;FA;;;BA)(A;ID;FA;;;SY)", None),
    ("D:AI(A;;FR;;;WD)(A;ID;FA;;;BA)", "D:(A;;FR;;;WD)"),
    ("D:AI(A;OICIID;FA;;;BA)(A;OICI;FR;;;WD)", "D:(A;OICI;FR;;;WD)"),
    ("D:PAI(A;;FA;;;BA)", "D:P(A;;FA;;;BA)"),
    ("D:P", "D:P"),
]


@pytest.mark.parametrize(("text", "own"), OWN_PARTS)
def test_what_of_a_list_is_its_own(text: str, own: str | None) -> None:
    assert descriptors.own_part(text) == own


IN_WORDS = [
    (f"D:P{BA}{SY}{KIM}", "all: BA, SY; read: S-1-5-21-1-2-3-1001"),
    ("D:AI(A;OICIID;FA;;;BA)(A;OICIID;0x1301bf;;;AU)", "as the folder above says: all: BA; change: AU"),
    ("D:P(D;;FW;;;BU)(A;;GA;;;SY)(A;;FRFX;;;WD)", "all: SY; not change: BU; read: WD"),
    ("D:P(A;CI;0x4;;;AU)(A;OICIIO;SDGXGWGR;;;AU)", "change: AU"),
    ("D:P", "nobody may do anything"),
    ("D:NO_ACCESS_CONTROL", "everybody may do everything"),
]


@pytest.mark.parametrize(("text", "words"), IN_WORDS)
def test_a_list_in_words(text: str, words: str) -> None:
    assert descriptors.words(text, name=lambda sid: sid) == words


OWN, RAY = "S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-1002"


def rights(text: str) -> dict[str, str]:
    """Return by account what a list lets it do, and where."""
    names = {access.ADMINISTRATORS: "BA", access.SYSTEM: "SY", access.OWNER_RIGHTS: "OW", access.USERS: "BU"}
    marks = {descriptors.FULL: "F", descriptors.MODIFY: "M", descriptors.READ: "RX"}
    protected, entries = descriptors.split(text)
    assert protected, text
    fields = [entry.split(";") for entry in entries]
    assert all(kind == "A" for kind, *_ in fields)
    found = {names.get(sid, sid): marks[each] + ("" if flags else " here") for _, flags, each, _, _, sid in fields}
    assert len(found) == len(fields), "each is named once"
    return found


LISTS = {
    "an administrator, Ray as himself": (
        (True, OWN, OWN), "S-1-5-32-544",
        {"BA": "F", "SY": "F", "BU": "RX here"},
        {"BA": "F", "SY": "F", "OW": "RX", OWN: "RX"},
        {"BA": "F", "SY": "F", OWN: "M"},
    ),
    "an administrator, Ray as another": (
        (True, OWN, RAY), "S-1-5-32-544",
        {"BA": "F", "SY": "F", "BU": "RX here"},
        {"BA": "F", "SY": "F", "OW": "RX", RAY: "RX"},
        {"BA": "F", "SY": "F", RAY: "M"},
    ),
    "an administrator, Ray as SYSTEM": (
        (True, OWN, access.SYSTEM), "S-1-5-32-544",
        {"BA": "F", "SY": "F", "BU": "RX here"},
        {"BA": "F", "SY": "F", "OW": "RX"},
        {"BA": "F", "SY": "F"},
    ),
    "an administrator, Ray's account is still to be made": (
        (True, OWN, ""), "S-1-5-32-544",
        {"BA": "F", "SY": "F", "BU": "RX here"},
        {"BA": "F", "SY": "F", "OW": "RX"},
        {"BA": "F", "SY": "F"},
    ),
    "anybody": (
        (False, OWN, OWN), OWN,
        {"BA": "F", "SY": "F", OWN: "F", "BU": "RX here"},
        {"BA": "F", "SY": "F", OWN: "F"},
        {"BA": "F", "SY": "F", OWN: "F"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("who", "owner", "above", "root", "writable"), LISTS.values(), ids=list(LISTS))
def test_who_may_do_what(
    who: tuple[bool, str, str], owner: str, above: dict[str, str], root: dict[str, str], writable: dict[str, str]
) -> None:
    lists = guard.Lists(*who)
    assert lists.owner == owner
    assert rights(lists.above) == above
    assert rights(lists.root) == root
    assert rights(lists.writable) == writable
    assert lists.with_owner(lists.root) == f"O:{owner}{lists.root}"


PRIVATE = [
    (True, [], {"BA": "F here", "SY": "F here"}),
    (True, [RAY], {"BA": "F here", "SY": "F here", RAY: "F here"}),
    (False, [], {"BA": "F here", "SY": "F here", OWN: "F here"}),
    (False, [OWN], {"BA": "F here", "SY": "F here", OWN: "F here"}),
]


@pytest.mark.parametrize(("elevated", "more", "expected"), PRIVATE)
def test_who_may_use_a_private_file(
    monkeypatch: pytest.MonkeyPatch, elevated: bool, more: list[str], expected: dict[str, str]
) -> None:
    monkeypatch.setattr(access, "own_sid", lambda: OWN)
    assert rights(guard.private(elevated, more)) == expected


CONTENTS = [
    ([], True),
    (["env", "log", "lock", "marker.json", "python", "run"], True),
    (["env", "python", "before"], True),
    (["marker.json.part71-0a1b2c3d"], True),
    (["desktop.ini"], True),
    (["photos", "env"], False),
    (["photos", "env", "marker.json"], True),
    (["photos", "lock"], True),
    (["Windows", "Users"], False),
]


@pytest.mark.parametrize(("names", "good"), CONTENTS)
def test_what_a_root_may_hold(names: list[str], good: bool) -> None:
    if good:
        guard.check_content("D:\\x", names)
        return
    with pytest.raises(Failure, match="has things in it that are not ours"):
        guard.check_content("D:\\x", names)
