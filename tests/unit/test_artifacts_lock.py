"""Locks: read from what uv answered, made with the real uv and a package index in a folder, and explained."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from provisioner.artifacts import Cache, Lock, Platform, Wheel, resolve
from provisioner.artifacts.compile import Request
from provisioner.artifacts.explain import explain
from provisioner.artifacts.resolve import wheels_in
from provisioner.artifacts.sources import Sources
from provisioner.errors import InputError, ProvisionError

WINDOWS = Platform("windows", "x86_64")
LINUX = Platform("linux", "x86_64", "glibc", "2.36")
UV = Wheel("uv", "1.0", "uv-1.0-py3-none-win_amd64.whl", "b" * 64, 5, "https://files.example/uv.whl")

# What uv 0.13.9 answered for ray[default]==2.60.0 on Windows with Python 3.11.9: four of 59 packages.
PYLOCK = """\
lock-version = "1.0"
created-by = "uv"
requires-python = ">=3.11.9"

[[packages]]
name = "aiohttp"
version = "3.14.5"
wheels = [
    { url = "https://files.example/0f/15/aiohttp-3.14.5-cp311-cp311-win_amd64.whl", upload-time = 2026-10-11T01:00:14Z, size = 512575, hashes = { sha256 = "6f275c11d1aa6d4c458e05a68be084efe3c55a113d99e3f46a318098e52948fc" } },
    { url = "https://files.example/68/30/aiohttp-3.14.5-py3-none-any.whl", upload-time = 2026-10-11T01:05:08Z, size = 279517, hashes = { sha256 = "efc21a454892828368b11c2c780de0ff8bc991f73f6b99c6b66e56205470929b" } },
]

[[packages]]
name = "colorama"
version = "0.4.6"
marker = "sys_platform == 'win32'"
wheels = [{ url = "https://files.example/d1/d6/colorama-0.4.6-py2.py3-none-any.whl", upload-time = 2022-10-25T02:36:20Z, size = 25335, hashes = { sha256 = "4f1d9991f5acc0ca119f9d443620b77f9d6b33703e51011c16baf57afb285fc6" } }]

[[packages]]
name = "cryptography"
version = "50.0.2"
marker = "python_full_version >= '3.6' and python_full_version < '3.14'"
wheels = [
    { url = "https://files.example/9a/4f/cryptography-50.0.2-cp311-abi3-win_amd64.whl", upload-time = 2026-09-30T14:44:11Z, size = 3824692, hashes = { sha256 = "7afa5a6602a9f29af1f3a2965f831bae7c9d5d597b7cbb716d41ab3b7d89879c" } },
    { url = "https://files.example/f6/b6/cryptography-50.0.2-cp39-abi3-win_amd64.whl", upload-time = 2026-09-30T15:29:46Z, size = 3854095, hashes = { sha256 = "4e81d95e5bafc2d6e34e4bed780e53e4d5b9a2f928573428aa4d35fbec1eb0de" } },
]

