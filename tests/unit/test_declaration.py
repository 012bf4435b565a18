"""What a playbook may not ask of one host."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.declaration import Declarer
from provisioner.errors import InputError
from provisioner.inventory.load import load_inventory
from provisioner.playbook.load import load_playbook

INVENTORY = "cluster: lab\npython: 3.11.9\nray: {version: 2.60.0}\nhead: {w1: {address: 127.0.0.1}}\n"
FILE = "    - {name: %s, file: {path: %s, content: x}%s}\n"
VARIABLE = '    - {name: %s, variable: {name: %s, value: "1"}}\n'


def declare(folder: Path, tasks: str) -> dict[str, object]:
    (folder / "lab.yml").write_text(INVENTORY)
    (folder / "play.yml").write_text("- play: P\n  hosts: all\n  tasks:\n" + tasks)
    inventory = load_inventory(folder / "lab.yml")
    return Declarer(inventory, load_playbook(folder / "play.yml")).declare(inventory.head, "apply").hello


@pytest.mark.parametrize(
    ("tasks", "what"),
    [
        (FILE % ("A", "/x", "") + FILE % ("B", "/x", ""), "'A' and 'B' both set the file /x on w1"),
        (VARIABLE % ("A", "X") + VARIABLE % ("B", "X"), "'A' and 'B' both set the variable X on w1"),
        (FILE % ("A", "etc/x", ""), "the path 'etc/x' of 'A' is no full path"),
    ],
)
def test_mistakes(tasks: str, what: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=what):
        declare(tmp_path, tasks)


def test_one_file_for_each_os(tmp_path: Path) -> None:
    tasks = FILE % ("A", "/x", ", when: {os: linux}") + FILE % ("B", "/x", ", when: {os: macos}")
    assert declare(tmp_path, tasks)["host"] == "w1"
