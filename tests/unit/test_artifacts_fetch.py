"""Downloads, from a server on this machine that misbehaves on request."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from provisioner.artifacts import fetch as module
from provisioner.artifacts.addresses import login_for, redact, shown
from provisioner.artifacts.cache import Cache
from provisioner.artifacts.fetch import fetch
from provisioner.artifacts.lock import Wheel
from provisioner.errors import ProvisionError
from tests.quiet_server import QuietServer
from tests.waiting import soon


class Server(QuietServer):
    """Serves ``files``; each of ``trouble[path]`` is used up by one request: a status, or ``"cut"``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files: dict[str, bytes] = {}
        self.trouble: dict[str, list[int | str]] = {}
        self.asked: list[str] = []
        self.login = ""
        self.delay = 0.0
        self.ranges = True
        self.sent = 0
        self.busy = self.busiest = 0
        self.guard = threading.Lock()
        self.closing = threading.Event()
        """Ends every delay: whoever answers late must not outlive its test."""

    def server_close(self) -> None:
        self.closing.set()
        super().server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        with server.guard:
            server.asked.append(self.path)
            server.busy += 1
            server.busiest = max(server.busiest, server.busy)
        server.closing.wait(server.delay)
        try:
            self.answer(server.trouble.get(self.path, []))
        finally:
            with server.guard:
                server.busy -= 1

    def answer(self, trouble: list[int | str]) -> None:
        login = base64.b64encode(self.server.login.encode()).decode()
        if self.server.login and self.headers.get("Authorization") != f"Basic {login}":
            return self.send_error(401)
        problem = trouble.pop(0) if trouble else None
        if isinstance(problem, int):
            return self.send_error(problem)
        content = self.server.files.get(self.path)
        if content is None:
            return self.send_error(404)
        wanted = self.headers.get("Range", "") if self.server.ranges else ""
        offset = int(wanted.removeprefix("bytes=").rstrip("-") or 0)
        if offset >= len(content):
            return self.send_error(416)
        content = content[offset:]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        content = content[: len(content) // 2] if problem == "cut" else content
        self.server.sent += len(content)
        self.wfile.write(content)
        return None

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(module, "BACKOFF", 0.01)
    monkeypatch.setenv("NO_PROXY", "*")
    for variable in ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"):
        monkeypatch.delenv(variable, raising=False)
    with Server() as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield running
        running.shutdown()


def offer(server: Server, name: str, content: bytes = b"") -> Wheel:
    content = content or name.encode() * 100_000
    server.files[f"/{name}"] = content
    return Wheel(name, "1", name, hashlib.sha256(content).hexdigest(), len(content), f"{server.url}/{name}")


def test_missing_files_are_fetched_once(server: Server, tmp_path: Path) -> None:
    wheels = [offer(server, f"{name}.whl") for name in "abc"]
    cache = Cache(tmp_path)
    paths = fetch([*wheels, wheels[0]], cache)
    assert {sha256: path.read_bytes() for sha256, path in paths.items()} == {
        wheel.sha256: server.files[f"/{wheel.name}"] for wheel in wheels
    }
    assert fetch(wheels, cache) == paths
    assert sorted(server.asked) == ["/a.whl", "/b.whl", "/c.whl"]


def test_six_at_a_time(server: Server, tmp_path: Path) -> None:
    server.delay = 0.5  # long enough to meet on a busy machine
    fetch([offer(server, f"{number}.whl") for number in range(14)], Cache(tmp_path))
    assert server.busiest == 6


def test_progress_ends_at_the_total(server: Server, tmp_path: Path) -> None:
    wheels = [offer(server, f"{name}.whl") for name in "abcdefgh"]
    server.trouble["/a.whl"] = ["cut", 503]
    seen: list[tuple[int, int]] = []
    fetch(wheels[:1], Cache(tmp_path))
    fetch(wheels, Cache(tmp_path), lambda done, total: seen.append((done, total)))
    total = sum(wheel.size for wheel in wheels[1:])
    assert seen[-1] == (total, total)
    assert {entry[1] for entry in seen} == {total}


@pytest.mark.parametrize("trouble", [["cut"], [503, 502], [429], ["cut", "cut"], [500, "cut", 500]])
def test_short_troubles_are_overcome(server: Server, tmp_path: Path, trouble: list[int | str]) -> None:
    wheel = offer(server, "a.whl")
    server.trouble["/a.whl"] = trouble
    seen: list[int] = []
    assert fetch([wheel], Cache(tmp_path), lambda done, _: seen.append(done))[wheel.sha256].exists()
    assert seen[-1] == wheel.size


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (["cut"] * 9, "a.whl could not be fetched from http://127.0.0.1"),
        ([404], "does not give it .HTTP 404"),
        ([403], "refused it .HTTP 403"),
        ([503] * 40, "in trouble .HTTP 503"),
    ],
)
def test_lasting_troubles_are_explained(server: Server, tmp_path: Path, trouble: list[int | str], words: str) -> None:
    server.trouble["/a.whl"] = trouble
    with pytest.raises(ProvisionError, match=words) as caught:
        fetch([offer(server, "a.whl"), offer(server, "b.whl")], Cache(tmp_path))
    assert caught.value.remedy
    assert not list(tmp_path.rglob("a.whl"))


