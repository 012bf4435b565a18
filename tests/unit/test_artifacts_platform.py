"""Platforms as uv names them, and which wheel fits one best."""

from __future__ import annotations

import pytest

from provisioner.artifacts.platform import Platform
from provisioner.artifacts.tags import best_wheel
from provisioner.errors import HostFailed

LINUX = Platform("linux", "x86_64", "glibc", "2.36")
OLD_LINUX = Platform("linux", "x86_64", "glibc", "2.17")
ARM_LINUX = Platform("linux", "aarch64", "glibc", "2.31")
MAC = Platform("macos", "aarch64")
INTEL_MAC = Platform("macos", "x86_64")
WINDOWS = Platform("windows", "x86_64")


def mac(release: str) -> Platform:
    return Platform("macos", "aarch64", os_version=release)


@pytest.mark.parametrize(
    ("facts", "uv_name", "key"),
    [
        (("linux", "x86_64", "glibc", "2.36"), "x86_64-manylinux_2_28", "linux-x86_64-glibc2.28"),
        (("linux", "x86_64", "glibc", "2.17"), "x86_64-manylinux_2_17", "linux-x86_64-glibc2.17"),
        (("linux", "x86_64", "glibc", "2.27"), "x86_64-manylinux_2_17", "linux-x86_64-glibc2.17"),
        (("linux", "x86_64", "glibc", "2.30"), "x86_64-manylinux_2_28", "linux-x86_64-glibc2.28"),
        (("linux", "aarch64", "glibc", "2.35"), "aarch64-manylinux_2_28", "linux-aarch64-glibc2.28"),
        (("linux", "arm64", "glibc", "2.99"), "aarch64-manylinux_2_28", "linux-aarch64-glibc2.28"),
        (("macos", "arm64", "", ""), "aarch64-apple-darwin", "macos-aarch64"),
        (("macos", "x86_64", "", ""), "x86_64-apple-darwin", "macos-x86_64"),
        (("windows", "AMD64", "", ""), "x86_64-pc-windows-msvc", "windows-x86_64"),
    ],
)
def test_names(facts: tuple[str, str, str, str], uv_name: str, key: str) -> None:
    platform = Platform.from_facts(dict(zip(("os", "arch", "libc", "libc_version"), facts, strict=True)))
    assert platform.uv_name == uv_name
    assert platform.key == key


@pytest.mark.parametrize(
    ("release", "key", "level"),
    [
        ("", "macos-aarch64", 13),
        ("13.7.8", "macos-aarch64", 13),
        ("12.7", "macos-aarch64-12", 12),
        ("14.0", "macos-aarch64-14", 14),
        ("15.6.1", "macos-aarch64-14", 14),
        ("26.1", "macos-aarch64-14", 14),
    ],
)
def test_releases_of_macos(release: str, key: str, level: int) -> None:
    platform = Platform.from_facts({"os": "macos", "arch": "aarch64", "macos_version": release})
    assert (platform.key, platform.macos_level) == (key, level)
    assert platform.uv_name == "aarch64-apple-darwin"


@pytest.mark.parametrize(
    ("locked", "actual", "fits"),
    [
        (MAC, mac("15.6"), True),
        (MAC, mac("13.0"), True),
        (MAC, mac("12.7"), False),
        (mac("14.1"), mac("15.6"), True),
        (mac("15.6"), mac("13.1"), False),
        (MAC, INTEL_MAC, False),
    ],
)
def test_packages_for_an_older_macos_run_on_a_newer_one(locked: Platform, actual: Platform, fits: bool) -> None:
    assert locked.fits(actual) is fits


@pytest.mark.parametrize(
    ("platform", "words"),
    [
        (Platform("macos", "aarch64", os_version="11.7"), "macOS 11.7"),
        (Platform("linux", "x86_64", "musl", ""), "Linux with musl"),
        (Platform("linux", "x86_64", "glibc", "2.12"), "glibc 2.12 is too old"),
        (Platform("linux", "x86_64", "glibc", ""), "too old"),
        (Platform("linux", "riscv64", "glibc", "2.39"), "linux on riscv64"),
        (Platform("windows", "aarch64"), "Windows on ARM"),
        (Platform("windows", "x86"), "windows on x86"),
        (Platform("freebsd", "x86_64"), "freebsd"),
        (Platform.from_facts({}), "unknown processor"),
    ],
)
def test_platforms_without_ray(platform: Platform, words: str) -> None:
    with pytest.raises(HostFailed, match=words) as caught:
        _ = platform.key
    assert caught.value.remedy


