"""`provision validate`: all mistakes at once, and no host contacted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from provisioner.cli.main import cli

TOP = Path(__file__).parents[2]
RIGHT = "cluster: lab\npython: 3.11.9\nray: {version: 2.60.0}\nhead: {h1: {address: 192.0.2.1}}\nworkers: [w1]\n"
WRONG = RIGHT.replace("192.0.2.1", "kim@192.0.2.1").replace("[w1]", "[w1, w1]")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "right.yml").write_text(RIGHT)
    (tmp_path / "wrong.yml").write_text(WRONG)
    (tmp_path / "secret.yml").write_text(RIGHT + "ssh: {password: {from_env: NO_SUCH_SECRET}}\n")
    (tmp_path / "playbook.yml").write_text("- {play: P, hosts: nobody, tasks: [{name: T, python: {}}]}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["right.yml"], 0, ["right.yml is right: cluster lab, head h1, 1 worker"]),
        (["wrong.yml"], 1, ["wrong.yml:4:", "kim@192.0.2.1", "wrong.yml:5:", "w1"]),
        (["right.yml", "wrong.yml"], 1, ["right.yml is right", "wrong.yml:4:"]),
        (["none.yml"], 1, ["there is no file"]),
        (["secret.yml"], 1, ["NO_SUCH_SECRET"]),
        (["secret.yml", "--without-secrets"], 0, ["is right"]),
        (["right.yml", "--playbook", "playbook.yml"], 1, ["playbook.yml:1:", "nobody"]),
        ([], 1, ["there is no inventory"]),
    ],
)
def test_what_it_says(
    files: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, said: list[str]
) -> None:
    monkeypatch.chdir(files)
    monkeypatch.delenv("PROVISION_INVENTORY", raising=False)
    result = CliRunner().invoke(cli, ["validate", *words])
    assert result.exit_code == code, result.output
    for text in said:
        assert text in result.output + str(result.exception)


def test_as_a_document(files: Path) -> None:
    result = CliRunner().invoke(cli, ["validate", "--json", str(files / "right.yml"), str(files / "wrong.yml")])
    document = json.loads(result.stdout)
    assert (result.exit_code, document["valid"]) == (1, False)
    right, wrong = document["files"]
    assert (right["cluster"], right["workers"], right["errors"]) == ("lab", 1, [])
    assert {error["line"] for error in wrong["errors"]} == {4, 5}


@pytest.mark.parametrize("name", ["example.yml"])
def test_our_own_example_is_right(name: str) -> None:
    result = CliRunner().invoke(cli, ["validate", str(TOP / "inventory" / name)])
    assert result.exit_code == 0, result.output
