"""Where packages come from: indexes with logins, folders, constraints, sources; with the real uv on loopback."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner.artifacts import Artifacts, Cache, Lock, Platform
from provisioner.artifacts.compile import Request
from provisioner.artifacts.resolve import fingerprint, make_lock, resolve_lock
from provisioner.artifacts.sources import Sources
from provisioner.errors import ProvisionError
from provisioner.inventory.model import ArtifactOptions, Secret
from provisioner.inventory.model import Index as IndexOption
from tests.index import Index, make_wheel, sha256_of

FACTS = {"os": "linux", "arch": "x86_64", "libc": "glibc", "libc_version": "2.36"}
LINUX = Platform.from_facts(FACTS)
WINDOWS = Platform("windows", "x86_64")
PASSWORD = "s3cr:t/ @pass"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of uv's but those of the test, and an empty cache of its own."""
    for name in [name for name in os.environ if name.startswith("UV_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    for name in SETTINGS:
        monkeypatch.setenv(name, str(tmp_path / "config"))


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    index = Index(tmp_path / "packages")
    index.add_uv()
    index.add("demo", "1.0")
    index.add("demo", "2.0", needs=["colour"])
    index.add("colour", "1.1")
    with index.serving():
        yield index


def options(index: Index, **more: Any) -> ArtifactOptions:
    login = {"username": index.user, "password": Secret(index.password, "from_env: X")} if index.user else {}
    return ArtifactOptions(index=IndexOption(index.url, **login), **more)  # type: ignore[arg-type]


def request(given: ArtifactOptions, *requirements: str, platform: Platform = LINUX, **more: Any) -> Request:
    return Request(platform, "3.11.9", requirements, Sources(given), **more)


def versions(lock: Lock) -> dict[str, str]:
    return {wheel.name: wheel.version for wheel in lock.wheels}


SETTINGS = ("XDG_CONFIG_HOME", "APPDATA")
"""Where uv looks for the user's settings: on POSIX, on Windows."""


def write_uv_toml(folder: Path, text: str) -> None:
    (folder / "config" / "uv").mkdir(parents=True)
    (folder / "config" / "uv" / "uv.toml").write_text(text)


def test_an_index_with_a_login(index: Index, tmp_path: Path) -> None:
    index.user, index.password = "kim", PASSWORD
    artifacts = Artifacts(tmp_path / "cache", options(index))
    lock = artifacts.lock(FACTS, "3.11.9", ("demo",))
    assert versions(lock) == {"colour": "1.1", "demo": "2.0"}
    assert artifacts.path(lock.wheels[0].sha256).read_bytes() == (index.folder / lock.wheels[0].filename).read_bytes()
    assert index.refused == []
    written = [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    assert written
    assert not any(b"s3cr" in file.read_bytes() or b"kim" in file.read_bytes() for file in written)


@pytest.mark.parametrize("user", ["", "eve"])
def test_a_wrong_login_is_said_without_the_password(user: str, index: Index, tmp_path: Path) -> None:
    wrong = replace(options(index), index=IndexOption(index.url, user or None, Secret(PASSWORD, "from_env: X")))
    index.user, index.password = "kim", "other"
    with pytest.raises(ProvisionError, match="refused us") as caught:
        Artifacts(tmp_path / "cache", wrong).lock(FACTS, "3.11.9", ("demo",))
    assert "artifacts: {index:" in caught.value.remedy
    assert "s3cr" not in str(caught.value) + repr(wrong)


def test_credentials_are_not_among_the_arguments(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index.user, index.password = "kim", PASSWORD
    started: list[Any] = []
    run = subprocess.run

    def seen(*arguments: Any, **named: Any) -> Any:
        started.append(arguments)
        return run(*arguments, **named)

    monkeypatch.setattr("subprocess.run", seen)
    make_lock(request(options(index), "demo"), Cache(tmp_path / "cache"))
    assert len(started) == 2
    assert "s3cr" not in str(started)
    assert "kim" not in str(started)


def test_an_extra_index_comes_before_and_beside_the_users_own(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, users = Index(tmp_path / "first"), Index(tmp_path / "users")
    first.add("demo", "1.5")
    users.add("colour", "9.0")
    users.add("demo", "9.0")
    with first.serving(), users.serving():
        monkeypatch.setenv("UV_INDEX", users.url)
        given = options(index, extra_indexes=(IndexOption(first.url),))
        assert versions(make_lock(request(given, "demo", "colour"), Cache(tmp_path))) == {
            "demo": "1.5",
            "colour": "9.0",
        }


def test_folders_of_wheels_and_constraints(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_wheel(tmp_path / "my, wheels", "private", "3.0", needs=["demo"])
    make_wheel(tmp_path / "users", "theirs", "1.0")
    constraints = tmp_path / "con straints.txt"
    constraints.write_text("demo<2\n")
    (tmp_path / "more.txt").write_text("theirs<2\n")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "users"))
    monkeypatch.setenv("UV_CONSTRAINT", str(tmp_path / "more.txt"))
    given = options(index, find_links=((tmp_path / "my, wheels").as_uri(),), constraints=(constraints,))
    lock = Artifacts(tmp_path / "cache", given).lock(FACTS, "3.11.9", ("private", "theirs"))
    assert versions(lock) == {"demo": "1.0", "private": "3.0", "theirs": "1.0"}


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        (lambda tmp: write_uv_toml(tmp, 'exclude-newer = "2026-01-01"'), True),
        (lambda tmp: (tmp / "limits.txt").write_text("demo<1"), True),
        (lambda tmp: (tmp / "deeper.txt").write_text("demo<3"), True),
        (lambda tmp: make_wheel(tmp / "wheels", "demo", "7"), True),
        (lambda tmp: (tmp / "unrelated.txt").write_text("demo<1"), False),
    ],
)
def test_what_makes_a_new_lock(change: Any, differs: bool, tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "limits.txt").write_text("-c deeper.txt\n")
    given = ArtifactOptions(find_links=((tmp_path / "wheels").as_uri(),), constraints=(tmp_path / "limits.txt",))
    before = fingerprint(request(given, "demo"))
    assert fingerprint(request(given, "demo")) == before
    change(tmp_path)
    assert (fingerprint(request(given, "demo")) != before) is differs


@pytest.mark.parametrize(
    "given",
    [
        {"index": IndexOption("https://a.example")},
        {"extra_indexes": (IndexOption("https://a.example"),)},
        {"find_links": ("https://a.example",)},
        {"sdists": ("demo",)},
    ],
)
def test_every_option_makes_a_new_lock(given: Mapping[str, Any]) -> None:
    plain = fingerprint(request(ArtifactOptions(), "demo"))
    assert fingerprint(request(ArtifactOptions(**given), "demo")) != plain


def test_another_password_or_way_to_the_hosts_makes_no_new_lock() -> None:
    prints = {
        fingerprint(
            request(ArtifactOptions(mirror, index=IndexOption("https://a.example", "me", Secret(word, "x"))), "demo")
        )
        for word, mirror in (("one", "head"), ("two", "none"))
    }
    assert len(prints) == 1


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ('[[index]]\nname = "own"\nurl = "https://u:p@pypi.lab/simple"', ("u", "p")),
        ('[[index]]\nname = "own"\nurl = "https://pypi.lab/simple"', ("env", "word")),
        ('extra-index-url = ["https://x@other.lab", "https://u:p%20q@pypi.lab/simple"]', ("u", "p q")),
        ('[pip]\nindex-url = "https://u:p@pypi.lab/simple"', ("u", "p")),
        ("index = 3", None),
        ("not toml", None),
    ],
)
def test_logins_of_the_users_settings(settings: str, expected: tuple[str, str] | None, tmp_path: Path) -> None:
    write_uv_toml(tmp_path, settings)
    environment = dict.fromkeys(SETTINGS, str(tmp_path / "config"))
    environment |= (
        {"UV_INDEX_OWN_USERNAME": "env", "UV_INDEX_OWN_PASSWORD": "word"} if expected == ("env", "word") else {}
    )
    assert Sources(environment=environment).login("https://pypi.lab/files/a.whl") == expected
    assert Sources(environment={**environment, "UV_NO_CONFIG": "1"}).login("https://pypi.lab/files/a.whl") is None


