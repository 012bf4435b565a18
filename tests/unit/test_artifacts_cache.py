"""The cache: whole files only, made once, whoever asks."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import provisioner
from provisioner.artifacts.cache import BeginAnew, Cache
from provisioner.errors import ProvisionError

CONTENT = b"x" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def halves(cache: Cache) -> list[Path]:
    return list(cache.folder.rglob(".part*"))


def test_a_file_is_kept_under_its_content(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    path = cache.keep(SHA256, "a.whl", lambda: [CONTENT[:10], CONTENT[10:]], size=1000)
    assert path == tmp_path / "files" / SHA256 / "a.whl"
    assert path.read_bytes() == CONTENT
    assert cache.find(SHA256, 1000) == cache.find(SHA256) == path
    assert cache.keep(SHA256, "a.whl", lambda: pytest.fail("written twice")) == path
    assert halves(cache) == []


def test_another_content_is_refused(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with pytest.raises(ProvisionError) as caught:
        cache.keep(SHA256, "a.whl", lambda: [b"other"], size=1000)
    message = caught.value.message
    assert "a.whl" in message
    assert SHA256 in message
    assert hashlib.sha256(b"other").hexdigest() in message
    assert "5 bytes instead of 1000" in message
    assert cache.find(SHA256) is None
    assert halves(cache) == []


def test_a_wrong_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match="1000 bytes where the package index announced 999"):
        Cache(tmp_path).keep(SHA256, "a.whl", lambda: [CONTENT], size=999)


def test_a_half_file_never_has_its_final_name(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    seen = []

    def broken() -> Iterator[bytes]:
        yield CONTENT[:500]
        seen.extend(halves(cache))
        assert cache.find(SHA256) is None
        raise RuntimeError("cut")

    with pytest.raises(RuntimeError):
        cache.keep(SHA256, "a.whl", broken)
    assert len(seen) == 1
    assert cache.find(SHA256) is None
    cache.keep(SHA256, "a.whl", lambda: [CONTENT])
    assert halves(cache) == []


@pytest.mark.parametrize(
    ("left", "asked"),
    [(b"", "all"), (CONTENT[:400], "from 400"), (b"wrong", "from 5"), (CONTENT + b"more", "all"), (CONTENT, "")],
    ids=["nothing", "a part", "something else", "too much", "all of it"],
)
def test_what_a_killed_process_left_is_gone_on_with(tmp_path: Path, left: bytes, asked: str) -> None:
    cache = Cache(tmp_path)
    told: list[str] = []
    folder = tmp_path / "files" / SHA256
    folder.mkdir(parents=True)
    (folder / ".part").write_bytes(left)

    def chunks() -> list[bytes]:
        told.append("all")
        return [CONTENT]

    def rest(offset: int) -> list[bytes]:
        told.append(f"from {offset}")
        return [CONTENT[offset:]]

    assert cache.find(SHA256) is None
    if left == b"wrong":
        with pytest.raises(ProvisionError, match="not the file that was locked"):
            cache.keep(SHA256, "a.whl", chunks, size=1000, rest=rest)
    else:
        assert cache.keep(SHA256, "a.whl", chunks, size=1000, rest=rest).read_bytes() == CONTENT
    assert told == ([asked] if asked else [])
    assert halves(cache) == []
    assert cache.keep(SHA256, "a.whl", chunks, size=1000, rest=rest).read_bytes() == CONTENT


@pytest.mark.parametrize("left", [CONTENT, CONTENT + b"more", b"other"], ids=["all of it", "too much", "another"])
def test_what_was_left_of_a_file_of_unknown_size(tmp_path: Path, left: bytes) -> None:
    cache = Cache(tmp_path)
    folder = tmp_path / "files" / SHA256
    folder.mkdir(parents=True)
    (folder / ".part").write_bytes(left)

    def nothing_there(offset: int) -> Iterator[bytes]:
        raise BeginAnew
        yield b""

    assert cache.keep(SHA256, "a.whl", lambda: [CONTENT], rest=nothing_there).read_bytes() == CONTENT
    assert halves(cache) == []


def test_a_file_that_was_damaged_on_this_machine_is_removed(tmp_path: Path) -> None:
    path = Cache(tmp_path).keep(SHA256, "a.whl", lambda: [CONTENT])
    path.write_bytes(bytes(len(CONTENT)))
    cache = Cache(tmp_path)
    assert cache.find(SHA256, len(CONTENT)) == path
    with pytest.raises(ProvisionError, match="damaged in the cache of this machine") as caught:
        cache.find_whole(SHA256)
    assert str(tmp_path) in caught.value.message
    assert "Run the same command again" in caught.value.remedy
    assert cache.find_whole(SHA256) is None
    assert cache.keep(SHA256, "a.whl", lambda: [CONTENT], size=len(CONTENT)).read_bytes() == CONTENT


def test_a_file_is_hashed_once(tmp_path: Path) -> None:
    first, later = Cache(tmp_path), Cache(tmp_path)
    path = first.keep(SHA256, "a.whl", lambda: [CONTENT])
    assert later.find_whole(SHA256) == path
    path.write_bytes(b"hashed before")
    assert first.find_whole(SHA256) == later.find_whole(SHA256) == path


def test_a_file_emptied_by_a_crash_is_made_again(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    path = cache.keep(SHA256, "a.whl", lambda: [CONTENT], size=1000)
    path.write_bytes(b"")
    assert cache.find(SHA256, 1000) is None
    assert cache.keep(SHA256, "a.whl", lambda: [CONTENT], size=1000).read_bytes() == CONTENT


def test_threads_make_a_file_once(tmp_path: Path) -> None:
    made = []

    def slowly() -> Iterator[bytes]:
        made.append(1)
        time.sleep(0.1)
        yield CONTENT

    threads = [threading.Thread(target=Cache(tmp_path).keep, args=(SHA256, "a.whl", slowly)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert made == [1]
    assert Cache(tmp_path).find(SHA256)


PROCESS = """
import sys, time
from pathlib import Path
from provisioner.artifacts.cache import Cache
folder, sha256 = Path(sys.argv[1]), sys.argv[2]
def slowly():
    with (folder / "made").open("a") as log:
        log.write("once\\n")
    time.sleep(0.3)
    yield b"x" * 1000
