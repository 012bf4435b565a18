"""Interpreters that come over HTTP: progress, ends in the middle, servers that do not give them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

import provisioner
from provisioner.artifacts import Artifacts, Cache
from provisioner.errors import ProvisionError
from tests import interpreters
from tests.quiet_server import QuietServer
from tests.unit.interpreter_mirror import LINUX, WINDOWS, left_over, mirror, no_settings, refused
from tests.waiting import soon

__all__ = ["mirror", "no_settings"]


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

        self.server = QuietServer(("127.0.0.1", 0), Handler)
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


@pytest.mark.skipif(os.name == "nt", reason="there are no signals to send")
@pytest.mark.parametrize("number", [signal.Signals["SIGKILL"], signal.SIGINT] if os.name != "nt" else [])
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