[[packages]]
name = "ray"
version = "2.60.0"
wheels = [{ url = "https://files.example/06/67/ray-2.60.0-cp311-cp311-win_amd64.whl", upload-time = 2026-11-04T02:00:08Z, size = 29378639, hashes = { sha256 = "844eb7f6a2425f2f578066d09ce4aa20961b2b6d457379d493e457512db4fb6e" } }]
"""  # noqa: E501


def lock_from_pylock(text: str, uv: Wheel, platform: Platform, python: str) -> Lock:
    return Lock.of(platform.key, python, wheels_in(text, platform, python), uv)


def fingerprint(
    platform: Platform, python: str, requirements: tuple[str, ...], settings: dict[str, str] | None = None
) -> str:
    return resolve.fingerprint(Request(platform, python, requirements, Sources(environment=settings or {})))


def resolve_lock(platform: Platform, python: str, requirements: tuple[str, ...], cache: Cache) -> Lock:
    return resolve.resolve_lock(Request(platform, python, requirements), cache)


def test_a_lock_holds_the_best_wheel_of_each_package() -> None:
    lock = lock_from_pylock(PYLOCK, UV, WINDOWS, "3.11.9")
    assert [wheel.filename for wheel in lock.wheels] == [
        "aiohttp-3.14.5-cp311-cp311-win_amd64.whl",
        "colorama-0.4.6-py2.py3-none-any.whl",
        "cryptography-50.0.2-cp311-abi3-win_amd64.whl",
        "ray-2.60.0-cp311-cp311-win_amd64.whl",
    ]
    assert lock.wheels[3].size == 29378639
    assert lock.requirements.splitlines()[1] == f"colorama==0.4.6 --hash=sha256:{lock.wheels[1].sha256}"
    assert lock.requirements.count("--hash") == 4


def test_a_lock_survives_its_own_text() -> None:
    lock = lock_from_pylock(PYLOCK, UV, WINDOWS, "3.11.9")
    assert Lock.from_json(lock.to_json()) == lock


@pytest.mark.parametrize(
    "change",
    [{"format": 0}, {"digest": "x"}, {"wheels": [{"name": "x"}]}, {"python": "3.11.8"}, {"more": 1}, {"uv": None}],
)
def test_a_changed_lock_is_refused(change: dict[str, object]) -> None:
    text = lock_from_pylock(PYLOCK, UV, WINDOWS, "3.11.9").to_json()
    with pytest.raises(ValueError):
        Lock.from_json(json.dumps({**json.loads(text), **change}))


def test_the_digest_names_the_environment_and_not_its_installer() -> None:
    other_uv = Wheel("uv", "2.0", "uv-2.0-py3-none-win_amd64.whl", "c" * 64, 5, "https://files.example/uv.whl")
    digest = lock_from_pylock(PYLOCK, UV, WINDOWS, "3.11.9").digest
    assert lock_from_pylock(PYLOCK, other_uv, WINDOWS, "3.11.9").digest == digest
    assert lock_from_pylock(PYLOCK, UV, WINDOWS, "3.11.8").digest != digest


def test_credentials_do_not_get_into_a_lock() -> None:
    text = PYLOCK.replace("https://files.example/", "https://me:secret@files.example/")
    assert lock_from_pylock(text, UV, WINDOWS, "3.11.9") == lock_from_pylock(PYLOCK, UV, WINDOWS, "3.11.9")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("ray-2.60.0-cp311-cp311-win_amd64.whl", "ray-2.60.0-cp311-cp311-win_arm64.whl", "ray 2.60.0 has no wheel for"),
        ('wheels = [{ url = "https://files.example/06', 'others = [{ url = "https://files.example/06', "ray 2.60.0"),
        ("hashes = { sha256", "hashes = { md5", "no sha256 for aiohttp-3.14.5"),
        ('name = "ray"', "", "uv's lock cannot be read"),
        ("[[packages]]", "[[packages]", "uv's lock cannot be read"),
    ],
)
def test_what_cannot_be_locked_is_named(old: str, new: str, words: str) -> None:
    assert old in PYLOCK
    with pytest.raises(ProvisionError, match=words):
        lock_from_pylock(PYLOCK.replace(old, new), UV, WINDOWS, "3.11.9")


def test_the_fingerprint_depends_on_what_matters() -> None:
    first = fingerprint(LINUX, "3.11.2", ("ray==1", "redis"))
    assert first == fingerprint(LINUX, "3.11.2", ("redis", "ray==1 ", "redis"))
    assert first == fingerprint(Platform("linux", "x86_64", "glibc", "2.36.9"), "3.11.2", ("ray==1", "redis"))
    others = {
        fingerprint(LINUX, "3.11.3", ("ray==1", "redis")),
        fingerprint(WINDOWS, "3.11.2", ("ray==1", "redis")),
        fingerprint(LINUX, "3.11.2", ("ray==2", "redis")),
        fingerprint(LINUX, "3.11.2", ("ray==1", "redis"), {"UV_DEFAULT_INDEX": "https://mirror.example"}),
    }
    assert len(others | {first}) == 5


def test_a_new_password_does_not_change_the_fingerprint() -> None:
    prints = {
        fingerprint(LINUX, "3.11.2", (), {"UV_DEFAULT_INDEX": f"https://me:{word}@mirror.example/simple"})
        for word in ("one", "two")
    }
    assert len(prints) == 1


UNKNOWN_VERSION = """\
error: No solution found when resolving dependencies
  cause: Because there is no version of ray==2.99.0 and you require ray==2.99.0, we can conclude that your \
