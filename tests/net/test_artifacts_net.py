"""Against the real package index: run with ``pytest tests/net``; skipped where it cannot be reached."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest

from provisioner.artifacts import Artifacts, Cache, Platform
from provisioner.artifacts.compile import Request
from provisioner.artifacts.locking import lock_cluster
from provisioner.artifacts.lockset import LockSet
from provisioner.artifacts.resolve import resolve_lock
from provisioner.errors import ProvisionError
from provisioner.inventory.load import load_inventory

LINUX = {"os": "linux", "arch": "x86_64", "libc": "glibc", "libc_version": "2.36"}
WINDOWS = {"os": "windows", "arch": "AMD64"}
RAY = ("ray[default]==2.60.0", "redis")


@pytest.mark.parametrize(
    ("facts", "names"), [(LINUX, {"click", "six"}), (WINDOWS, {"click", "colorama", "six"})], ids=["linux", "windows"]
)
def test_small_packages_arrive(facts: dict[str, str], names: set[str], tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    lock = artifacts.lock(facts, "3.11.9", ("click==8.1.8", "six"))
    assert {wheel.name for wheel in lock.wheels} == names
    for wheel in (*lock.wheels, lock.uv):
        content = artifacts.path(wheel.sha256).read_bytes()
        assert len(content) == wheel.size
        assert hashlib.sha256(content).hexdigest() == wheel.sha256


@pytest.mark.parametrize(
    ("facts", "python", "present", "absent", "ray"),
    [
        (LINUX, "3.11.2", "async-timeout", "colorama", "ray-2.60.0-cp311-cp311-manylinux2014_x86_64.whl"),
        (WINDOWS, "3.11.9", "colorama", "async-timeout", "ray-2.60.0-cp311-cp311-win_amd64.whl"),
    ],
    ids=["linux", "windows"],
)
def test_ray_is_locked(facts: dict[str, str], python: str, present: str, absent: str, ray: str, tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    lock = resolve_lock(Request(Platform.from_facts(facts), python, RAY), cache)
    files = {wheel.name: wheel.filename for wheel in lock.wheels}
    assert 50 <= len(files) <= 70
    assert present in files
    assert absent not in files
    assert files["ray"] == ray
    began = time.perf_counter()
    assert resolve_lock(Request(Platform.from_facts(facts), python, RAY), cache) == lock
    assert time.perf_counter() - began < 0.05


@pytest.mark.parametrize(
    ("facts", "requirement", "words"),
    [
        (LINUX, "ray==2.99.0", "ray==2.99.0 does not exist"),
        (LINUX, "docopt==0.6.2", "docopt.* has no wheel"),
        ({"os": "macos", "arch": "x86_64"}, "ray==2.60.0", "ray==2.60.0 has no wheel for macos x86_64"),
    ],
)
def test_what_does_not_exist_is_said_plainly(
    facts: dict[str, str], requirement: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ProvisionError, match=words):
        resolve_lock(Request(Platform.from_facts(facts), "3.11.9", (requirement,)), Cache(tmp_path))


FLEET = """\
cluster: net
python: {version: 3.11.9, source: system}
ray: {version: 2.60.0}
head:
  ctl: {address: 127.0.0.1}
workers:
  pc: {address: 127.0.0.2, os: windows}
  mac: {address: 127.0.0.3, os: macos, arch: aarch64}
  old: {address: 127.0.0.4, glibc: "2.17"}
"""


def test_a_mixed_fleet_is_locked_with_the_same_versions(tmp_path: Path) -> None:
    (tmp_path / "fleet.yml").write_text(FLEET)
    inventory, artifacts = load_inventory(tmp_path / "fleet.yml"), Artifacts(tmp_path / "cache")
    began = time.monotonic()
    locks = lock_cluster(inventory, artifacts, None)
    print(f"four platforms locked in {time.monotonic() - began:.1f} s")
    versions: dict[str, set[str]] = {}
    for each in locks.environments:
        for wheel in each.lock.wheels:
            versions.setdefault(wheel.name, set()).add(wheel.version)
    assert len(locks.environments) == 4
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}
    assert lock_cluster(inventory, artifacts, locks) == locks
    assert LockSet.from_data(locks.to_data()) == locks