def test_two_logins_of_one_server_are_told_apart() -> None:
    indexes = [IndexOption(f"https://pypi.lab/{team}/simple", team, Secret(team, "x")) for team in ("a", "b")]
    sources = Sources(ArtifactOptions(extra_indexes=tuple(indexes)), {})
    assert sources.login("https://pypi.lab/b/files/x.whl") == ("b", "b")
    assert sources.login("https://pypi.lab/a/files/x.whl") == ("a", "a")


def test_versions_that_are_preferred_stay_as_far_as_they_fit(index: Index, tmp_path: Path) -> None:
    def locked(requirement: str) -> dict[str, str]:
        kept = {"demo": "1.0", "colour": "0.9", "gone": "1.0"}
        return versions(make_lock(request(options(index), requirement, preferences=kept), Cache(tmp_path)))

    assert locked("demo") == {"demo": "1.0"}
    assert locked("demo>1") == {"demo": "2.0", "colour": "1.1"}


def test_an_unknown_version_names_its_neighbours(index: Index, tmp_path: Path) -> None:
    index.add("demo", "1.7", "cp311-cp311-win_amd64")
    cases = {("demo==1.5", LINUX): "1.0 and 2.0", ("demo==1.5", WINDOWS): "1.0 and 1.7", ("demo==8", LINUX): "2.0"}
    for (requirement, platform), nearest in cases.items():
        with pytest.raises(ProvisionError) as caught:
            resolve_lock(request(options(index), requirement, platform=platform), Cache(tmp_path))
        assert f"{requirement} does not exist" in caught.value.message
        assert f"the nearest: {nearest}." in caught.value.remedy