requirements are unsatisfiable.
"""
UNKNOWN_VERSION_UV_0_9 = """\
  × No solution found when resolving dependencies:
  ╰─▶ Because there is no version of ray==2.99.0 and you require ray==2.99.0,
      we can conclude that your requirements are unsatisfiable.
"""
CONFLICT = """\
error: No solution found when resolving dependencies
  cause: Because ray>=2.60.0 depends on protobuf>=3.20.3 and you require ray==2.60.0, we can conclude that you \
require protobuf>=3.20.3.
         And because you require protobuf<3, we can conclude that your requirements are unsatisfiable.
"""
NO_WHEEL = """\
error: No solution found when resolving dependencies
  cause: Because ray==2.60.0 has no wheels with a matching platform tag (e.g., `macosx_13_0_x86_64`) and you require \
ray==2.60.0, we can conclude that your requirements are unsatisfiable.

hint: Wheels are available for `ray` (v2.60.0) on the following platforms: `macosx_12_0_arm64`, `win_amd64`
"""
SDIST_ONLY = """\
  × No solution found when resolving dependencies:
  ╰─▶ Because all versions of docopt have no usable wheels and you require
      docopt, we can conclude that your requirements are unsatisfiable.

      hint: Wheels are required for `docopt` because building from source is
      disabled for all packages (i.e., with `--no-build`)
"""
REFUSED = """\
error: Request failed after 3 retries in 10.1s
  cause: Failed to fetch: http://me:secret@127.0.0.1:9/simple/six/
  cause: client error (Connect)
  cause: Connection refused (os error 111)
"""
LOGIN = """\
error: No solution found when resolving dependencies
  cause: Because six was not found in the package registry and you require six, we can conclude that your \
requirements are unsatisfiable.

