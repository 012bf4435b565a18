"""Whether versions go with all hosts of a cluster, and that what is offered in their place does."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.ray.advice import in_the_way, offers
from provisioner.ray.fleet import Fleet, Site, problems
from provisioner.ray.releases import RELEASES, WHEELS
from provisioner.ray.support import choices
from provisioner.ray.system import System
from provisioner.ray.version import Version, parse, written

LINUX = System("linux", "x86_64", "glibc")
LINUX_ARM = System("linux", "aarch64", "glibc")
WINDOWS = System("windows", "x86_64")
WINDOWS_ARM = System("windows", "aarch64")
MAC = System("macos", "aarch64")
INTEL_MAC = System("macos", "x86_64")
OLD_LINUX = System("linux", "x86_64", "glibc", "2.12")
SYSTEMS = [LINUX, LINUX_ARM, WINDOWS, WINDOWS_ARM, MAC, INTEL_MAC, OLD_LINUX]


class Shelf:
    """Archives of these versions, the same for every system but those named."""

    def __init__(self, versions: str, others: Mapping[tuple[str, str], str] | None = None) -> None:
        self._versions = frozenset(map(parse, versions.split()))
        self._others = {key: frozenset(map(parse, text.split())) for key, text in (others or {}).items()}

    def has(self, os: str, arch: str, python: Version) -> bool:
        return python in self.versions(os, arch)

    def versions(self, os: str, arch: str) -> frozenset[Version]:
        return self._others.get((os, arch), self._versions)


SHELF = Shelf(
    "3.8.20 3.9.7 3.9.25 3.10.22 3.11.1 3.11.3 3.11.9 3.11.18 3.12.16 3.13.5 3.13.18 3.14.10 3.15.2",
    {("macos", "aarch64"): "3.9.25 3.10.22 3.11.9 3.11.18 3.12.16 3.13.18 3.14.10"},
)


def fleet(ray: str, python: str, *systems: System, brought: bool = True, minor: bool = False) -> Fleet:
    hosts = {Site(system, parse(python), brought): (f"h{n}",) for n, system in enumerate(systems)}
    return Fleet(parse(ray), hosts, minor)


@pytest.mark.parametrize(
    ("wanted", "told", "offered"),
    [
        (fleet("2.60.0", "3.11.9", LINUX, WINDOWS, MAC), [], None),
        (fleet("2.60.7", "3.11.9", LINUX), ["ray: Ray 2.60.7 does not exist; nearest: 2.60.0"],
         ["2.60.0 3.11.9", "2.60.0 3.14.10"]),
        (fleet("2.15.0", "3.11.9", LINUX), ["ray: Ray 2.15.0 does not exist; nearest: 2.12.0 and 2.20.0"],
         ["2.60.0 3.11.9", "2.60.0 3.14.10"]),
        (fleet("2.8.1", "3.11.9", LINUX), ["ray: Ray 2.8.1 is older than 2.9.0, the oldest"],
         ["2.60.0 3.11.9", "2.60.0 3.14.10"]),
        (fleet("2.60.0", "3.11.99", LINUX), ["python: no archive of Python 3.11.99 exists; nearest: 3.11.18"],
         ["2.60.0 3.11.18", "2.60.0 3.14.10"]),
        (fleet("2.60.0", "3.11.2", LINUX), ["python: no archive of Python 3.11.2 exists; nearest: 3.11.1 and 3.11.3"],
         ["2.60.0 3.11.3", "2.60.0 3.14.10"]),
        (fleet("2.60.0", "3.11.99", LINUX, brought=False), [], None),
        (fleet("2.60.0", "3.11.3", LINUX, MAC),
         ["python: no archive of Python 3.11.3 exists; nearest: 3.11.9"], ["2.60.0 3.11.9", "2.60.0 3.14.10"]),
        (fleet("2.57.0", "3.13.5", LINUX, WINDOWS),
         ["ray: Ray 2.57.0 has wheels for Python 3.10 to 3.12 there, not for 3.13"],
         ["2.60.0 3.13.5", "2.57.0 3.12.16", "2.60.0 3.14.10"]),
        (fleet("2.57.0", "3.13.5", WINDOWS, brought=False),
         ["ray: Ray 2.57.0 has wheels for Python 3.10 to 3.12 there, not for 3.13"],
         ["2.60.0 3.13.5", "2.57.0 3.12", "2.60.0 3.14"]),
        (fleet("2.46.0", "3.11.9", WINDOWS), ["ray: Ray 2.46.0 does not start on Windows"],
         ["2.60.0 3.11.9", "2.60.0 3.14.10"]),
        (fleet("2.54.0", "3.11.9", LINUX, WINDOWS), ["ray: Linux and Windows in one cluster need Ray 2.56.1"],
         ["2.60.0 3.11.9", "2.60.0 3.14.10"]),
        (fleet("2.50.0", "3.11.9", LINUX, minor=True), ["ray: `match: minor` needs Ray 2.51.0"],
         ["2.60.0 3.11.9", "2.60.0 3.14.10"]),
        (fleet("2.55.0", "3.11.9", INTEL_MAC), ["ray: Ray's wheels for macOS x86_64 end at 2.49.2"],
         ["2.49.2 3.11.9", "2.49.2 3.13.18"]),
        (fleet("2.60.0", "3.9.25", LINUX),
         ["ray: Ray 2.60.0 has wheels for Python 3.10 to 3.14 there, not for 3.9"],
         ["2.51.2 3.9.25", "2.60.0 3.14.10"]),
        (fleet("2.60.0", "2.7.18", LINUX, brought=False), ["ray: Ray 2.60.0 has wheels"], ["2.60.0 3.14"]),
        (fleet("2.60.0", "3.11.9", LINUX, INTEL_MAC), ["ray: Ray's wheels for macOS x86_64 end at 2.49.2"], []),
        (fleet("2.60.0", "3.11.9", LINUX, WINDOWS_ARM), ["hosts: Ray has no wheels for Windows aarch64"], []),
        (fleet("2.60.7", "3.11.9", LINUX, WINDOWS_ARM),
         ["ray: Ray 2.60.7 does not exist", "hosts: Ray has no wheels for Windows aarch64"], []),
        # releases that came after the table are not refused for that
        (fleet("2.61.0", "3.11.9", LINUX), [], None),
        (fleet("2.61.0", "3.15.2", LINUX), [], None),
        (fleet("2.61.0", "3.11.99", LINUX), ["python: no archive"],
         ["2.61.0 3.11.18", "2.60.0 3.11.18", "2.60.0 3.14.10"]),
    ],
)  # fmt: skip
def test_what_is_wrong_and_what_is_offered(wanted: Fleet, told: list[str], offered: list[str] | None) -> None:
    found = [f"{problem.about}: {problem.reason}" for problem in problems(wanted, SHELF)]
    assert len(found) == len(told), found
    assert all(reason.startswith(begin) for reason, begin in zip(found, told, strict=True)), found
    if offered is not None:
        assert [
            str(offer).removeprefix("Ray ").replace("with Python ", "") for offer in offers(wanted, SHELF)
        ] == offered


def test_problems_name_their_hosts() -> None:
    wanted = fleet("2.57.0", "3.13.5", LINUX, WINDOWS, INTEL_MAC, WINDOWS_ARM)
    found = {problem.reason: wanted.named(problem.sites) for problem in problems(wanted, SHELF)}
    assert list(found.values()) == [("h1",), ("h2",), ("h3",)]


@pytest.mark.parametrize(
    ("systems", "blocking"),
    [
        ([LINUX, WINDOWS], []),
        ([LINUX, WINDOWS_ARM], [WINDOWS_ARM]),
        ([LINUX, WINDOWS, INTEL_MAC], [INTEL_MAC]),
        ([LINUX, INTEL_MAC], [LINUX, INTEL_MAC]),
        ([WINDOWS_ARM], [WINDOWS_ARM]),
        ([OLD_LINUX, WINDOWS_ARM, LINUX], [OLD_LINUX, WINDOWS_ARM]),
    ],
)
def test_who_is_in_the_way(systems: list[System], blocking: list[System]) -> None:
    assert in_the_way(fleet("2.60.0", "3.11.9", *systems)) == blocking


PATCHES = st.sampled_from([0, 1, 2, 9, 18, 99])
FLEETS = st.builds(
    lambda ray, minor, patch, sites, match: Fleet(
        ray, {Site(system, (3, minor, patch), brought): (f"h{n}",) for n, (system, brought) in enumerate(sites)}, match
    ),
    st.sampled_from([*RELEASES, (2, 13, 0), (2, 60, 7), (2, 61, 0), (2, 8, 1)]),
    st.integers(7, 16),
    PATCHES,
    st.lists(st.tuples(st.sampled_from(SYSTEMS), st.booleans()), min_size=1, max_size=5),
    st.booleans(),
)


@settings(max_examples=100)
@given(wanted=FLEETS)
def test_every_offer_passes_the_check_itself(wanted: Fleet) -> None:
    found = offers(wanted, SHELF)
    for offer in found:
        python = offer.python if offer.patch else (*offer.python[:2], 77)
        assert problems(wanted.having(offer.ray, python), SHELF) == []
        assert offer.ray in RELEASES or offer.ray == wanted.ray
    assert len(found) == len(set(found))


@settings(max_examples=100)
@given(wanted=FLEETS)
def test_something_is_offered_whenever_something_fits(wanted: Fleet) -> None:
    if not problems(wanted, SHELF):
        return
    fitting = choices(wanted.systems, wanted.minor_match)
    if fitting:
        assert offers(wanted, SHELF), written(wanted.ray)
    else:
        assert not [offer for offer in offers(wanted, SHELF) if offer.ray in RELEASES]


def test_the_table_knows_the_systems_of_these_tests() -> None:
    assert {(system.os, system.arch) for system in SYSTEMS} >= set(WHEELS)
