"""What a case demands, without any host: what is overlooked, exit codes, times, and our program with shorter ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provisioner.remote.files import create_aside
from provisioner.transport import program

from .driver import hasty
from .lane import demand_end, demand_quick
from .room import LEFTOVER, Lost


@pytest.mark.parametrize("name", ["token", "key.pem", "spec.json"])
def test_what_is_on_its_way_is_seen_wherever_it_is(name: str, tmp_path: Path) -> None:
    descriptor, aside = create_aside(str(tmp_path / name), 0o600)
    os.close(descriptor)
    assert LEFTOVER.search(aside)


@pytest.mark.parametrize("name", ["a.part", "a.part17", "a.work", "a.tmp"])
def test_other_names_of_what_is_on_its_way(name: str) -> None:
    assert LEFTOVER.search(f"/opt/provision/lab/secrets/{name}")


@pytest.mark.parametrize("name", ["token", "a.partial", "part", "a.part.pem"])
def test_what_has_come_to_its_place_is_not_on_its_way(name: str) -> None:
    assert not LEFTOVER.search(f"/opt/provision/lab/secrets/{name}")


@pytest.mark.parametrize(
    ("kind", "code", "fine"),
    [
        ("kill", -9, True), ("kill", 0, False), ("kill", -15, False), ("cut", 4, True), ("cut", -9, False),
        ("full", 3, True), ("full", 0, True), ("power", 1, False), ("refuse", 2, False), ("program", 130, False),
    ],
)  # fmt: skip
def test_a_hurt_run_ends_as_it_may(kind: str, code: int, fine: bool) -> None:
    if fine:
        return demand_end(kind, code)
    with pytest.raises(Lost, match=f"ended with {code}"):
        demand_end(kind, code)
    return None


@pytest.mark.parametrize(
    ("kind", "took", "fine"), [("kill", 35.0, True), ("kill", 36.0, False), ("cut", 65.0, True), ("power", 66.0, False)]
)
def test_a_mend_does_not_wait_for_what_is_over(kind: str, took: float, fine: bool) -> None:
    if fine:
        return demand_quick(kind, took, 5.0)
    with pytest.raises(Lost, match="are enough"):
        demand_quick(kind, took, 5.0)
    return None


def test_our_program_bears_less_silence_in_proportion() -> None:
    path = "provisioner/remote/wire.py"
    files = program.files()
    short = hasty(files, 3.0)
    assert {name for name in files if files[name] != short[name]} == {path}
    assert b"\nSILENCE = 10.0\n" in short[path]
    assert hasty(files, 1.0) == files
    with pytest.raises(ValueError, match="0 times"):
        hasty({**files, path: b"SILENT = 30.0"}, 3.0)
