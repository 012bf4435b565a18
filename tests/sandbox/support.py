"""Looking at processes from outside, and waiting with a limit."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.waiting import soon


def alive(pid: int) -> bool:
    """Say whether a process runs; one that waits to be reaped does not."""
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, timeout=5, check=False
    )
    return bool(state.stdout.strip()) and not state.stdout.strip().startswith("Z")


def zombies(parent: int) -> list[str]:
    """List the unreaped children of a process."""
    listed = subprocess.run(["ps", "-eo", "ppid=,stat=,args="], capture_output=True, text=True, timeout=5, check=True)
    rows = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
    return [" ".join(row) for row in rows if row[0] == str(parent) and row[1].startswith("Z")]


def number_in(file: Path) -> int:
    """Return the number a command on a host wrote to a file, waiting for it."""
    assert soon(lambda: file.exists() and file.read_text().endswith("\n")), f"{file} did not appear"
    return int(file.read_text())
