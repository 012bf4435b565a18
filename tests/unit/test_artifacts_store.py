"""The front door: one work per lock, however many hosts ask."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from provisioner.artifacts import Artifacts, Lock, Platform
from provisioner.artifacts.compile import Request
from provisioner.artifacts.resolve import wheels_in
from provisioner.errors import ProvisionError

FACTS = {"os": "linux", "arch": "x86_64", "libc": "glibc", "libc_version": "2.36", "hostname": "w1"}
PYLOCK = """
[[packages]]
name = "{name}"
version = "1"
wheels = [{{ url = "{url}", size = {size}, hashes = {{ sha256 = "{sha256}" }} }}]
"""


def pylock_for(folder: Path, name: str) -> str:
    """Write a file that passes for a wheel, and return a pylock that names it."""
    file = folder / f"{name}-1-py3-none-any.whl"
    file.write_bytes(name.encode())
    return PYLOCK.format(name=name, url=file.as_uri(), size=len(name), sha256=hashlib.sha256(name.encode()).hexdigest())


class FakeUv:
    """Stands in for ``uv pip compile``: slow, counted, and failing when told to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs: list[list[str]] = []
        self.error: ProvisionError | None = None

    def __call__(self, request: Request) -> str:
        requirements = list(request.requirements)
        self.runs.append(requirements)
        time.sleep(0.1)
        if self.error:
            raise self.error
        return pylock_for(self.folder, requirements[0].partition("==")[0])

    @property
    def locked(self) -> list[list[str]]:
        return [run for run in self.runs if not run[0].startswith("uv==")]


@pytest.fixture
def uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeUv:
    fake = FakeUv(tmp_path)
    monkeypatch.setattr("provisioner.artifacts.resolve.compile_pylock", fake)
    return fake


def at_once(count: int, work: Callable[[], Any]) -> list[Any]:
    """Do the same in several threads at the same time; errors are results."""
    results: list[Any] = []
    barrier = threading.Barrier(count)

    def run() -> None:
        barrier.wait(5)
        try:
            results.append(work())
        except ProvisionError as error:
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    return results


def test_many_hosts_share_one_lock(uv: FakeUv, tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path / "cache")
    results = at_once(16, lambda: artifacts.lock(FACTS, "3.11.2", ("six",)))
    assert len(results) == 16
    assert all(isinstance(result, Lock) and result is results[0] for result in results)
    assert uv.locked == [["six"]]
    assert artifacts.path(results[0].wheels[0].sha256).read_bytes() == b"six"
    assert artifacts.path(results[0].uv.sha256).read_bytes() == b"uv"


def test_different_hosts_get_different_locks(uv: FakeUv, tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path / "cache")
    artifacts.lock(FACTS, "3.11.2", ("six",))
    artifacts.lock(FACTS, "3.11.3", ("six",))
    artifacts.lock({"os": "windows", "arch": "AMD64"}, "3.11.2", ("six",))
    assert len(uv.locked) == 3


def test_many_hosts_share_one_error_and_may_try_again(uv: FakeUv, tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path / "cache")
    uv.error = ProvisionError("no network", remedy="Plug it in.")
    results = at_once(8, lambda: artifacts.lock(FACTS, "3.11.2", ("six",)))
    assert [(str(result), result.remedy) for result in results] == [(str(uv.error), "Plug it in.")] * 8
    assert len({id(result) for result in results}) == 8, "each thread may add its own host"
    assert uv.locked == [["six"]]
    uv.error = None
    assert artifacts.lock(FACTS, "3.11.2", ("six",)).wheels


def test_another_run_uses_what_is_there(uv: FakeUv, tmp_path: Path) -> None:
    first = Artifacts(tmp_path / "cache").lock(FACTS, "3.11.2", ("six",))
    uv.error = ProvisionError("no network")
    for file in tmp_path.glob("*.whl"):
        file.unlink()
    seen: list[int] = []
    assert Artifacts(tmp_path / "cache").lock(FACTS, "3.11.2", ("six",), lambda done, _: seen.append(done)) == first
    assert seen == []


def test_a_file_that_vanished_is_fetched_again(uv: FakeUv, tmp_path: Path) -> None:
    lock = Artifacts(tmp_path / "cache").lock(FACTS, "3.11.2", ("six",))
    again = Artifacts(tmp_path / "cache")
    again.path(lock.wheels[0].sha256).unlink()
    with pytest.raises(ProvisionError, match="is not in the cache"):
        again.path(lock.wheels[0].sha256)
    assert again.lock(FACTS, "3.11.2", ("six",)) == lock
    assert again.path(lock.wheels[0].sha256).exists()


def test_a_file_that_was_damaged_is_fetched_again_by_the_next_run(uv: FakeUv, tmp_path: Path) -> None:
    lock = Artifacts(tmp_path / "cache").lock(FACTS, "3.11.2", ("six",))
    sha256 = lock.wheels[0].sha256
    Artifacts(tmp_path / "cache").path(sha256).write_bytes(b"xis")
    again = Artifacts(tmp_path / "cache")
    again.lock(FACTS, "3.11.2", ("six",))
    with pytest.raises(ProvisionError, match="damaged in the cache of this machine"):
        again.open(sha256)
    healed = Artifacts(tmp_path / "cache")
    healed.lock(FACTS, "3.11.2", ("six",))
    assert healed.path(sha256).read_bytes() == b"six"


def test_progress_is_told(uv: FakeUv, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    Artifacts(tmp_path / "cache").lock(FACTS, "3.11.2", ("six",), lambda *step: seen.append(step))
    assert seen[-1] == (5, 5)


def test_an_unsupported_host_is_refused_before_any_work(uv: FakeUv, tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match="Linux with musl"):
        Artifacts(tmp_path / "cache").lock({**FACTS, "libc": "musl"}, "3.11.2", ("six",))
    assert uv.runs == []


def test_a_lock_from_a_pylock_without_sizes(tmp_path: Path) -> None:
    text = pylock_for(tmp_path, "six").replace(" size = 3,", "")
    platform = Platform.from_facts(FACTS)
    assert wheels_in(text, platform, "3.11.2")[0].size == 0