@pytest.mark.parametrize(("ranges", "least", "most"), [(True, 1.0, 1.2), (False, 2.4, 2.5)], ids=["ranges", "none"])
def test_a_download_that_broke_off_goes_on(
    server: Server, tmp_path: Path, ranges: bool, least: float, most: float
) -> None:
    wheel = offer(server, "a.whl", bytes(range(256)) * 4096)
    server.ranges = ranges
    server.trouble = {"/a.whl": ["cut", "cut", "cut"]}
    progress: list[int] = []
    with pytest.raises(ProvisionError):
        fetch([wheel], Cache(tmp_path))
    (path,) = fetch([wheel], Cache(tmp_path), lambda done, total: progress.append(done)).values()
    assert path.read_bytes() == bytes(range(256)) * 4096
    assert least <= server.sent / wheel.size <= most
    assert progress[-1] == wheel.size


@pytest.mark.parametrize(
    ("left", "requests"), [(b"a.whl" * 100_000, 0), (b"?" * 500_000, 2), (b"?" * 500_001, 2), (b"a.whl", 1)]
)
def test_what_was_left_of_a_file_of_unknown_size(server: Server, tmp_path: Path, left: bytes, requests: int) -> None:
    wheel = replace(offer(server, "a.whl"), size=0)
    part = tmp_path / "files" / wheel.sha256 / ".part"
    part.parent.mkdir(parents=True)
    part.write_bytes(left)
    progress: list[int] = []
    (path,) = fetch([wheel], Cache(tmp_path), lambda done, total: progress.append(done)).values()
    assert path.read_bytes() == server.files["/a.whl"]
    assert len(server.asked) == requests
    assert progress[-1] == (500_000 if requests else 0)


def test_another_file_than_the_locked_one(server: Server, tmp_path: Path) -> None:
    wheel = offer(server, "a.whl")
    server.files["/a.whl"] = b"malware"
    with pytest.raises(ProvisionError, match=r"a\.whl is not the file that was locked") as caught:
        fetch([wheel], Cache(tmp_path))
    assert wheel.sha256 in caught.value.message
    assert hashlib.sha256(b"malware").hexdigest() in caught.value.message
    assert server.asked == ["/a.whl"]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"]


def test_nobody_listens(server: Server, tmp_path: Path) -> None:
    wheel = Wheel("a", "1", "a.whl", "0" * 64, 1, "http://me:secret@127.0.0.1:9/a.whl?token=secret")
    with pytest.raises(ProvisionError, match="refused") as caught:
        fetch([wheel], Cache(tmp_path))
    assert "secret" not in str(caught.value)


