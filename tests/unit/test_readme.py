"""What the READMEs show can be typed: inventories and plays load, and both languages show the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from provisioner.declaration import Declarer
from provisioner.inventory.load import load_inventory
from provisioner.playbook.load import default_playbook, load_playbook

TOP = Path(__file__).parents[2]
LANGUAGES = ("README.md", "README.ko.md")


def blocks(name: str, language: str = "yaml") -> list[str]:
    """The blocks of code in that language."""
    text = (TOP / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n((?:(?!```).*\n)*)```$", text, re.M)


def commands(name: str) -> list[str]:
    """The commands to type, without what is said of them."""
    text = (TOP / name).read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ") and line[4:5].strip()]
    typed = [line for line in lines if line.startswith(("make ", "provision ", "pip ", "eval "))]
    return [re.split(r"\s{2,}", line)[0] for line in typed]


def without_comments(block: str) -> str:
    return "\n".join(re.split(r"\s+# ", line)[0] for line in block.splitlines())


@pytest.mark.parametrize("name", LANGUAGES)
def test_inventories_load(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/id_ed25519").write_text("a key\n")
    inventories = [block for block in blocks(name, "yaml") if re.search("^cluster:", block, re.M)]
    assert len(inventories) == 2
    for number, text in enumerate(inventories):
        file = tmp_path / f"{number}.yml"
        file.write_text(text, encoding="utf-8")
        inventory = load_inventory(file)
        declarer = Declarer(inventory, load_playbook(default_playbook()))
        assert all(declarer.declare(host, "apply").plays for host in inventory.hosts)


@pytest.mark.parametrize("name", LANGUAGES)
def test_plays_load(name: str, tmp_path: Path) -> None:
    plays = [block for block in blocks(name, "yaml") if block.startswith("- play:")]
    assert len(plays) == 1
    (tmp_path / "mine.yml").write_text(
        "- {play: Prepare every host, hosts: all, tasks: [{name: P, python: {}}]}\n" + plays[0], encoding="utf-8"
    )
    assert load_playbook(tmp_path / "mine.yml").plays[1].name == "Prepare the GPU hosts"


def test_both_languages_show_the_same() -> None:
    for language in ("yaml", "powershell"):
        english, korean = (set(map(without_comments, blocks(name, language))) for name in LANGUAGES)
        assert english == korean
    english, korean = (set(commands(name)) for name in LANGUAGES)
    assert english == korean
    assert len(english) > 10
