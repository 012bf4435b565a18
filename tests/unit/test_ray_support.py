"""What is true of Ray's releases: the table's look-ups, and what fits a system."""

from __future__ import annotations

from itertools import pairwise

import pytest

from provisioner.ray.releases import FAULTS, RELEASES, WHEELS, is_known, last_release, may_exist, neighbours, span
from provisioner.ray.support import choices, fleet_obstacles, limits, obstacle, unsupported
from provisioner.ray.system import System, architecture
from provisioner.ray.version import Version, parse, written

LINUX = System("linux", "x86_64", "glibc", "2.36")
LINUX_ARM = System("linux", "aarch64", "glibc", "2.36")
WINDOWS = System("windows", "x86_64")
MAC = System("macos", "aarch64")
INTEL_MAC = System("macos", "x86_64")


@pytest.mark.parametrize(
    ("system", "python", "ray", "told"),
    [
        (LINUX, "3.11.9", "2.60.0", ""),
        (LINUX, "3.14.0", "2.55.0", ""),
        (LINUX, "3.14.0", "2.54.1", "Ray 2.54.1 has wheels for Python 3.10 to 3.13 there, not for 3.14"),
        (LINUX, "3.9.20", "2.51.2", ""),
        (LINUX, "3.9.20", "2.52.0", "Ray 2.52.0 has wheels for Python 3.10 to 3.13 there, not for 3.9"),
        (LINUX, "2.7.18", "2.60.0", "not for 2.7"),
        (LINUX, "4.0.0", "2.61.0", "not for 4.0"),
        (LINUX_ARM, "3.11.9", "2.11.0", "Ray 2.11.0 has no wheels for Linux aarch64"),
        (LINUX_ARM, "3.11.9", "2.24.0", "Ray 2.24.0 has no wheels for Linux aarch64"),
        (LINUX_ARM, "3.11.9", "2.20.0", ""),
        (LINUX, "3.11.9", "2.11.0", ""),
        (WINDOWS, "3.11.9", "2.11.0", "Ray 2.11.0 has no wheels for Windows x86_64"),
        (WINDOWS, "3.11.9", "2.12.0", "has no wheels"),
        (WINDOWS, "3.11.9", "2.20.0", ""),
        (WINDOWS, "3.11.9", "2.21.0", "has no wheels"),
        (WINDOWS, "3.11.9", "2.24.0", "has no wheels"),
        (WINDOWS, "3.11.9", "2.44.1", ""),
        (WINDOWS, "3.11.9", "2.45.0", "Ray 2.45.0 does not start on Windows (ray#52739)"),
        (WINDOWS, "3.11.9", "2.47.1", "ray#52739"),
        (WINDOWS, "3.11.9", "2.48.0", ""),
        (WINDOWS, "3.11.9", "2.54.0", ""),
        (WINDOWS, "3.11.9", "2.54.1", "ray#61452"),
        (WINDOWS, "3.11.9", "2.55.1", "ray#61452"),
        (WINDOWS, "3.11.9", "2.56.0", ""),
        (WINDOWS, "3.13.5", "2.57.1", "Ray 2.57.1 has wheels for Python 3.10 to 3.12 there, not for 3.13"),
        (WINDOWS, "3.13.5", "2.58.0", ""),
        (WINDOWS, "3.14.0", "2.58.0", ""),
        (INTEL_MAC, "3.11.9", "2.49.2", ""),
        (INTEL_MAC, "3.11.9", "2.50.0", "Ray's wheels for macOS x86_64 end at 2.49.2"),
        (INTEL_MAC, "3.11.9", "2.99.0", "Ray's wheels for macOS x86_64 end at 2.49.2"),
        (MAC, "3.11.9", "2.60.0", ""),
        (System("windows", "aarch64"), "3.11.9", "2.60.0", "Ray has no wheels for Windows aarch64"),
        (System("linux", "riscv64", "glibc", "2.36"), "3.11.9", "2.60.0", "Ray has no wheels for Linux riscv64"),
        (System("linux", "x86_64", "musl"), "3.11.9", "2.60.0", "Linux with musl in place of glibc"),
        (System("linux", "x86_64", "glibc", "2.17"), "3.11.9", "2.60.0", ""),
        (System("linux", "x86_64", "glibc", "2.12"), "3.11.9", "2.60.0", "need glibc 2.17 or newer, not 2.12"),
        (System("linux", "x86_64", "glibc", ""), "3.11.9", "2.60.0", ""),
        (System("", ""), "3.11.9", "2.60.0", "Ray has no wheels for an unknown OS"),
        # releases that came after the table: the newest row holds, but they may know newer Pythons
        (LINUX, "3.12.1", "2.61.0", ""),
        (LINUX, "3.15.0", "2.61.0", ""),
        (LINUX, "3.9.20", "2.61.0", "not for 3.9"),
        (WINDOWS, "3.13.0", "3.0.0", ""),
    ],
)  # fmt: skip
def test_what_fits(system: System, python: str, ray: str, told: str) -> None:
    found = obstacle(system, parse(python), parse(ray))
    assert told in found
    assert bool(told) == bool(found)


@pytest.mark.parametrize(
    ("oses", "minor", "ray", "told"),
    [
        ({"linux"}, False, "2.9.0", []),
        ({"linux", "windows"}, False, "2.56.0", ["Linux and Windows in one cluster need Ray 2.56.1 or newer"]),
        ({"linux", "windows"}, False, "2.56.1", []),
        ({"linux", "macos", "windows"}, False, "2.60.0", []),
        ({"linux"}, True, "2.50.1", ["`match: minor` needs Ray 2.51.0 or newer"]),
        ({"linux"}, True, "2.51.0", []),
        ({"linux", "macos"}, True, "2.49.0", ["Linux and macOS in one cluster", "`match: minor`"]),
    ],
)
def test_what_fits_together(oses: set[str], minor: bool, ray: str, told: list[str]) -> None:
    found = list(fleet_obstacles(frozenset(oses), minor, parse(ray)))
    assert len(found) == len(told)
    assert all(part in reason for part, reason in zip(told, found, strict=True))


