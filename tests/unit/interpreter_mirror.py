"""Interpreters from a mirror folder, for the tests of how they come into the cache."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provisioner.artifacts import Artifacts
from provisioner.errors import ProvisionError
from tests import interpreters

LINUX = {"os": "linux", "arch": "x86_64", "libc": "glibc", "libc_version": "2.36"}


WINDOWS = {"os": "windows", "arch": "AMD64"}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of whoever runs the tests are none of theirs; and no test may reach the internet."""
    for name in [name for name in os.environ if name.startswith("UV_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def mirror(tmp_path: Path) -> str:
    archives = [
        interpreters.pretended(tmp_path, "3.11.9", "linux", "x86_64"),
        interpreters.pretended(tmp_path, "3.11.9", "linux", "aarch64"),
        interpreters.pretended(tmp_path, "3.11.9", "macos", "aarch64"),
        interpreters.pretended(tmp_path, "3.11.9", "windows", "x86_64"),
        interpreters.pretended(tmp_path, "3.11.4", "windows", "x86_64"),
    ]
    return interpreters.mirror(tmp_path / "mir ror", archives)


def left_over(cache: Path) -> list[Path]:
    return [
        path
        for path in cache.rglob("*")
        if path.name.startswith(".part") or (path.parent.name == "work" and path.name != ".lock")
    ]


def refused(facts: dict[str, str], version: str, mirror: str | None, folder: Path) -> ProvisionError:
    with pytest.raises(ProvisionError) as caught:
        Artifacts(folder / "cache").interpreter(facts, version, mirror)
    assert left_over(folder / "cache") == []
    assert "s3cret" not in str(caught.value)
    assert "kim" not in str(caught.value)
    return caught.value
