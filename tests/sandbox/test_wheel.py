"""What `pip install .` brings: the program works from the wheel alone, away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked into a folder of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(argv, cwd=CHECKOUT, check=True, timeout=120, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as bundle:
        bundle.extractall(folder / "site")
    return folder / "site"


def provision(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "provisioner.cli", *arguments],
        cwd=installed.parent,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("which", ["inventory", "playbook"])
def test_the_schemas_travel(installed: Path, which: str) -> None:
    shown = provision(installed, "schema", which)
    assert shown.stdout == (CHECKOUT / "provisioner" / which / "schema.json").read_text(encoding="utf-8")


def test_the_default_playbook_travels(installed: Path) -> None:
    inventory = installed.parent / "inventory.yml"
    inventory.write_text(
        "cluster: lab\npython: 3.11.9\nray: {version: 2.60.0}\nhead: {w1: {address: 127.0.0.1, ssh: {port: 1}}}\n"
    )
    checked = provision(installed, "check", "inventory.yml")
    assert "w1: unreachable" in checked.stdout, checked.stderr
    assert checked.returncode == 4
    assert (installed / "provisioner" / "playbook" / "cluster.yml").read_bytes() == (
        CHECKOUT / "playbooks" / "cluster.yml"
    ).read_bytes()


def test_the_remote_program_travels_whole(installed: Path) -> None:
    here = {path.relative_to(CHECKOUT) for path in (CHECKOUT / "provisioner" / "remote").rglob("*.py")}
    assert here == {path.relative_to(installed) for path in (installed / "provisioner" / "remote").rglob("*.py")}
