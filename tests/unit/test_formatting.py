"""``provision fmt``: one way of writing, the same data, every comment kept, and twice is the same as once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.cli.main import cli
from provisioner.errors import InputError
from provisioner.inventory.formatting import formatted
from provisioner.inventory.layout import comments, data_of
from provisioner.portable import WINDOWS

TOP = Path(__file__).parents[2]
FILE = Path("inventory.yml")

CASES = {
    "spaces between words": ("a:   1\n", "a: 1\n"),
    "spaces at the end": ("a: 1   \n", "a: 1\n"),
    "inside brackets": ("a: {  b : 1,c: [ 1,2 ] }\n", "a: {b: 1, c: [1, 2]}\n"),
    "before a comment": ("a: 1 # x\n", "a: 1  # x\n"),
    "columns of comments stay": ("a: 1       # x\nbcd: 2     # y\n", "a: 1       # x\nbcd: 2     # y\n"),
    "deeper by two": ("a:\n    b:\n        c: 1\n", "a:\n  b:\n    c: 1\n"),
    "lists": ("a:\n- 1\n-   b: 2\n    c: 3\n", "a:\n  - 1\n  - b: 2\n    c: 3\n"),
    "comments go along": (
        "a:\n    # of b\n    b: 1\n    # the end of a\nc: 2\n", "a:\n  # of b\n  b: 1\n  # the end of a\nc: 2\n",
    ),
    "blank lines": ("\n\na: 1\n\n\n\nb: 2\n\n\n", "a: 1\n\nb: 2\n"),
    "no line feed at the end": ("a: 1", "a: 1\n"),
    "a byte order mark": ("\ufeffa: 1\n", "a: 1\n"),
    "texts of several lines": (
        "a:\n    b: |\n        one\n\n\n          two  \n", "a:\n  b: |\n      one\n\n\n        two  \n",
    ),
    "brackets over several lines": ("a: {b: 1, # x\n    c: 2}\n", "a: {b: 1,  # x\n    c: 2}\n"),
    "quotes stay": ("a: 'x'\nb: \"3.10\"\nc: 3.10\n", "a: 'x'\nb: \"3.10\"\nc: 3.10\n"),
    "line ends stay": ("a:   1\r\nb: 2\r\n", "a: 1\r\nb: 2\r\n"),
    "anchors": ("a: &x  {b: 1}\nc:   *x\nd:\n    <<: *x\n", "a: &x {b: 1}\nc: *x\nd:\n  <<: *x\n"),
    "nothing in it": ("a:\nb: {}\nc: [ ]\n", "a:\nb: {}\nc: []\n"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_one_way(case: tuple[str, str]) -> None:
    given_text, wanted = case
    assert formatted(given_text.encode(), FILE).decode() == wanted
    assert formatted(wanted.encode(), FILE).decode() == wanted


@pytest.mark.parametrize("file", ["inventory/example.yml", "playbooks/cluster.yml"])
def test_our_own_files_are_written_so(file: str) -> None:
    content = (TOP / file).read_bytes()
    assert formatted(content, TOP / file) == content


def test_what_is_no_yaml_is_refused_with_its_place() -> None:
    with pytest.raises(InputError, match=r"inventory\.yml:2:"):
        formatted(b"a: 1\n b: 2\n", FILE)


_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | _TEXTS
    | st.sampled_from(["a\n  b\n", "x\n\n\ny", "3.10"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS.filter(bool), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
_DATA = st.dictionaries(_TEXTS.filter(bool), _VALUES, min_size=1, max_size=5)


@st.composite
def _written(draw: Any) -> str:
    """Any data, written in one of many ways, with comments between the lines."""
    text: str = yaml.safe_dump(
        draw(_DATA),
        indent=draw(st.integers(2, 7)),
        default_flow_style=draw(st.sampled_from([True, False, None])),
        allow_unicode=draw(st.booleans()),
        width=draw(st.sampled_from([20, 80, 1 << 20])),
        default_style=draw(st.sampled_from([None, None, '"', "'", "|", ">"])),
        sort_keys=False,
    )
    lines = text.split("\n")
    for _ in range(draw(st.integers(0, 4))):
        comment = " " * draw(st.integers(0, 6)) + draw(st.sampled_from(["# why", "#", "", "   "]))
        lines.insert(draw(st.integers(0, len(lines))), comment)
    return "\n".join(lines)


@settings(max_examples=300, deadline=None)
@given(_written())
def test_says_the_same_and_once_is_enough(text: str) -> None:
    try:
        said = data_of(text, FILE)
    except InputError:
        return
    once = formatted(text.encode(), FILE)
    assert data_of(once.decode(), FILE) == said
    assert comments(once.decode()) == comments(text)
    assert formatted(once, FILE) == once


def _invoke(*words: str) -> Any:
    return CliRunner().invoke(cli, words)


def test_command_formats_and_keeps_rights(tmp_path: Path) -> None:
    file = tmp_path / "lab.yml"
    file.write_text("a:   1\n")
    file.chmod(0o640)
    named = _invoke("fmt", "--check", str(file))
    assert (named.exit_code, "written another way" in named.output, file.read_text()) == (2, True, "a:   1\n")
    assert _invoke("fmt", str(file)).exit_code == 0
    assert file.read_text() == "a: 1\n"
    assert [each.name for each in tmp_path.iterdir()] == ["lab.yml"]
    if not WINDOWS:
        assert file.stat().st_mode & 0o777 == 0o640
    assert _invoke("fmt", "--check", str(file)).exit_code == 0


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real.yml").write_text("a:   1\n")
    (tmp_path / "link.yml").symlink_to("real.yml")
    assert _invoke("fmt", str(tmp_path / "link.yml")).exit_code == 0
    assert (tmp_path / "link.yml").readlink() == Path("real.yml")
    assert (tmp_path / "real.yml").read_text() == "a: 1\n"
