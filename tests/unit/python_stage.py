"""Interpreters for the tests: scripts that tell a version, archives of them."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest


def script(path: Path, version: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version}\necho once >> {path}.log\n")
    path.chmod(0o755)
    return str(path)


class Pythons:
    """Interpreters of Python 3.4 in the places where hosts have them."""

    PLACES = (".pyenv/versions/{}/bin/python", ".local/share/uv/python/cpython-{}-linux/bin/python", "bin/python3.4")

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        monkeypatch.setenv("HOME", str(folder))
        monkeypatch.setenv("PATH", str(folder / "bin"))

    def lay(self, place: int, version: str) -> str:
        return script(self.folder / self.PLACES[place].format(version), version)


@pytest.fixture
def pythons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pythons:
    return Pythons(tmp_path, monkeypatch)


Entry = tuple[str, str, Any]


def archive(path: Path, *entries: Entry) -> Path:
    """Write a tar.gz of (kind, name, content or target)."""
    kinds = {"dir": tarfile.DIRTYPE, "file": tarfile.REGTYPE, "sym": tarfile.SYMTYPE, "link": tarfile.LNKTYPE,
             "fifo": tarfile.FIFOTYPE}  # fmt: skip
    with gzip.GzipFile(path, "wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for kind, name, value in entries:
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.mtime = kinds[kind], 0o6777, 1_000_000_000
            if kind == "file":
                member.size = len(value)
                tar.addfile(member, io.BytesIO(value))
            else:
                member.linkname = value or ""
                tar.addfile(member)
    return path
