"""`provision edit` at a terminal, with an editor that a test wrote."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.waiting import soon

from .command import Run

GOOD = "cluster: lab\npython: 3.11.9\nray: {version: 2.60.0}\nhead: {h1: {address: 10.0.0.1}}\n"
EDITOR = """#!/bin/sh
# Takes the next of the contents that the test has laid ready, and notes what it was called with.
echo "$@" >> called
for last; do :; done
n=$(wc -l < called)
cp "content$n" "$last"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    editor = tmp_path / "nano"
    editor.write_text(EDITOR)
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    (tmp_path / "lab.yml").write_text(GOOD)
    return tmp_path


def start(folder: Path, *contents: str) -> Run:
    for number, content in enumerate(contents, 1):
        (folder / f"content{number}").write_text(content)
    return Run([sys.executable, "-m", "provisioner.cli", "edit", "lab.yml"], folder, terminal=True)


def asked(run: Run, text: str, answer: str) -> None:
    assert soon(lambda: text in run.said, 60), run.said
    run.answer(answer + "\n")


def test_a_change_is_shown_and_saved(folder: Path) -> None:
    wanted = GOOD.replace("10.0.0.1", "10.0.0.7")
    run = start(folder, wanted)
    asked(run, "Apply it now", "n")
    assert run.end() == 0
    assert "-head: {h1: {address: 10.0.0.1}}" in run.said and "+head: {h1: {address: 10.0.0.7}}" in run.said
    assert (folder / "lab.yml").read_text() == wanted


def test_a_mistake_opens_the_editor_at_its_place(folder: Path) -> None:
    run = start(folder, GOOD.replace("3.11.9", "never"), GOOD.replace("lab", "den"))
    asked(run, "Go on editing?", "y")
    asked(run, "Apply it now", "n")
    assert run.end() == 0
    assert "lab.yml:2:9" in run.said
    first, second = (folder / "called").read_text().splitlines()
    assert first.startswith(str(folder)) and second.startswith("+2,9 ")
    assert (folder / "lab.yml").read_text() == GOOD.replace("lab", "den")
    assert sorted(path.name for path in folder.glob(".lab*")) == []


def test_who_gives_up_has_the_file_as_it_was(folder: Path) -> None:
    run = start(folder, "cluster: [")
    asked(run, "Go on editing?", "n")
    assert run.end() == 0
    assert "is as it was" in run.said
    assert (folder / "lab.yml").read_text() == GOOD


def test_an_editor_that_fails_changes_nothing(folder: Path) -> None:
    run = start(folder)
    assert run.end() == 1
    assert "ended with exit code 1: the file stays as it was" in run.said
    assert (folder / "lab.yml").read_text() == GOOD
