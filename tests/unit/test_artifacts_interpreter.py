"""Interpreters from mirrors, fetched by the real uv: once, verified, kept, and explained when they can't be had."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest

from provisioner.artifacts import Artifacts, Cache
from provisioner.artifacts.catalogue import Origin
from provisioner.artifacts.interpreter import Archive, interpreter_fingerprint
from provisioner.artifacts.platform import Platform
from provisioner.errors import HostFailed, InputError
from tests import interpreters
from tests.unit.test_artifacts_store import at_once

from .interpreter_mirror import LINUX, WINDOWS, left_over, mirror, no_settings

__all__ = ["mirror", "no_settings"]


MAC = {"os": "macos", "arch": "arm64"}


ARM = {"os": "linux", "arch": "aarch64"}


def without_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uv.find_uv_bin", lambda: pytest.fail("uv was asked"))


@pytest.mark.parametrize(
    ("facts", "key", "name"),
    [
        (LINUX, "linux-x86_64", "x86_64-unknown-linux-gnu"),
        (ARM, "linux-aarch64", "aarch64-unknown-linux-gnu"),
        (MAC, "macos-aarch64", "aarch64-apple-darwin"),
        (WINDOWS, "windows-x86_64", "x86_64-pc-windows-msvc"),
    ],
)
def test_an_archive_for_any_platform(
    facts: dict[str, str], key: str, name: str, mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts = Artifacts(tmp_path / "cache")
    archive = artifacts.interpreter(facts, "3.11.9", mirror)
    content = artifacts.path(archive.sha256).read_bytes()
    assert archive.filename == f"cpython-3.11.9-{interpreters.BUILD}-{name}-install_only.tar.gz"
    assert (archive.version, archive.platform_key, archive.size) == ("3.11.9", key, len(content))
    assert hashlib.sha256(content).hexdigest() == archive.sha256
    assert archive.url == f"{mirror}/{interpreters.BUILD}/{archive.filename.replace('9-2', '9%2B2')}"
    assert left_over(tmp_path / "cache") == []
    without_uv(monkeypatch)
    assert artifacts.interpreter(facts, "3.11.9", mirror) is archive
    assert Artifacts(tmp_path / "cache").interpreter(facts, "3.11.9", mirror) == archive


def test_many_hosts_share_one_work(mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    real = subprocess.Popen

    def counted(argv: Any, *rest: Any, **more: Any) -> Any:
        runs.append(argv)
        return real(argv, *rest, **more)

    monkeypatch.setattr(subprocess, "Popen", counted)
    artifacts = Artifacts(tmp_path / "cache")
    results = at_once(16, lambda: artifacts.interpreter({**LINUX, "hostname": "x"}, "3.11.9", mirror))
    assert len(results) == 16
    assert all(isinstance(result, Archive) and result is results[0] for result in results)
    assert len([argv for argv in runs if "install" in argv]) == 1


def test_many_hosts_share_one_error(mirror: str, tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path / "cache")
    results = at_once(4, lambda: artifacts.interpreter(MAC, "3.11.4", mirror))
    assert len({str(result) for result in results}) == 1
    assert len({id(result) for result in results}) == 4, "each thread may add its own host"


def test_the_mirror_may_be_named_in_several_ways(mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mir ror"
    shas = {
        Artifacts(tmp_path / "1").interpreter(WINDOWS, "3.11.4", str(folder)).sha256,
        Artifacts(tmp_path / "2").interpreter(WINDOWS, "3.11.4", f"{mirror}/").sha256,
    }
    monkeypatch.setenv("UV_PYTHON_INSTALL_MIRROR", mirror)
    shas.add(Artifacts(tmp_path / "3").interpreter(WINDOWS, "3.11.4").sha256)
    monkeypatch.setenv("UV_PYTHON_INSTALL_MIRROR", "http://127.0.0.1:9/elsewhere")
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", "http://127.0.0.1:9/list.json")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_COMPILE_BYTECODE", "1")
    monkeypatch.setenv("UV_PYTHON", "3.8")
    shas.add(Artifacts(tmp_path / "4").interpreter(WINDOWS, "3.11.4", mirror).sha256)
    assert len(shas) == 1


def test_what_was_fetched_is_fetched_anew_only_when_it_must(mirror: str, tmp_path: Path) -> None:
    cache, folder = tmp_path / "cache", tmp_path / "mir ror"
    first = Artifacts(cache).interpreter(LINUX, "3.11.9", mirror)
    Artifacts(cache).path(first.sha256).unlink()
    assert Artifacts(cache).interpreter(LINUX, "3.11.9", mirror) == first
    Artifacts(cache).path(first.sha256).write_bytes(b"cut")
    assert Artifacts(cache).interpreter(LINUX, "3.11.9", mirror) == first
    assert Artifacts(cache).path(first.sha256).stat().st_size == first.size
    other = interpreters.pretended(tmp_path / "other", "3.11.9", "linux", "x86_64", size=5000)
    interpreters.mirror(folder, [other])
    assert Artifacts(cache).interpreter(LINUX, "3.11.9", mirror).sha256 == other.sha256


def test_an_unreadable_record_is_made_anew(mirror: str, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    first = Artifacts(cache.folder).interpreter(LINUX, "3.11.9", mirror)
    name = interpreter_fingerprint(Platform.from_facts(LINUX), "3.11.9", Origin.of(mirror, {}))
    for text in ("", "{", "[]", '{"format": 0}', '{"format": 1, "version": "3.11.9"}', '{"format": 1, "more": 1}'):
        cache.write_lock(name, text)
        assert Artifacts(cache.folder).interpreter(LINUX, "3.11.9", mirror) == first


@pytest.mark.parametrize(
    ("facts", "error", "words"),
    [
        ({**LINUX, "libc": "musl", "libc_version": "1.2"}, HostFailed, "Linux with musl"),
        ({**LINUX, "libc_version": "2.12"}, HostFailed, "glibc 2.12 is too old"),
        ({"os": "windows", "arch": "arm64"}, HostFailed, "Windows on ARM"),
        ({"os": "linux", "arch": "riscv64"}, HostFailed, "linux on riscv64"),
        ({"os": "freebsd", "arch": "amd64"}, HostFailed, "freebsd"),
    ],
)
def test_hosts_that_ray_cannot_run_on_are_refused_before_any_work(
    facts: dict[str, str], error: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_uv(monkeypatch)
    with pytest.raises(error, match=words):
        Artifacts(tmp_path).interpreter(facts, "3.11.9")


@pytest.mark.parametrize("version", ["3.11", "3", "3.11.x", "2.7.18", "3.11.9 --force", ""])
def test_only_an_exact_version_will_do(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_uv(monkeypatch)
    with pytest.raises(InputError, match="is not an exact version"):
        Artifacts(tmp_path).interpreter(LINUX, version)
