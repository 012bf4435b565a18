"""Interpreters from mirrors, fetched by the real uv: once, verified, kept, and explained when they can't be had."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import provisioner
from provisioner.artifacts import Artifacts, Cache
from provisioner.artifacts.catalogue import Origin, available, nearest
from provisioner.artifacts.explain_interpreter import Wanted, explain_interpreter
from provisioner.artifacts.interpreter import Archive, interpreter_fingerprint
from provisioner.artifacts.platform import Platform
from provisioner.errors import HostFailed, InputError, ProvisionError
from tests import interpreters
from tests.unit.test_artifacts_store import at_once
from tests.waiting import soon

LINUX = {"os": "linux", "arch": "x86_64", "libc": "glibc", "libc_version": "2.36"}
WINDOWS = {"os": "windows", "arch": "AMD64"}
MAC = {"os": "macos", "arch": "arm64"}
ARM = {"os": "linux", "arch": "aarch64"}


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


def without_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uv.find_uv_bin", lambda: pytest.fail("uv was asked"))


def left_over(cache: Path) -> list[Path]:
    return [
        path
        for path in cache.rglob("*")
        if path.name.startswith(".part") or (path.parent.name == "work" and path.name != ".lock")
    ]


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


class Server:
    """A web server of archives on loopback, as slow or as refusing as it is told."""

    def __init__(self, folder: Path) -> None:
        self.status = 0
        self.seconds_per_piece = 0.0
        self.pieces = 0
        self.stopped = threading.Event()
        outer = self

        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *rest: Any, **more: Any) -> None:
                super().__init__(*rest, directory=str(folder), **more)

            def do_GET(self) -> None:
                if outer.status:
                    self.send_error(outer.status)
                else:
                    super().do_GET()

            def copyfile(self, source: Any, outputfile: Any) -> None:
                while piece := source.read(1 << 16):
                    outer.stopped.wait(outer.seconds_per_piece)
                    outputfile.write(piece)
                    outer.pieces += 1

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def server(mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    served = Server(tmp_path / "mir ror")
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", f"{mirror}/download-metadata.json")
    thread = threading.Thread(target=served.server.serve_forever, args=(0.01,))
    thread.start()
    yield served
    served.stopped.set()
    served.server.shutdown()
    served.server.server_close()
    thread.join(5)


def test_progress_is_told(server: Server, tmp_path: Path) -> None:
    big = interpreters.pretended(tmp_path, "3.12.1", "windows", size=3 << 20)
    interpreters.mirror(tmp_path / "mir ror", [big])
    server.seconds_per_piece = 0.02
    seen: list[tuple[int, int]] = []
    archive = Artifacts(tmp_path / "cache").interpreter(WINDOWS, "3.12.1", server.url, lambda *step: seen.append(step))
    assert archive.url.startswith(server.url)
    assert seen[-1] == (archive.size, archive.size)
    assert len(seen) > 2
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert all(0 <= done <= total for done, total in seen)
    assert abs(seen[0][1] - archive.size) < 0.1 * archive.size


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_ended_while_fetching_it_leaves_no_half_file_and_starts_again(
    number: signal.Signals, server: Server, tmp_path: Path
) -> None:
    big = interpreters.pretended(tmp_path, "3.12.1", "windows", size=6 << 20)
    interpreters.mirror(tmp_path / "mir ror", [big])
    server.seconds_per_piece = 0.05
    cache = Cache(tmp_path / "cache")
    code = f"""
import threading
from pathlib import Path
from provisioner.artifacts import Artifacts
work = threading.Thread(
    target=Artifacts(Path({str(cache.folder)!r})).interpreter, args=({WINDOWS!r}, "3.12.1", {server.url!r}), daemon=True
)
work.start()
work.join()
"""
    root = str(Path(provisioner.__file__).parents[1])
    settings = {**os.environ, "PYTHONPATH": root}
    process = subprocess.Popen([sys.executable, "-c", code], env=settings, stderr=subprocess.DEVNULL)
    assert soon(lambda: server.pieces > 5, 20)
    process.send_signal(number)
    process.wait(10)
    assert not list((cache.folder / "locks").glob("*.json"))
    assert not (cache.folder / "files").exists()
    if number == signal.SIGINT:
        assert left_over(cache.folder) == []
        before = server.pieces
        assert not soon(lambda: server.pieces > before + 10, 1), "uv goes on without us"
    server.seconds_per_piece = 0
    archive = Artifacts(cache.folder).interpreter(WINDOWS, "3.12.1", server.url)
    assert archive.sha256 == big.sha256
    assert left_over(cache.folder) == []


def test_it_does_not_wait_for_ever(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisioner.artifacts.interpreter.LIMIT", 0.5)
    server.seconds_per_piece = 60
    began = time.monotonic()
    with pytest.raises(ProvisionError, match=r"fetching Python 3\.11\.9 for windows x86_64 took longer"):
        Artifacts(tmp_path / "cache").interpreter(WINDOWS, "3.11.9", server.url)
    assert time.monotonic() - began < 10
    assert left_over(tmp_path / "cache") == []


@pytest.mark.parametrize(
    ("status", "words", "remedy"),
    [
        (404, "the server lacks Python 3.11.9 for linux x86_64: there is no http://", "Put that file there"),
        (403, "the server refused Python 3.11.9 for linux x86_64 to us: http://", "user and password"),
        (401, "(HTTP 401)", "user and password"),
        (503, "the server is in trouble: http://", "Try again"),
    ],
)
def test_a_server_that_does_not_give_it(status: int, words: str, remedy: str, server: Server, tmp_path: Path) -> None:
    server.status = status
    error = refused(LINUX, "3.11.9", server.url.replace("//", "//kim:s3cret@"), tmp_path)
    assert words in error.message
    assert remedy in error.remedy


def refused(facts: dict[str, str], version: str, mirror: str | None, folder: Path) -> ProvisionError:
    with pytest.raises(ProvisionError) as caught:
        Artifacts(folder / "cache").interpreter(facts, version, mirror)
    assert left_over(folder / "cache") == []
    assert "s3cret" not in str(caught.value)
    assert "kim" not in str(caught.value)
    return caught.value


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
