"""The table of Ray's releases against the package index: it must not go stale unnoticed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings

import pytest
import requests
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from provisioner.ray.releases import RELEASES, WHEELS, Span, may_exist, span
from provisioner.ray.version import Version, written

SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"
PLATFORMS = {
    r"manylinux2014_x86_64": ("linux", "x86_64"),
    r"manylinux2014_aarch64": ("linux", "aarch64"),
    r"macosx_\d+_\d+_arm64": ("macos", "aarch64"),
    r"macosx_\d+_\d+_x86_64": ("macos", "x86_64"),
    r"win_amd64": ("windows", "x86_64"),
}
Published = dict[Version, dict[tuple[str, str], set[int]]]


def index_url() -> str:
    """The package index that pip uses on this machine."""
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    configured = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.strip()
    return os.environ.get("PIP_INDEX_URL") or configured or "https://pypi.org/simple"


@pytest.fixture(scope="module")
def published() -> Published:
    """Every release of Ray from the table's first one on: minor versions of Python 3 by OS and processor."""
    try:
        answer = requests.get(f"{index_url().rstrip('/')}/ray/", headers={"Accept": SIMPLE_JSON}, timeout=60)
        answer.raise_for_status()
        files = [file["filename"] for file in answer.json()["files"] if not file.get("yanked")]
    except (requests.RequestException, ValueError, KeyError) as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"needs the package index on the internet: {type(error).__name__}")
    found: Published = {}
    for filename in files:
        try:
            _, version, _, tags = parse_wheel_filename(filename)
        except InvalidWheelFilename:
            continue
        release = (version.major, version.minor, version.micro)
        if not version.is_prerelease and release >= RELEASES[0]:
            for tag in tags:
                found.setdefault(release, {}).setdefault(_place(tag.platform), set()).add(int(tag.interpreter[3:]))
    return found


def _place(platform: str) -> tuple[str, str]:
    places = [place for pattern, place in PLATFORMS.items() if re.fullmatch(pattern, platform)]
    assert places, f"Ray has wheels for {platform}, of which the table knows nothing"
    return places[0]


def test_the_table_knows_every_release(published: Published) -> None:
    """Up to its own newest; what came out since then is a reason to look after the table, and no failure."""
    missing = [release for release in sorted(published) if release not in RELEASES]
    newer = [written(release) for release in missing if release > RELEASES[-1]]
    if newer:
        warnings.warn(f"the table lacks {', '.join(newer)}: add them to _SERIES and _LAST_PATCH", stacklevel=1)
    assert [written(release) for release in missing if release < RELEASES[-1]] == []
    assert all(may_exist(release) for release in published if release < RELEASES[-1])


def test_the_table_knows_no_others(published: Published) -> None:
    assert [written(release) for release in RELEASES if release not in published] == []


@pytest.mark.parametrize(("os", "arch"), list(WHEELS))
def test_the_table_has_the_wheels_that_exist(os: str, arch: str, published: Published) -> None:
    def existing(release: Version) -> Span | None:
        minors = published[release].get((os, arch), set())
        assert minors == (set(range(min(minors), max(minors) + 1)) if minors else set()), "a gap; the table has spans"
        return (min(minors), max(minors)) if minors else None

    known = [release for release in published if release in RELEASES]
    differing = {written(r): existing(r) for r in known if existing(r) != span(os, arch, r)}
    assert differing == {}
