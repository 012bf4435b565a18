"""A variable that one session set and another one, with more rights or fewer, finds: as between HKLM and HKCU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from provisioner.remote.host import Host
from provisioner.remote.platforms.base import NEEDS_ELEVATION
from provisioner.remote.platforms.variables import VariablesFile

from .remote_host import Machine, World, make, shown


class Kept(VariablesFile):
    """One of the machine's places: its own files, and who may read and write there."""

    def __init__(self, path: Path, readable: bool, writable: bool) -> None:
        super().__init__(str(path))
        self.place = path.name
        self.readable = readable
        self.writable = writable

    def get(self, name: str) -> str | None:
        return super().get(name) if self.readable else None


class Divided(Machine):
    """A machine with variables of its own, which only an administrator changes, and of two accounts."""

    def __init__(self, world: World, account: str, elevated: bool) -> None:
        super().__init__(world.host().platform.variables(), {"auto": world.service})  # type: ignore[arg-type]
        self._folder = world.outside
        self._account = account
        self._elevated = elevated

    def variables(self, place: str = "") -> Kept:
        place = place or ("machine" if self._elevated else self._account)
        own = place == self._account
        writable = self._elevated if place == "machine" else own
        return Kept(self._folder / place, readable=place == "machine" or own, writable=writable)


@dataclass(frozen=True)
class Case:
    """Who set it, who comes later, in which place it was set, and what the later one can't."""

    id: str
    first: tuple[str, bool]
    later: tuple[str, bool]
    place: str
    cannot: tuple[str, ...] = ()


CASES = [
    Case("the same rights", ("kim", True), ("kim", True), "machine"),
    Case("more rights", ("kim", False), ("kim", True), "kim"),
    Case("fewer rights", ("kim", True), ("kim", False), "machine", ("set", "remove")),
    Case("another account", ("kim", False), ("lee", True), "kim", ("set", "remove")),
]


@pytest.fixture(params=CASES, ids=lambda case: case.id)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


def host_of(world: World, who: tuple[str, bool]) -> Host:
    host = world.host()
    host.platform = Divided(world, *who)
    return host


def cannot(host: Host) -> list[str]:
    return [each.partition(" the variable X in ")[0] for each in host.shared.get(NEEDS_ELEVATION, [])]


def test_it_is_found_changed_and_removed_where_it_was_set(case: Case, tmp_path: Path) -> None:
    world = World(tmp_path)
    make("variable", name="X", value="1").ensure(host_of(world, case.first))
    assert (world.outside / case.place).read_text() == 'X="1"\n'
    host = host_of(world, case.later)
    readable = host.platform.variables(case.place).readable
    assert make("variable", name="X", value="1").observe(host) == []
    assert cannot(host) == ([] if readable else ["set"]), "what can't be read may need to be set"
    host = host_of(world, case.later)
    changes = shown(make("variable", name="X", value="2").observe(host))
    path = world.outside / case.place
    assert changes == ([] if case.cannot else [("change", f"variable X in {path}", "1", "2")])
    assert cannot(host) == list(case.cannot[:1])
    if not case.cannot:
        make("variable", name="X", value="2").ensure(host)
        make("variable", name="X", value="2").remove(host)
    assert [file.name for file in world.outside.iterdir()] == ([case.place] if case.cannot else [])


def test_what_may_not_be_removed_is_named_and_left_to_who_may(case: Case, tmp_path: Path) -> None:
    """Also by a teardown that forgets all the rest."""
    world = World(tmp_path)
    make("variable", name="X", value="1").ensure(host_of(world, case.first))
    host = host_of(world, case.later)
    traces = make("variable", name="X", value="1").traces(host)
    assert [each["action"] for each in traces] == ([] if case.cannot else ["remove"])
    assert cannot(host) == list(case.cannot[1:])
    if traces:
        make("variable", name="X", value="1").remove(host)
    host.marker.load()
    host.marker.forget()
    assert list(world.host().marker.entries) == (["variable:X"] if case.cannot else [])
    make("variable", name="X", value="1").remove(host_of(world, case.first))
    assert list(world.outside.iterdir()) == []
    assert world.host().marker.entries == {}


def test_a_marker_without_a_place_means_that_of_the_session(tmp_path: Path) -> None:
    world = World(tmp_path)
    host = host_of(world, ("kim", True))
    make("variable", name="X", value="1").ensure(host)
    entry = dict(host.marker.entries["variable:X"])
    del entry["place"]
    host.marker.put("variable:X", entry)
    host = host_of(world, ("kim", True))
    assert make("variable", name="X", value="1").observe(host) == []
    make("variable", name="X", value="1").remove(host)
    assert list(world.outside.iterdir()) == []
