"""uv's catalogue of interpreters: what it tells, that it is asked once, and whose catalogue holds."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from provisioner.artifacts.archives import KnownArchives, has_say
from provisioner.artifacts.cache import Cache
from provisioner.artifacts.program import uv_program
from provisioner.errors import ProvisionError
from provisioner.ray.releases import WHEELS


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """A cache in which uv's answer is kept."""
    found = Cache(tmp_path_factory.mktemp("cache"))
    KnownArchives(found).versions("linux", "x86_64")
    return found


@pytest.mark.parametrize(("os", "arch"), list(WHEELS))
def test_every_system_of_ray_has_interpreters(os: str, arch: str, cache: Cache) -> None:
    known = KnownArchives(cache)
    assert {(3, 10, 11), (3, 11, 9), (3, 12, 10)} <= known.versions(os, arch)
    assert known.has(os, arch, (3, 11, 9))
    assert not known.has(os, arch, (3, 11, 99))
    assert not known.has(os, arch, (3, 11, 2)), "python-build-standalone never made one"
    assert max(known.versions(os, arch)) < (4, 0, 0)


def test_a_known_version_is_found_without_uv(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisioner.artifacts.program.uv_program", lambda: pytest.fail("uv was started"))
    known = KnownArchives(cache)
    began = time.process_time()
    assert known.has("linux", "x86_64", (3, 11, 9))
    assert time.process_time() - began < 0.02


def test_an_unknown_version_is_asked_for_once(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def uv() -> str:
        asked.append("uv")
        return uv_program()

    monkeypatch.setattr("provisioner.artifacts.program.uv_program", uv)
    known = KnownArchives(cache)
    for patch in range(90, 99):
        assert not known.has("linux", "x86_64", (3, 11, patch))
    assert asked == ["uv"]


@pytest.mark.parametrize("kept", ["", "nonsense", "[]", "{}", '{"linux-x86_64": []}'])
def test_a_useless_answer_is_asked_for_again(kept: str, tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.write_lock("archives", kept)
    assert KnownArchives(cache).has("linux", "x86_64", (3, 11, 9))
    assert '"3.11.9"' in (cache.read_lock("archives") or "")


def test_the_users_settings_of_uv_hide_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"UV_NO_MANAGED_PYTHON": "1", "UV_PYTHON_DOWNLOADS": "never", "UV_OFFLINE": "1"}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "uv.toml").write_text("this is no TOML")
    monkeypatch.chdir(tmp_path)
    assert KnownArchives(Cache(tmp_path / "cache")).has("windows", "x86_64", (3, 11, 9))


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert KnownArchives(Cache(tmp_path / "file" / "cache")).has("linux", "x86_64", (3, 11, 9))


@pytest.mark.parametrize("content", [None, "#!/bin/sh\nexit 2\n", "#!/bin/sh\necho '[{}]'\n", "#!/bin/sh\necho no\n"])
def test_a_broken_uv_is_told(content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "uv"
    if content is not None:
        program.write_text(content)
        program.chmod(0o755)
    monkeypatch.setattr("provisioner.artifacts.program.uv_program", lambda: str(program))
    with pytest.raises(ProvisionError, match="uv does not") as caught:
        KnownArchives(Cache(tmp_path / "cache")).has("linux", "x86_64", (3, 11, 9))
    assert "package uv" in caught.value.remedy


def test_whose_catalogue_holds(tmp_path: Path) -> None:
    plain, own = tmp_path / "plain", tmp_path / "a b"
    plain.mkdir()
    own.mkdir()
    (own / "download-metadata.json").write_text("{}")
    cases = [
        (None, {}, True),
        ("https://mirror.example/releases", {}, True),
        (plain.as_uri(), {}, True),
        (own.as_uri(), {}, False),
        (None, {"UV_PYTHON_INSTALL_MIRROR": own.as_uri()}, False),
        (plain.as_uri(), {"UV_PYTHON_INSTALL_MIRROR": own.as_uri()}, True),
        (None, {"UV_PYTHON_DOWNLOADS_JSON_URL": "https://x.example/y.json"}, False),
        (plain.as_uri(), {"UV_PYTHON_DOWNLOADS_JSON_URL": "x"}, False),
        (None, {"UV_PYTHON_CPYTHON_BUILD": "20240814"}, False),
    ]
    for mirror, environment, ours in cases:
        assert has_say(mirror, environment) is ours, (mirror, environment)
