"""Ranges in host names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.inventory.ranges import BadRange, expand


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("plain", ["plain"]),
        ("w[1:3]", ["w1", "w2", "w3"]),
        ("w[08:10].lab", ["w08.lab", "w09.lab", "w10.lab"]),
        ("w[8:10]", ["w8", "w9", "w10"]),
        ("w[0:2]", ["w0", "w1", "w2"]),
        ("[a:c]x", ["ax", "bx", "cx"]),
        ("[A:B]", ["A", "B"]),
        ("p[1:9:4]", ["p1", "p5", "p9"]),
        ("r[1:2]n[a:b]", ["r1na", "r1nb", "r2na", "r2nb"]),
        ("w[3:3]", ["w3"]),
    ],
)
def test_ranges(text: str, names: list[str]) -> None:
    assert expand(text) == names


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("w[1]", "'[1]' is not a range"),
        ("w[]", "'[]' is not a range"),
        ("w[1:2:3:4]", "is not a range"),
        ("w[-1:2]", "is not a range"),
        ("w[aa:bb]", "is not a range"),
        ("w[a:3]", "different kinds"),
        ("w[a:F]", "different kinds"),
        ("w[5:1]", "ends before it begins"),
        ("w[c:a]", "ends before it begins"),
        ("w[1:5:0]", "the step of"),
        ("w[01:100]", "same number of digits"),
        ("w[1:3", "do not pair up"),
        ("w1:3]", "do not pair up"),
        ("w[[1:2]]", "do not pair up"),
        ("w[1:999999999]", "more than 10000"),
        ("[1:999][1:999]", "more than 10000"),
    ],
)
def test_bad_ranges(text: str, what: str) -> None:
    with pytest.raises(BadRange) as caught:
        expand(text)
    assert what in str(caught.value)


@given(st.integers(0, 500), st.integers(0, 500), st.integers(1, 50), st.integers(1, 6))
def test_numbers_count_from_first_to_last(first: int, more: int, step: int, width: int) -> None:
    last = first + more
    digits = max(width, len(str(last)))
    names = expand(f"w[{first:0{digits}}:{last:0{digits}}:{step}]")
    assert [int(name[1:]) for name in names] == list(range(first, last + 1, step))
    if str(first) != f"{first:0{digits}}" and digits > 1:
        assert {len(name) for name in names} == {digits + 1}


@given(st.text(alphabet="w[]:019aZ", max_size=14))
def test_any_text_expands_or_is_a_bad_range(text: str) -> None:
    try:
        names = expand(text)
    except BadRange:
        return
    assert len(set(names)) == len(names) > 0