def test_a_version_without_a_wheel_for_the_platform_names_its_neighbours(index: Index, tmp_path: Path) -> None:
    index.add("demo", "1.7", "cp311-cp311-win_amd64")
    with pytest.raises(ProvisionError, match=r"demo==1\.7 has no wheel for linux") as caught:
        resolve_lock(request(options(index), "demo==1.7"), Cache(tmp_path))
    assert "the nearest: 1.0 and 2.0." in caught.value.remedy


def test_sources_are_refused_unless_they_are_allowed(index: Index, tmp_path: Path) -> None:
    index.add_sdist("old", "0.6")
    with pytest.raises(ProvisionError, match=r"old==0\.6 has no wheel, only a source archive") as caught:
        resolve_lock(request(options(index), "old"), Cache(tmp_path))
    assert "sdists: [old]" in caught.value.remedy


def test_sources_that_are_allowed_are_built_here(index: Index, tmp_path: Path) -> None:
    source = index.add_sdist("old", "0.6")
    index.add_sdist("older", "0.1")
    index.add("needy", "1.0", needs=["old", "older", "demo"])
    artifacts = Artifacts(tmp_path / "cache", options(index, sdists=("Old", "older", "demo")))
    lock = artifacts.lock(FACTS, "3.11.9", ("needy",))
    assert versions(lock) == {"colour": "1.1", "demo": "2.0", "needy": "1.0", "old": "0.6", "older": "0.1"}
    built = {wheel.name: wheel for wheel in lock.wheels}["old"]
    assert built.url == ""
    assert built.sdist
    assert built.sdist.sha256 == sha256_of(source)
    assert artifacts.path(built.sha256).stat().st_size == built.size
    assert Lock.from_json(lock.to_json()) == lock


def test_a_built_wheel_that_was_lost_is_built_again(index: Index, tmp_path: Path) -> None:
    index.add_sdist("old", "0.6")
    given = options(index, sdists=("old",))
    lock = Artifacts(tmp_path / "cache", given).lock(FACTS, "3.11.9", ("old",))
    for folder in ("files", "built"):
        (tmp_path / "cache" / folder).rename(tmp_path / f"lost {folder}")
    again = Artifacts(tmp_path / "cache", given)
    assert again.lock(FACTS, "3.11.9", ("old",)) == lock
    assert again.path(lock.wheels[0].sha256).is_file()


@pytest.mark.parametrize(
    ("builds", "platform", "words"),
    [
        ("cp311-cp311-linux_x86_64", WINDOWS, "machine code of this machine .* is wanted for windows x86_64"),
        ("cp39-cp39-linux_x86_64", LINUX, "no Python 3.11 to build it for"),
    ],
)
def test_machine_code_stays_where_it_was_built(
    builds: str, platform: Platform, words: str, index: Index, tmp_path: Path
) -> None:
    index.add_sdist("old", "0.6", builds)
    with pytest.raises(ProvisionError, match=words) as caught:
        resolve_lock(request(options(index, sdists=("old",)), "old", platform=platform), Cache(tmp_path))
    assert "find_links" in caught.value.remedy


def test_a_build_that_fails_is_a_sentence(index: Index, tmp_path: Path) -> None:
    index.add_sdist("old", "0.6", 'x"; raise SystemExit("no compiler")  #')
    with pytest.raises(ProvisionError, match=r"old 0\.6 could not be built from source: no compiler") as caught:
        resolve_lock(request(options(index, sdists=("old",)), "old"), Cache(tmp_path))
    assert "\n" not in caught.value.message


def test_a_lock_knows_nothing_of_passwords_in_the_users_settings(index: Index, tmp_path: Path) -> None:
    index.user, index.password = "kim", "s3cret"
    address = index.url.replace("http://", "http://kim:s3cret@")
    write_uv_toml(tmp_path, f'[[index]]\nurl = "{address}"\ndefault = true\n')
    artifacts = Artifacts(tmp_path / "cache")
    lock = artifacts.lock(FACTS, "3.11.9", ("demo",))
    assert versions(lock) == {"colour": "1.1", "demo": "2.0"}
    assert "s3cret" not in json.dumps(lock.to_json())
