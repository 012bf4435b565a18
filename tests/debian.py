"""Programs that a test needs and this machine may lack: installed by Debian's own means, by one test at a time."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from filelock import FileLock

LIMIT = 600


def need(**packages: str) -> None:
    """Have programs (package by program); where that can't be done the test says so, and fails if CI is set."""
    missing = [package for program, package in packages.items() if not shutil.which(program)]
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"there is no {' and no '.join(missing)} here")
    apt = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", f"DPkg::Lock::Timeout={LIMIT}"]
    with FileLock(Path(tempfile.gettempdir()) / "provision-tests-apt.lock", timeout=LIMIT):
        subprocess.run([*apt, "update"], check=False, timeout=LIMIT)
        subprocess.run([*apt, "install", "-y", "--no-install-recommends", *missing], check=True, timeout=LIMIT)
