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
PAGES = (LANGUAGES, ("docs/windows.md", "docs/windows.ko.md"))
TYPED = ("make ", "provision ", "pip", "eval ", "python3 ", "py ", "~/", ".venv", "ssh ")


def blocks(name: str, language: str = "yaml") -> list[str]:
    """The blocks of code in that language."""
    text = (TOP / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n((?:(?!```).*\n)*)```$", text, re.M)


def commands(name: str) -> list[str]:
    """The commands to type, without what is said of them."""
    text = (TOP / name).read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ") and line[4:5].strip()]
    typed = [line for line in lines if line.startswith(TYPED)]
    return [re.split(r"\s{2,}", line)[0] for line in typed]


def without_comments(block: str) -> str:
    return "\n".join(re.split(r"\s+# ", line)[0] for line in block.splitlines())


@pytest.mark.parametrize("name", LANGUAGES)
def test_inventories_load(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/id_ed25519").write_text("a key\n")
    inventories = [block for block in blocks(name, "yaml") if re.search("^cluster:", block, re.M)]
    assert len(inventories) == 3
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


@pytest.mark.parametrize("pages", PAGES, ids=lambda pages: str(pages[0]))
def test_both_languages_show_the_same(pages: tuple[str, str]) -> None:
    for language in ("yaml", "powershell"):
        english, korean = (list(map(without_comments, blocks(name, language))) for name in pages)
        assert sorted(english) == sorted(korean)
        assert english
    english, korean = (commands(name) for name in pages)
    assert sorted(english) == sorted(korean)
    assert len(english) > 5


@pytest.mark.parametrize("name", [name for pages in PAGES for name in pages])
def test_links_lead_somewhere(name: str) -> None:
    text = (TOP / name).read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?://)([^)#]*)(?:#([^)]*))?\)", text)
    assert targets
    for path, anchor in targets:
        file = ((TOP / name).parent / path).resolve() if path else TOP / name
        assert file.exists(), path
        if anchor:
            assert anchor in anchors(file), anchor


def anchors(file: Path) -> set[str]:
    """The names by which GitHub knows the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES[1])
def test_settings_in_the_page_about_windows_load(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_PW", "open-sesame")
    file = tmp_path / "lab.yml"
    ours = (
        "cluster: lab\npython: 3.11.9\nray: {version: 2.60.0}\nos: windows\nroot: 'D:\\ray'\nssh: {user: 'LAB\\kim'}\n"
    )
    file.write_text(f"{ours}head:\n  pc-01: {{}}\n{''.join(blocks(name, 'yaml'))}", encoding="utf-8")
    (host,) = load_inventory(file).hosts
    assert (host.root, host.ssh.user, host.account) == ("D:\\ray", "LAB\\kim", "LAB\\ray")