hint: An index URL (http://mirror.example/simple) could not be queried due to a lack of valid authentication \
credentials (401 Unauthorized)
"""
CERTIFICATE = """\
error: Failed to fetch: https://index.example/simple/six/
  cause: client error (Connect)
  cause: invalid peer certificate: UnknownIssuer
"""
OFFLINE = """\
error: No solution found when resolving dependencies
  cause: Because six was not found in the cache and you require six, we can conclude that your requirements are \
unsatisfiable.

hint: Packages were unavailable because the network was disabled.
"""


@pytest.mark.parametrize(
    ("stderr", "message", "remedy"),
    [
        (UNKNOWN_VERSION, "ray==2.99.0 does not exist in the package index", "which index is asked"),
        (UNKNOWN_VERSION_UV_0_9, "ray==2.99.0 does not exist in the package index", "which index is asked"),
        (CONFLICT, "and you require ray==2.60.0; you require protobuf<3", "Loosen"),
        (NO_WHEEL, "ray==2.60.0 has no wheel for mars", "macosx_12_0_arm64"),
        (SDIST_ONLY, "docopt has no wheel, only a source archive", "sdists: [docopt]"),
        (REFUSED, "index http://127.0.0.1:9/simple/six/ cannot be used: Connection refused", "UV_DEFAULT_INDEX"),
        (LOGIN, "the package index http://mirror.example/simple refused us", "password:"),
        (CERTIFICATE, "https://index.example/simple/six/ cannot be used: invalid peer certificate", "SSL_CERT_FILE"),
        (OFFLINE, "uv was told to stay offline", "UV_OFFLINE"),
        ("error: something new\n", "uv could not lock the packages for mars: something new", ""),
        ("", "uv gave no reason", ""),
        (f"error: {'long ' * 1000}", "long …", ""),
    ],
)
def test_what_uv_says_becomes_a_plain_sentence(stderr: str, message: str, remedy: str) -> None:
    error = explain(stderr, ("ray[default]==2.99.0", "docopt", "six"), "mars")
    assert message in error.message
    assert remedy in error.remedy
    assert "secret" not in str(error)
    assert "conclude" not in str(error)
    assert "\n" not in error.message
    assert len(error.message) < 600


def make_wheel(folder: Path, name: str, release: str, tag: str = "py3-none-any", needs: str = "") -> Path:
    """Write the smallest wheel there is, and list it in the index in that folder."""
    project = folder / name
    project.mkdir(parents=True, exist_ok=True)
    file = project / f"{name}-{release}-{tag}.whl"
    about = f"{name}-{release}.dist-info"
    requires = f"Requires-Dist: {needs}\n" if needs else ""
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {release}\n{requires}")
        archive.writestr(f"{about}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{about}/RECORD", "")
    links = [f'<a href="{f.name}#sha256={sha256(f)}">{f.name}</a>' for f in project.glob("*.whl")]
    (project / "index.html").write_text("\n".join(links))
    return file


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index in a folder, for the real uv."""
    folder = tmp_path / "simple"
    for tag in ("win_amd64", "manylinux_2_17_x86_64.manylinux2014_x86_64"):
        make_wheel(folder, "uv", version("uv"), f"py3-none-{tag}")
    make_wheel(folder, "demo", "1.0", needs="colour ; sys_platform == 'win32'")
    make_wheel(folder, "colour", "2.0", "cp311-cp311-win_amd64")
    make_wheel(folder, "colour", "2.0", "py3-none-any")
    monkeypatch.setenv("UV_DEFAULT_INDEX", folder.as_uri())
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    return folder


def test_uv_locks_for_another_platform(index: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    windows = resolve_lock(WINDOWS, "3.11.9", ("demo",), cache)
    linux = resolve_lock(LINUX, "3.11.2", ("demo",), cache)
    assert [wheel.filename for wheel in windows.wheels] == [
        "colour-2.0-cp311-cp311-win_amd64.whl",
        "demo-1.0-py3-none-any.whl",
    ]
    assert [wheel.name for wheel in linux.wheels] == ["demo"]
    assert linux.wheels[0].sha256 == sha256(index / "demo" / "demo-1.0-py3-none-any.whl")
    assert "win_amd64" in windows.uv.filename
    assert "manylinux" in linux.uv.filename


def test_the_same_inputs_do_not_run_uv_again(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path / "cache")
    first = resolve_lock(WINDOWS, "3.11.9", ("demo", "colour"), cache)
    monkeypatch.setattr("provisioner.artifacts.program.uv_program", lambda: pytest.fail("uv was started"))
    began = time.process_time()
    assert resolve_lock(WINDOWS, "3.11.9", ("colour", "demo"), cache) == first
    assert time.process_time() - began < 0.05


def test_a_spoilt_lock_is_made_again(index: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    first = resolve_lock(WINDOWS, "3.11.9", ("demo",), cache)
    (kept,) = (tmp_path / "cache" / "locks").glob("*.json")
    kept.write_text(kept.read_text()[:100])
    assert resolve_lock(WINDOWS, "3.11.9", ("demo",), cache) == first


def test_a_version_that_does_not_exist(index: Path, tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match=r"demo==2\.0 does not exist in the package index"):
        resolve_lock(WINDOWS, "3.11.9", ("demo==2.0",), Cache(tmp_path / "cache"))


@pytest.mark.parametrize("wrong", ["./demo", "demo @@", "-r /etc/passwd", "demo\n--index-url x", "--pre", ""])
def test_what_is_no_requirement_is_refused(wrong: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a requirement"):
        resolve_lock(WINDOWS, "3.11.9", (wrong,), Cache(tmp_path))


@pytest.mark.parametrize("python", ["3.11", "3", "", "3.11.9rc1", "2.7.18"])
def test_python_must_be_exact(python: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not an exact version"):
        resolve_lock(WINDOWS, python, ("demo",), Cache(tmp_path))


def test_uv_has_a_time_limit(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisioner.artifacts.compile.LIMIT", 0.0001)
    with pytest.raises(ProvisionError, match="within 0 s"):
        resolve_lock(WINDOWS, "3.11.9", ("demo",), Cache(tmp_path))


def test_a_damaged_uv_is_no_traceback(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisioner.artifacts.program.uv_program", lambda: str(tmp_path / "gone"))
    with pytest.raises(ProvisionError, match="uv does not start"):
        resolve_lock(WINDOWS, "3.11.9", ("demo",), Cache(tmp_path))