CRYPTOGRAPHY = [
    "cryptography-50.0.2-cp311-abi3-macosx_11_0_arm64.whl",
    "cryptography-50.0.2-cp311-abi3-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
    "cryptography-50.0.2-cp311-abi3-manylinux_2_28_aarch64.whl",
    "cryptography-50.0.2-cp311-abi3-manylinux_2_28_x86_64.whl",
    "cryptography-50.0.2-cp311-abi3-manylinux_2_34_x86_64.whl",
    "cryptography-50.0.2-cp311-abi3-musllinux_1_2_x86_64.whl",
    "cryptography-50.0.2-cp311-abi3-win32.whl",
    "cryptography-50.0.2-cp311-abi3-win_amd64.whl",
    "cryptography-50.0.2-cp38-abi3-win_amd64.whl",
    "cryptography-50.0.2-pp311-pypy311_pp73-win_amd64.whl",
]
NUMPY = ["numpy-2.3.4-cp311-cp311-macosx_11_0_arm64.whl", "numpy-2.3.4-cp311-cp311-macosx_14_0_arm64.whl"]
AIOHTTP = [
    "aiohttp-3.14.5-py3-none-any.whl",
    "aiohttp-3.14.5-cp310-cp310-win_amd64.whl",
    "aiohttp-3.14.5-cp311-cp311-macosx_10_9_universal2.whl",
    "aiohttp-3.14.5-cp311-cp311-macosx_11_0_arm64.whl",
    "aiohttp-3.14.5-cp311-cp311-macosx_26_0_arm64.whl",
    "aiohttp-3.14.5-cp311-cp311-manylinux2014_aarch64.manylinux_2_17_aarch64.whl",
    "aiohttp-3.14.5-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64.whl",
    "aiohttp-3.14.5-cp311-cp311-win_amd64.whl",
    "aiohttp-3.14.5-cp314-cp314t-manylinux_2_17_x86_64.whl",
]


@pytest.mark.parametrize(
    ("platform", "python", "files", "ending"),
    [
        (LINUX, "3.11.2", CRYPTOGRAPHY, "abi3-manylinux_2_28_x86_64"),
        (OLD_LINUX, "3.11.2", CRYPTOGRAPHY, "abi3-manylinux2014_x86_64.manylinux_2_17_x86_64"),
        (ARM_LINUX, "3.12.1", CRYPTOGRAPHY, "abi3-manylinux_2_28_aarch64"),
        (MAC, "3.11.9", CRYPTOGRAPHY, "macosx_11_0_arm64"),
        (WINDOWS, "3.11.9", CRYPTOGRAPHY, "cp311-abi3-win_amd64"),
        (WINDOWS, "3.14.0", CRYPTOGRAPHY, "cp311-abi3-win_amd64"),
        (WINDOWS, "3.10.11", CRYPTOGRAPHY, "cp38-abi3-win_amd64"),
        (INTEL_MAC, "3.11.9", CRYPTOGRAPHY, None),
        (LINUX, "3.10.1", CRYPTOGRAPHY, None),
        (LINUX, "3.11.2", AIOHTTP, "cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64"),
        (ARM_LINUX, "3.11.2", AIOHTTP, "cp311-manylinux2014_aarch64.manylinux_2_17_aarch64"),
        (LINUX, "3.14.2", AIOHTTP, "py3-none-any"),
        (MAC, "3.11.9", AIOHTTP, "macosx_11_0_arm64"),
        (INTEL_MAC, "3.11.9", AIOHTTP, "macosx_10_9_universal2"),
        (mac("26.0"), "3.11.9", AIOHTTP, "macosx_11_0_arm64"),
        (mac("12.7"), "3.11.9", NUMPY, "macosx_11_0_arm64"),
        (MAC, "3.11.9", NUMPY, "macosx_11_0_arm64"),
        (mac("14.4"), "3.11.9", NUMPY, "macosx_14_0_arm64"),
        (WINDOWS, "3.11.9", AIOHTTP, "cp311-win_amd64"),
        (WINDOWS, "3.10.11", AIOHTTP, "cp310-win_amd64"),
        (WINDOWS, "3.11.9", ["a-1-py2.py3-none-any.whl", "a-1-1-py3-none-any.whl"], "a-1-1-py3-none-any"),
        (WINDOWS, "3.11.9", ["a-1-2-py3-none-any.whl", "a-1-10-py3-none-any.whl"], "a-1-10-py3-none-any"),
        (WINDOWS, "3.11.9", ["a-1.tar.gz", "not a wheel.whl"], None),
        (WINDOWS, "3.11.9", [], None),
    ],
)
def test_the_best_wheel(platform: Platform, python: str, files: list[str], ending: str | None) -> None:
    best = best_wheel(files, platform, python)
    assert (best is None) if ending is None else (best or "").endswith(f"{ending}.whl")


def test_the_order_of_the_list_decides_nothing_but_ties() -> None:
    assert best_wheel(CRYPTOGRAPHY[::-1], LINUX, "3.11.2") == best_wheel(CRYPTOGRAPHY, LINUX, "3.11.2")
    assert best_wheel(AIOHTTP[::-1], MAC, "3.11.9") == best_wheel(AIOHTTP, MAC, "3.11.9")
