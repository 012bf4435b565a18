"""Interpreters that cannot be had: what is said, and what is advised."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from provisioner.artifacts.catalogue import Origin, available, nearest
from provisioner.artifacts.explain_interpreter import Wanted, explain_interpreter
from provisioner.artifacts.platform import Platform
from tests.unit.interpreter_mirror import LINUX, WINDOWS, mirror, no_settings, refused

__all__ = ["mirror", "no_settings"]


def only(folder: Path) -> Path:
    """Return the archive for Linux in a mirror folder."""
    return next(folder.glob("*/cpython-3.11.9*x86_64-unknown-linux*"))


def test_a_version_that_the_mirror_has_not(mirror: str, tmp_path: Path) -> None:
    error = refused(WINDOWS, "3.11.7", mirror, tmp_path)
    assert error.message == (
        f"there is no archive of Python 3.11.7 for windows x86_64 in {tmp_path / 'mir ror' / 'download-metadata.json'}"
    )
    assert error.remedy.startswith("Write 3.11.4 or 3.11.9 (those there are next to it), or install that Python")
    assert "Write 3.11.9 (the nearest there is)" in refused(LINUX, "3.12.0", mirror, tmp_path).remedy
    assert refused({"os": "macos", "arch": "x86_64"}, "3.11.9", mirror, tmp_path).remedy.startswith("Choose another")


def test_a_version_that_uv_does_not_know(tmp_path: Path) -> None:
    error = refused(LINUX, "3.11.2", None, tmp_path)
    assert error.message == "there is no archive of Python 3.11.2 for linux x86_64"
    assert error.remedy.startswith("Write 3.11.1 or 3.11.3 (")
    assert "3.10." in refused(LINUX, "3.10.99", None, tmp_path).remedy


def test_a_wrong_checksum(mirror: str, tmp_path: Path) -> None:
    catalogue = tmp_path / "mir ror" / "download-metadata.json"
    entries = json.loads(catalogue.read_text())
    entries["cpython-3.11.9-linux-x86_64-gnu"]["sha256"] = "0" * 64
    catalogue.write_text(json.dumps(entries))
    file = only(tmp_path / "mir ror")
    error = refused(LINUX, "3.11.9", mirror, tmp_path)
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    assert error.message == (f"{file} is not the archive that it should be: its sha256 is {found}, expected {'0' * 64}")
    assert error.remedy == f"Put the right file there, or correct the sum in {catalogue}."
    assert not (tmp_path / "cache" / "files").exists()


@pytest.mark.parametrize("content", [b"", b"no archive", None], ids=["empty", "other", "cut"])
def test_a_damaged_archive(content: bytes | None, mirror: str, tmp_path: Path) -> None:
    file = only(tmp_path / "mir ror")
    file.write_bytes(file.read_bytes()[:-300] if content is None else content)
    error = refused(LINUX, "3.11.9", mirror, tmp_path)
    assert error.message.startswith((f"{file} is damaged: ", f"{file} is not the archive that it should be"))
    assert "Put the right file there" in error.remedy


def test_an_archive_that_is_laid_out_otherwise(mirror: str, tmp_path: Path) -> None:
    folder = tmp_path / "mir ror"
    file = only(folder)
    with tarfile.open(file, "w:gz") as archive:
        archive.add(__file__, "python/bin/python3.11")
    correct_sum(folder, file)
    error = refused(LINUX, "3.11.9", mirror, tmp_path)
    assert error.message == f"{file} is not laid out as it should be: it has no folder lib/python3.11"
    assert "install_only" in error.remedy
    with tarfile.open(file, "w:gz") as archive:
        archive.add(__file__, "other/python.exe")
        archive.add(__file__, "other/Lib/os.py")
    correct_sum(folder, file, "windows-x86_64-none")
    shutil.copy(file, next(folder.glob("*/cpython-3.11.9*x86_64-pc-windows*")))
    assert "no tar.gz with a folder `python`" in refused(WINDOWS, "3.11.9", mirror, tmp_path).message


def correct_sum(folder: Path, file: Path, key: str = "linux-x86_64-gnu") -> None:
    catalogue = folder / "download-metadata.json"
    entries = json.loads(catalogue.read_text())
    entries[f"cpython-3.11.9-{key}"]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    catalogue.write_text(json.dumps(entries))


def test_a_mirror_that_lacks_the_archive_names_the_path(mirror: str, tmp_path: Path) -> None:
    file = only(tmp_path / "mir ror")
    file.unlink()
    error = refused(LINUX, "3.11.9", mirror, tmp_path)
    assert error.message == f"the mirror lacks Python 3.11.9 for linux x86_64: there is no {file}"
    assert "Put that file" in error.remedy
    (tmp_path / "bare").mkdir()
    error = refused(WINDOWS, "3.11.9", (tmp_path / "bare").as_uri(), tmp_path)
    assert f"there is no {tmp_path}/bare/20240814/cpython-3.11.9+20240814-x86_64-pc-windows-msvc" in error.message
    assert (
        f"the mirror {tmp_path}/nowhere is not there"
        in refused(LINUX, "3.11.9", f"{tmp_path}/nowhere", tmp_path).message
    )


@pytest.mark.parametrize(
    ("settings", "mirror", "words", "remedy"),
    [
        (
            {},
            "http://kim:s3cret@127.0.0.1:9/x",
            "for linux x86_64 cannot be fetched from http://127.0.0.1:9/x/20240",
            "mirror:",
        ),
        ({}, None, "for linux x86_64 cannot be fetched from https://", "source: system"),
        (
            {"UV_PYTHON_INSTALL_MIRROR": "http://kim:s3cret@127.0.0.1:9/y"},
            None,
            "from http://127.0.0.1:9/y/2",
            "mirror:",
        ),
        ({"UV_PYTHON_DOWNLOADS": "never"}, None, "uv was told never to download", "UV_PYTHON_DOWNLOADS=manual"),
        ({"UV_OFFLINE": "1"}, None, "uv was told to stay offline", "UV_OFFLINE"),
        (
            {"UV_PYTHON_DOWNLOADS_JSON_URL": "/nowhere/list.json"},
            None,
            "interpreters /nowhere/list.json cannot",
            "format",
        ),
        ({"UV_PYTHON_DOWNLOADS_JSON_URL": __file__}, None, f"interpreters {__file__} cannot be read", "format"),
        (
            {"UV_PYTHON_DOWNLOADS_JSON_URL": "http://kim:s3cret@127.0.0.1:9/list.json"},
            None,
            "the catalogue of interpreters http://127.0.0.1:9/list.json cannot be read: ",
            "UV_PYTHON_DOWNLOADS_JSON_URL",
        ),
        ({}, "ftp://kim:s3cret@x/y", "the mirror ftp://x/y is no address", "file:///"),
        ({"UV_PYTHON_CPYTHON_BUILD": "20200101"}, None, "of build 20200101 (UV_PYTHON_CPYTHON_BUILD)", "another"),
        ({"UV_PYTHON_DOWNLOADS": "nonsense"}, None, "invalid value for UV_PYTHON_DOWNLOADS", "what uv says"),
    ],
)
def test_what_uv_refuses_is_said_plainly(
    settings: dict[str, str],
    mirror: str | None,
    words: str,
    remedy: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    error = refused(LINUX, "3.11.9", mirror, tmp_path)
    assert words in error.message
    assert remedy in error.remedy
    assert "\n" not in error.message + error.remedy


@pytest.mark.parametrize(
    ("lines", "words", "remedy"),
    [
        (
            [
                "error: Failed to install cpython-3.11.9-linux-x86_64-gnu",
                "  cause: failed to write to file `/c/work/1/t/.tmp1/download`: No space left on device (os error 28)",
            ],
            "the disk is full: there is no room for Python 3.11.9 for linux x86_64",
            "PROVISION_CACHE",
        ),
        (
            [
                "error: Failed to install cpython-3.11.9-linux-x86_64-gnu",
                "  cause: Request failed after 3 retries in 11.8s",
                "  cause: Failed to download `https://kim:s3cret@mirror.lab/x.tar.gz`",
                "  cause: error sending request for url (https://mirror.lab/x.tar.gz)",
                "  cause: client error (Connect)",
                "  cause: dns error",
                "  cause: failed to lookup address information: Name or service not known",
            ],
            "cannot be fetched from https://mirror.lab/x.tar.gz: failed to lookup address information",
            "source: system",
        ),
        (
            [
                "error: Failed to install cpython-3.11.9-linux-x86_64-gnu",
                "  cause: error sending request for url (https://mirror.lab/x.tar.gz)",
                "  cause: invalid peer certificate: UnknownIssuer",
            ],
            "invalid peer certificate",
            "SSL_CERT_FILE",
        ),
        (["error: a thing nobody has seen", "  cause: odd"], "a thing nobody has seen odd", "what uv says"),
        ([], "it gave no reason", "what uv says"),
    ],
    ids=["full", "dns", "certificate", "else", "silent"],
)
def test_what_uv_says_rarely(lines: list[str], words: str, remedy: str) -> None:
    wanted = Wanted("3.11.9", "linux x86_64", Origin())
    error = explain_interpreter("\n".join(lines), wanted)
    assert words in error.message
    assert remedy in error.remedy
    assert "s3cret" not in str(error)


@pytest.mark.parametrize(
    ("version", "others", "expected"),
    [
        ("3.11.2", ["3.11.1", "3.11.3", "3.11.9"], ["3.11.1", "3.11.3"]),
        ("3.11.99", ["3.11.9", "3.11.18", "3.12.0"], ["3.11.18"]),
        ("3.11.0", ["3.11.1", "3.10.9"], ["3.11.1"]),
        ("3.9.1", ["3.10.1", "3.10.19", "3.11.1"], ["3.10.19"]),
        ("3.12.1", ["3.11.8", "3.11.18", "3.13.1", "3.13.2"], ["3.11.18", "3.13.2"]),
        ("3.12.1", [], []),
    ],
)
def test_the_nearest_are_named(version: str, others: list[str], expected: list[str]) -> None:
    assert nearest(version, others) == expected


def test_uv_lists_what_there_is() -> None:
    there = available(Platform.from_facts(WINDOWS), Origin())
    assert there["3.11.9"].startswith("https://")
    assert list(there).index("3.12.10") < list(there).index("3.11.9")
    assert not [version for version in there if not version.replace(".", "").isdigit()]
