"""Lab hosts without Python, or without other programs; and with one that they don't have by nature."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.interpreters import Archive

from .machines import Machine
from .shell import run

AWAY = "/usr/hidden"
"""Where a bare host's programs are meanwhile."""
PACKAGES = """\
- play: Prepare
  hosts: all
  tasks:
    - name: Find Python
      python: {}
    - name: Install Ray
      environment: {}
"""
"""A playbook that installs Ray and starts none."""
PYTHON_ONLY = "- {play: Prepare, hosts: all, tasks: [{name: Find Python, python: {}}]}\n"


def strip(machine: Machine, *programs: str) -> None:
    """Take programs away from a host."""
    machine.exec(["mkdir", "-p", AWAY])
    machine.exec(["sh", "-c", f"mv {' '.join(f'/usr/bin/{program}' for program in programs)} {AWAY}"])


def give_back(machine: Machine) -> None:
    """Undo `strip`, if there is anything to undo."""
    machine.exec(["sh", "-c", f"mv {AWAY}/* /usr/bin; rmdir {AWAY}"], check=False)


def give(machine: Machine, program: str) -> None:
    """Have a host have a program of this machine, with its libraries; fails the test if it can't."""
    path = shutil.which(program)
    if path is None:
        pytest.fail(f"this machine has no {program}, which the test wants: install it")
    needed = [word for line in run(["ldd", path]).stdout.splitlines() for word in line.split() if word[0] == "/"]
    for file in (path, *needed):
        target = machine.folder / "root" / Path(file).relative_to("/")
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    if machine.exec([program, "--version"], check=False).returncode:
        pytest.fail(f"this machine's {program} does not run on lab hosts")


def managed(archive: Archive, mirror: str, **more: Any) -> dict[str, Any]:
    """Return what an inventory says of an interpreter that is brought."""
    return {"python": {"version": archive.version, "source": "managed", "mirror": mirror}, **more}