@pytest.mark.parametrize(
    ("ray", "exists"),
    [
        ("2.60.0", True), ("2.9.0", True), ("2.9.3", True), ("2.9.4", False), ("2.13.0", False), ("2.25.0", False),
        ("2.8.1", False), ("2.49.3", False), ("2.57.2", False),
        # may have been published since: a patch of the newest minor versions, a newer minor version
        ("2.58.2", True), ("2.60.1", True), ("2.60.3", True), ("2.60.4", False), ("2.60.7", False),
        ("2.61.0", True), ("2.61.7", True), ("3.0.0", True),
    ],
)  # fmt: skip
def test_releases_that_may_exist(ray: str, exists: bool) -> None:
    assert may_exist(parse(ray)) is exists


@pytest.mark.parametrize(
    ("ray", "near"),
    [("2.60.7", "2.60.0"), ("2.15.0", "2.12.0 2.20.0"), ("2.9.9", "2.9.3 2.10.0"), ("1.13.0", "2.9.0")],
)
def test_the_nearest_releases_are_named(ray: str, near: str) -> None:
    assert " ".join(map(written, neighbours(parse(ray), RELEASES))) == near


def test_the_table_is_in_order() -> None:
    assert list(RELEASES) == sorted(set(RELEASES))
    for rows in WHEELS.values():
        since = [parse(release) for release in rows]
        assert since == sorted(since)
        assert all(is_known(release) for release in since)
        assert all(row != before for row, before in pairwise(rows.values()))
    for each in FAULTS:
        assert is_known(each.first) and is_known(each.last) and each.first <= each.last


@pytest.mark.parametrize(("os", "arch", "last"), [("macos", "x86_64", (2, 49, 2)), ("windows", "x86_64", None)])
def test_where_wheels_ended(os: str, arch: str, last: Version | None) -> None:
    assert last_release(os, arch) == last


@pytest.mark.parametrize(
    ("facts", "system"),
    [
        ({"os": "linux", "arch": "x86_64", "libc": "glibc", "libc_version": "2.36", "clock": 1.0}, LINUX),
        ({"os": "windows", "arch": "AMD64"}, WINDOWS),
        ({"os": "macos", "arch": "arm64"}, MAC),
        ({"os": "linux", "arch": "aarch64", "libc": "glibc", "libc_version": "2.36"}, LINUX_ARM),
        ({}, System("", "")),
    ],
)
def test_facts_become_a_system(facts: dict[str, object], system: System) -> None:
    assert System.from_facts(facts) == system


def test_processors_have_one_name() -> None:
    assert [architecture(word) for word in ("AMD64", "x64", "arm64", "ARM64", "riscv64")] == [
        "x86_64", "x86_64", "aarch64", "aarch64", "riscv64",
    ]  # fmt: skip


def test_every_choice_fits_every_system() -> None:
    for systems in ({LINUX}, {LINUX, WINDOWS}, {INTEL_MAC}, {WINDOWS}, {LINUX, LINUX_ARM, MAC, WINDOWS}):
        found = choices(systems, minor_match=True)
        assert found or systems == {INTEL_MAC}
        for ray, (oldest, newest) in found.items():
            for minor in range(oldest, newest + 1):
                assert not any(obstacle(system, (3, minor, 1), ray) for system in systems)
            assert any(obstacle(system, (3, newest + 1, 0), ray) for system in systems)


def test_choices_come_newest_first_and_leave_out_what_is_broken() -> None:
    found = [written(ray) for ray in choices({WINDOWS}, minor_match=False)]
    assert found[0] == written(RELEASES[-1])
    assert found == sorted(found, key=parse, reverse=True)
    assert "2.44.1" in found
    assert not {"2.45.0", "2.47.1", "2.55.0", "2.22.0"} & set(found)
    assert choices({LINUX, System("windows", "aarch64")}, minor_match=False) == {}
    assert choices({INTEL_MAC, LINUX}, minor_match=False) == {}


@pytest.mark.parametrize(
    ("system", "since", "told"),
    [
        (LINUX, "2.58.0", ["Python 3.10 to 3.14"]),
        (LINUX, "2.54.0", ["Python 3.10 to 3.14", "3.14 from Ray 2.55.0 on"]),
        (WINDOWS, "2.55.1", ["Python 3.10 to 3.14", "3.13 and 3.14 from Ray 2.58.0 on",
                             "not Ray 2.54.1 to 2.55.1 (leaves"]),
        (INTEL_MAC, "2.45.0", ["Ray up to 2.49.2", "Python 3.9 to 3.13"]),
        (INTEL_MAC, "2.55.0", ["no wheels from Ray 2.55.0 on"]),
        (System("linux", "x86_64", "musl"), "2.55.0", ["Ray has no wheels for Linux with musl"]),
    ],
)  # fmt: skip
def test_limits_in_words(system: System, since: str, told: list[str]) -> None:
    found = limits(system, parse(since))
    assert len(found) == len(told)
    assert all(line.startswith(begin) for line, begin in zip(found, told, strict=True))


def test_unsupported_says_nothing_of_what_is_supported() -> None:
    assert [unsupported(system) for system in (LINUX, LINUX_ARM, WINDOWS, MAC, INTEL_MAC)] == [""] * 5
    assert all(span(os, arch, RELEASES[0]) for os, arch in WHEELS)