def test_uvs_login_is_used(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = offer(server, "a.whl")
    server.login = "me:pass word"
    with pytest.raises(ProvisionError, match="HTTP 401"):
        fetch([wheel], Cache(tmp_path))
    monkeypatch.setenv("UV_DEFAULT_INDEX", server.url.replace("://", "://me:pass%20word@") + "/simple")
    assert fetch([wheel], Cache(tmp_path))


def test_files_of_an_index_in_a_folder(tmp_path: Path) -> None:
    source = tmp_path / "a b.whl"
    source.write_bytes(b"content")
    wheel = Wheel("a", "1", "a.whl", hashlib.sha256(b"content").hexdigest(), 0, source.as_uri())
    assert fetch([wheel], Cache(tmp_path / "cache"))[wheel.sha256].read_bytes() == b"content"
    source.unlink()
    with pytest.raises(ProvisionError, match="No such file"):
        fetch([wheel], Cache(tmp_path / "empty"))


def test_two_fetches_at_once_share_the_work(server: Server, tmp_path: Path) -> None:
    server.delay = 0.1
    wheels = [offer(server, f"{name}.whl") for name in "abc"]
    threads = [threading.Thread(target=fetch, args=(wheels, Cache(tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(server.asked) == ["/a.whl", "/b.whl", "/c.whl"]


def test_a_fetch_has_a_limit(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT", 0.1)
    server.delay = 0.4
    with pytest.raises(ProvisionError, match="took longer than"):
        fetch([offer(server, "a.whl")], Cache(tmp_path))


INTERRUPTED = """
import sys, threading, time
from pathlib import Path
from provisioner.artifacts.cache import Cache
from provisioner.artifacts.fetch import fetch
from provisioner.artifacts.lock import Wheel

wheels = [Wheel(str(n), "1", f"{n}.whl", f"{n:064}", 1 << 30, f"{sys.argv[2]}/{n}") for n in range(20)]
threading.Thread(target=lambda: fetch(wheels, Cache(Path(sys.argv[1]))), daemon=True).start()
try:
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.skipif(os.name == "nt", reason="there are no signals to send")
def test_an_interrupted_program_does_not_wait_for_downloads(server: Server, tmp_path: Path) -> None:
    server.delay = 60.0
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED, str(tmp_path), server.url])
    try:
        deadline = time.monotonic() + 20
        while not server.asked and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    finally:
        process.kill()
        process.wait()
    assert server.asked
    server.closing.set()
    assert soon(lambda: not server.busy), "answers that outlive the test are written into another one"


@pytest.mark.parametrize(
    ("environment", "url", "expected"),
    [
        ({"UV_DEFAULT_INDEX": "https://me:pw@host/simple"}, "https://host/files/a.whl", ("me", "pw")),
        ({"UV_DEFAULT_INDEX": "https://me:pw@host/simple"}, "https://host:443/a.whl", ("me", "pw")),
        ({"UV_DEFAULT_INDEX": "https://me:pw@host/simple"}, "http://host/a.whl", None),
        ({"UV_DEFAULT_INDEX": "https://me:pw@host/simple"}, "https://host:8443/a.whl", None),
        ({"UV_DEFAULT_INDEX": "https://me:pw@host/simple"}, "https://evil/a.whl", None),
        ({"UV_INDEX": "https://other https://u:p%40@host/x"}, "https://host/a.whl", ("u", "p@")),
        (
            {"UV_INDEX": "our-own=https://host/x", "UV_INDEX_OUR_OWN_USERNAME": "u", "UV_INDEX_OUR_OWN_PASSWORD": "p"},
            "https://host/a.whl",
            ("u", "p"),
        ),
        ({"UV_FIND_LINKS": "https://t@host/x,./folder"}, "https://host/a.whl", ("t", "")),
        ({}, "https://host/a.whl", None),
    ],
)
def test_logins(environment: dict[str, str], url: str, expected: tuple[str, str] | None) -> None:
    assert login_for(url, environment) == expected


def test_addresses_are_shown_without_secrets() -> None:
    assert shown("https://me:pw@host:1/a/b.whl?sig=1#x") == "https://host:1/a/b.whl"
    assert redact("at https://me:pw@host/x and http://t@h") == "at https://host/x and http://h"
