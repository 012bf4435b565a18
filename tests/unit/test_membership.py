"""Hosts put into inventories and taken out: nothing else changes, however they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from provisioner.cli.main import cli
from provisioner.errors import InputError
from provisioner.inventory.document import parse_document
from provisioner.inventory.load import read_inventory
from provisioner.inventory.membership import with_host, without_host

FILE = Path("lab.yml")
TOP = "# ours\ncluster: lab\npython: 3.11.9\nray: {version: 2.60.0}\nhead: {h1: {address: 10.0.0.1}}\n"
BLOCK = TOP + (
    "workers:\n  # the old one\n  w1: {address: 10.0.0.2}  # slow\n  # the new one\n  w2:\n    address: 10.0.0.3\n"
    "    vars:\n      a: 1\n\n# the end\nvars: {b: 2}\n"
)
FLOW = TOP + "workers: {w1: {address: 10.0.0.2}, w2: {address: 10.0.0.3}}  # two\nvars: {b: 2}\n"


def hosts(content: bytes) -> dict[str, str]:
    return {host.name: host.address for host in read_inventory(parse_document(FILE, content)).hosts}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BLOCK, BLOCK.replace("      a: 1\n", "      a: 1\n  w3:\n    address: 10.0.0.9\n")),
        (FLOW, FLOW.replace("10.0.0.3}}", "10.0.0.3}, w3: {address: 10.0.0.9}}")),
        (TOP, TOP + "\nworkers:\n  w3: {address: 10.0.0.9}\n"),
        (TOP + "workers: {}\n", TOP + "workers: {w3: {address: 10.0.0.9}}\n"),
        (TOP + "workers:\n    w1: {address: a}", TOP + "workers:\n    w1: {address: a}\n    w3: {address: 10.0.0.9}\n"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_worker_is_added_as_the_last_one_is_written(text: str, expected: str, ends: str) -> None:
    content = with_host(text.replace("\n", ends).encode(), FILE, "w3", {"address": "10.0.0.9"})
    assert content.decode() == expected.replace("\n", ends)
    assert hosts(content)["w3"] == "10.0.0.9"


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        (BLOCK, "w1", BLOCK.replace("  # the old one\n  w1: {address: 10.0.0.2}  # slow\n", "")),
        (BLOCK, "w2", BLOCK.replace("  # the new one\n  w2:\n    address: 10.0.0.3\n    vars:\n      a: 1\n", "")),
        (FLOW, "w1", FLOW.replace("w1: {address: 10.0.0.2}, ", "")),
        (FLOW, "w2", FLOW.replace(", w2: {address: 10.0.0.3}", "")),
        (TOP + "workers: {w1: {address: a}}\n", "w1", TOP + "workers: {}\n"),
        (TOP + "workers:\n  w1: {address: a}\nvars: {b: 2}\n", "w1", TOP + "workers: {}\nvars: {b: 2}\n"),
    ],
)
def test_a_worker_is_taken_out_with_the_comment_above_it(text: str, name: str, expected: str) -> None:
    content = without_host(text.encode(), FILE, name)
    assert content.decode() == expected
    assert name not in hosts(content)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda: with_host(BLOCK.encode(), FILE, "w1", {"address": "x"}), "there is a host 'w1' already"),
        (lambda: with_host(BLOCK.encode(), FILE, "h1", {"address": "x"}), "there is a host 'h1' already"),
        (lambda: without_host(BLOCK.encode(), FILE, "w9"), "there is no worker 'w9'"),
        (lambda: without_host(BLOCK.encode(), FILE, "h1"), "'h1' is the head"),
    ],
)
def test_what_can_not_be_done_is_said(change: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        change()


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1), st.sampled_from([BLOCK, FLOW]))
def test_any_text_arrives_as_it_was_said(address: str, text: str) -> None:
    content = with_host(text.encode(), FILE, "w3", {"address": address, "ssh": {"user": address, "port": 22}})
    value = parse_document(FILE, content).value
    assert value["workers"]["w3"] == {"address": address, "ssh": {"user": address, "port": 22}}
    without = without_host(content, FILE, "w3")
    assert parse_document(FILE, without).value == parse_document(FILE, text.encode()).value


def run(*words: str) -> Any:
    return CliRunner().invoke(cli, list(words))


def test_the_command_changes_the_file(tmp_path: Path) -> None:
    file = tmp_path / "lab.yml"
    file.write_text(BLOCK)
    added = run("host", "add", "w3", "10.0.0.9", "-i", str(file), "--os", "windows", "--user", "ada", "--num-gpus", "2")
    assert added.exit_code == 0, added.output
    assert "    address: 10.0.0.9\n    os: windows\n    ssh: {user: ada}\n    ray: {num_gpus: 2}\n" in file.read_text()
    assert "w3 is added: `provision apply" in added.output
    assert run("host", "remove", "w3", "-i", str(file)).exit_code == 0
    assert file.read_text() == BLOCK


def test_what_would_be_no_inventory_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "lab.yml"
    file.write_text(BLOCK)
    refused = run("host", "add", "bad name", "10.0.0.9", "-i", str(file))
    assert isinstance(refused.exception, InputError)
    assert "stays as it is" in refused.exception.message
    assert file.read_text() == BLOCK