print(Cache(folder).keep(sha256, "a.whl", slowly))
"""


def run(script: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(provisioner.__file__).parents[1])}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_processes_make_a_file_once(tmp_path: Path) -> None:
    processes = [run(PROCESS, str(tmp_path), SHA256) for _ in range(4)]
    answers = [process.communicate(timeout=30)[0].strip() for process in processes]
    assert answers == [str(tmp_path / "files" / SHA256 / "a.whl")] * 4
    assert (tmp_path / "made").read_text() == "once\n"


def test_a_killed_process_holds_nothing_up(tmp_path: Path) -> None:
    process = run(PROCESS.replace("0.3", "60"), str(tmp_path), SHA256)
    for _ in range(500):
        if (tmp_path / "made").exists():
            break
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=10)
    assert Cache(tmp_path).keep(SHA256, "a.whl", lambda: [CONTENT]).read_bytes() == CONTENT


def test_waiting_has_a_limit(tmp_path: Path) -> None:
    cache = Cache(tmp_path, wait_limit=0.1)
    held, done = threading.Event(), threading.Event()

    def holder() -> None:
        with cache.exclusive(tmp_path / "files" / SHA256 / ".lock", what="it"):
            held.set()
            done.wait(10)

    thread = threading.Thread(target=holder)
    thread.start()
    assert held.wait(5)
    try:
        with pytest.raises(ProvisionError, match=r"a\.whl is being fetched by another process"):
            cache.keep(SHA256, "a.whl", lambda: [CONTENT])
    finally:
        done.set()
        thread.join(5)


def test_a_cache_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ProvisionError, match="cannot write to the cache") as caught:
        Cache(tmp_path / "file").keep(SHA256, "a.whl", lambda: [CONTENT])
    assert "PROVISION_CACHE" in caught.value.remedy


def test_the_environment_moves_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISION_CACHE", str(tmp_path / "elsewhere"))
    assert Cache().folder == tmp_path / "elsewhere"
    monkeypatch.delenv("PROVISION_CACHE")
    assert "provision" in str(Cache().folder)


def test_locks_are_kept_whole(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert cache.read_lock("f") is None
    cache.write_lock("f", "text ✓")
    cache.write_lock("f", "new ✓")
    assert cache.read_lock("f") == "new ✓"
    cache.lock_file("f").write_bytes(b"\xff\xfe\xff")
    assert cache.read_lock("f") is None
