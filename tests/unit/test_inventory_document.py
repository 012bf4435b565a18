"""Reading YAML: places, plain words, and every way a file can be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioner.errors import InputError
from provisioner.inventory import stamps
from provisioner.inventory.document import load_document
from provisioner.inventory.load import SCHEMA, load_inventory
from provisioner.inventory.validation import validate

QUICK = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "f.yml"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("12", 12),
        ("-3", -3),
        ("0644", "0644"),
        ("0x1f", "0x1f"),
        ("22:10", "22:10"),
        ("2024-01-01", "2024-01-01"),
        ("3.11.9", "3.11.9"),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e999", "1e999"),
        (".inf", ".inf"),
        ("'12'", "12"),
        ("!!str 12", "12"),
    ],
)
def test_plain_words(file: Path, text: str, value: object) -> None:
    file.write_text(f"key: {text}\n")
    read = load_document(file).value["key"]
    assert read == value
    assert isinstance(read, type(value))


def test_a_decimal_keeps_its_digits(file: Path) -> None:
    file.write_text("version: 3.10")
    read = load_document(file).value["version"]
    assert (str(read), f"{read}", f"{read:.1f}", read + 1) == ("3.10", "3.10", "3.1", 4.1)


def test_every_key_and_value_has_a_place(file: Path) -> None:
    file.write_text("a: 1\nb:\n  - x\n  - c: 2\n")
    document = load_document(file)
    assert str(document.place("b", 1, "c")) == f"{file}:4:8"
    assert str(document.key_place("b", 1, "c")) == f"{file}:4:5"
    assert str(document.place("b", 0, "nothing", "there")) == f"{file}:3:5"


def test_aliases_and_merges(file: Path) -> None:
    file.write_text("base: &b {x: 1, y: 2}\nown: {<<: *b, y: 3}\nagain: {y: 4, <<: [*b, {z: 5}]}\n")
    document = load_document(file)
    assert document.value["own"] == {"x": 1, "y": 3}
    assert document.value["again"] == {"y": 4, "x": 1, "z": 5}
    assert document.place("own", "y").line == 2


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
LADDER = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 60))

BAD_FILES: list[tuple[bytes, str, str]] = [
    (b"", "1:1", "the file is empty"),
    (b"  \n\n", "1:1", "the file is empty"),
    (b"# only this\n", "1:1", "nothing but comments"),
    (b"a: 1\nb: \xff\n", "2:4", "not UTF-8"),
    (b"a: 1\nb: \x00\n", "2:4", "character that YAML forbids"),
    (b"a: 1\n\tb: 2\n", "2:1", "spaces, not tabs"),
    (b"a: b: c\n", "1:5", "mapping values are not allowed"),
    (b"a: [1, 2\n", "2:1", "not YAML"),
    (b"a: 1\nb: 2\na: 3\n", "3:1", "the key 'a' is given twice, first at line 1, column 1"),
    (b"x: {a: 1, a: 2}\n", "1:11", "first at line 1, column 5"),
    (b"a: 1\n---\nb: 2\n", "2:1", "a second document"),
    (b"a: !!python/object:os.system x\n", "1:4", "tag"),
    (b"a: !!set {x}\n", "1:4", "tag"),
    (b"a: {{ x }}\n", "1:5", "a key must be a single word"),
    (b"'': 1\n", "1:1", "a key is missing"),
    (b"a: *b\n", "1:4", "no anchor '&b'"),
    (b"a: &a [*a]\n", "1:8", "no anchor '&a'"),
    (b"a: {<<: 3}\n", "1:9", "'<<' takes a mapping"),
    (b"[" * 50_000, "1:41", "levels inside each other"),
    (b"a: " + b"- " * 500, "1:4", "not YAML"),
    (LADDER.encode(), "39:", "levels inside each other"),
    (BOMB.encode(), "6:", "values with every alias written out"),
    (b"a" * 4_000_001, "1:1", "larger than 4 MB"),
]


@pytest.mark.parametrize(("content", "where", "what"), BAD_FILES, ids=range(len(BAD_FILES)))
def test_bad_files(file: Path, content: bytes, where: str, what: str) -> None:
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_document(file)
    assert str(caught.value).startswith(f"{file}:{where}"), str(caught.value)
    assert what in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, what in (
        (tmp_path / "gone", "there is no file"),
        (tmp_path, "cannot read"),
        (Path("a\0b"), "cannot read"),
    ):
        with pytest.raises(InputError, match=what):
            load_document(path)


def test_content_is_validated_once(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("cluster: a\npython: 3.11.9\nray: {version: 2.60.0}\nhead: {a: {}}\n")
    validate(load_document(file), SCHEMA)
    stamp = next((tmp_path / "cache" / "validated").iterdir())
    monkeypatch.setattr("provisioner.inventory.validation._validator", None)
    validate(load_document(file), SCHEMA)
    stamp.unlink()
    with pytest.raises(TypeError):
        validate(load_document(file), SCHEMA)


def test_a_cache_that_cannot_be_written_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    stamp = stamps.stamp_of("0", b"")
    stamps.remember(stamp)
    assert not stamps.remembered(stamp)


WORDS = st.sampled_from(
    ["a", "head", "ray", "ssh", "env", "version", "workers", "vars", "3.10", "x[1:3]", "<<", "python"]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=12
)
VALID: dict[str, Any] = {"cluster": "a", "python": "3.11.9", "ray": {"version": "2.60.0"}, "head": {"a": {}}}
KEYS = st.sampled_from(["ray", "ssh", "packages", "become_password", "root", "vars", "head", "workers", "account"])


def _loads_or_complains(file: Path) -> None:
    try:
        load_inventory(file, {})
    except InputError as error:
        assert str(error)


@QUICK
@given(st.text(max_size=60) | st.binary(max_size=60))
def test_any_text_loads_or_is_an_input_error(file: Path, content: str | bytes) -> None:
    file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    _loads_or_complains(file)


@QUICK
@given(st.text(alphabet="ab:-[]{}&*!|>'\"%@`#,?< \n\t0.1", max_size=40))
def test_any_punctuation_loads_or_is_an_input_error(file: Path, content: str) -> None:
    file.write_text(content)
    _loads_or_complains(file)


@QUICK
@given(TREES, KEYS, st.dictionaries(WORDS, TREES, max_size=2))
def test_any_structure_loads_or_is_an_input_error(file: Path, tree: Any, key: str, host: dict[str, Any]) -> None:
    file.write_text(yaml.safe_dump({**VALID, "workers": {"w": host}, key: tree}))
    _loads_or_complains(file)
