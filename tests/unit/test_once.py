"""One work for all threads that ask for the same, and all of them hear how far it is."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from provisioner.artifacts.once import Once, Progress
from provisioner.engine import supplies
from provisioner.errors import ProvisionError
from tests.waiting import soon


def test_everybody_who_waits_hears_how_far_it_is() -> None:
    once, heard = Once[str]("it"), [[(0, 0)] for _ in range(4)]
    begun, go = threading.Event(), threading.Event()

    def make(tell: Progress) -> str:
        begun.set()
        go.wait(5)
        tell(1, 2)
        tell(2, 2)
        return "made"

    def ask(number: int) -> str:
        return once.get("key", make, lambda done, total: heard[number].append((done, total)))

    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(ask, number) for number in range(4)]
        assert begun.wait(5)
        assert soon(lambda: len(once._listeners["key"]) == 4)
        go.set()
        assert [each.result(5) for each in waiting] == ["made"] * 4
    assert heard == [[(0, 0), (1, 2), (2, 2)]] * 4
    assert ask(0) == "made"
    assert once._listeners == {}


def test_after_a_failure_it_is_made_anew_and_told_anew() -> None:
    once: Once[str] = Once("it")
    told: list[int] = []

    def fail(tell: Progress) -> str:
        raise ProvisionError("no")

    with pytest.raises(ProvisionError):
        once.get("key", fail, lambda done, total: told.append(-1))

    def make(tell: Progress) -> str:
        tell(1, 1)
        return "made"

    assert once.get("key", make, lambda done, total: told.append(done)) == "made"
    assert told == [1]


def test_progress_is_told_in_megabytes_twice_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000, 2000))
    ours = SimpleNamespace(monotonic=lambda: next(clock) / 10)
    monkeypatch.setattr("provisioner.engine.supplies.time", ours)
    said: list[str] = []
    moves: list[int] = []
    progress = supplies.in_megabytes(
        said.append, "packages for linux-x86_64-glibc2.28", lambda: moves.append(len(said))
    )
    for done in range(0, 20_000_000, 1_000_000):
        progress(done, 20_000_000)
    for _ in range(20):
        progress(15_000_000, 20_000_000)
    assert moves == [1, 2, 3], "what stands still is no move"
    assert said[4:] == said[3:4] * 4
    del said[4:]
    assert said == [
        f"fetching packages for linux-x86_64-glibc2.28, {done} of 20 MB" for done in (0, 5, 10, 15)
    ]  # fmt: skip
