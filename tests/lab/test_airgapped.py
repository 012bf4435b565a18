"""A bundle and nothing else: hosts without Python and without a route out, a controller that reaches no index."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import interpreters
from tests.interpreters import Archive

from .cluster import Cluster, contacts, ours
from .command import Provision
from .conftest import MachineFactory
from .machines import Machine
from .plumbing import PREFIX
from .shell import run

NOWHERE = "http://127.0.0.1:9"
"""Where nothing answers: a proxy that is down."""
LOCKED_ALONE = "the packages were locked for this run only"


@dataclass(frozen=True)
class Sealed:
    """A cluster whose controller is cut off, and the bundle that was made before."""

    cluster: Cluster
    bundle: Path
    cache: Path
    archive: Archive


@pytest.fixture(scope="module")
def machines(module_machines: MachineFactory) -> list[Machine]:
    """Two hosts without any Python and without a route out."""
    made = module_machines(2)
    for machine in made:
        run(["ip", "-n", f"{PREFIX}{machine.name}", "route", "del", "default"])
        machine.exec(["sh", "-c", "mkdir /usr/hidden && mv /usr/bin/python3* /usr/hidden"])
    return made


@pytest.fixture(scope="module")
def sealed(
    machines: list[Machine], provision: Provision, archive: Archive, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sealed]:
    folder = tmp_path_factory.mktemp("sealed")
    mirror = interpreters.mirror(folder / "mirror", [archive])
    cluster = Cluster(provision, folder / "lab.yml", machines)
    cluster.declare(python={"version": archive.version, "source": "managed", "mirror": mirror})
    bundle = folder / "lab.bundle"
    begun = time.monotonic()
    made = provision("bundle", cluster.inventory, "-o", bundle)
    assert made.code == 0, made.err
    print(f"\nbundle: {bundle.stat().st_size / 10**6:.1f} MB in {time.monotonic() - begun:.1f} s")
    shutil.rmtree(folder / "mirror")
    cache = folder / "cache"
    dead = {f"{name}_PROXY": NOWHERE for name in ("HTTP", "HTTPS", "ALL")}
    dead |= {name.lower(): value for name, value in dead.items()} | {"NO_PROXY": "", "no_proxy": ""}
    own = {"PROVISION_CACHE": str(cache), "UV_CACHE_DIR": str(folder / "uv"), "HOME": str(folder / "home")}
    cluster.env = {**dead, **own}
    yield Sealed(cluster, bundle, cache, archive)


def damaged(bundle: Path, target: Path) -> Path:
    """Copy a bundle and turn one bit in the middle."""
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 1
    target.write_bytes(bytes(content))
    return target


def test_hosts_have_no_route_out(sealed: Sealed) -> None:
    for machine in sealed.cluster.machines:
        routes = [line.split()[1] for line in machine.read("/proc/net/route").splitlines()[1:]]
        assert routes
        assert "00000000" not in routes
        assert machine.exec(["sh", "-c", "command -v python3"], check=False).returncode != 0


def test_the_controller_reaches_no_index(sealed: Sealed) -> None:
    alone = sealed.cluster.provision("lock", sealed.cluster.inventory, env=sealed.cluster.env)
    assert alone.code == 1
    assert "cannot be used" in alone.err
    assert "HTTPS_PROXY" in alone.err
    assert not sealed.cluster.inventory.with_name("lab.lock.yml").exists()


def test_bundles_that_will_not_do_are_refused_before_contact(sealed: Sealed, tmp_path: Path) -> None:
    cut = tmp_path / "cut.bundle"
    shutil.copy(sealed.bundle, cut)
    os.truncate(cut, sealed.bundle.stat().st_size * 2 // 3)
    cases = {cut: "is cut off", damaged(sealed.bundle, tmp_path / "bad.bundle"): "is damaged"}
    for bundle, words in cases.items():

        def refused(bundle: Path = bundle, words: str = words) -> None:
            said = sealed.cluster.apply("--bundle", str(bundle), code=1).document["notices"][0]
            assert words in said["message"]
            assert "copy it again" in said["remedy"]

        assert contacts(sealed.cluster.machines, refused) == {"h1": (0, 0), "h2": (0, 0)}


def test_a_bundle_for_another_platform_is_refused_before_contact(sealed: Sealed) -> None:
    cluster = sealed.cluster
    text = cluster.inventory.read_text()
    cluster.inventory.write_text(text + "arch: aarch64\n")
    try:

        def refused() -> None:
            said = cluster.apply("--bundle", str(sealed.bundle), code=1).document["notices"][0]
            assert "holds nothing for linux-aarch64-glibc2.28, only for linux-x86_64-glibc2.28" in said["message"]

        assert contacts(cluster.machines, refused) == {"h1": (0, 0), "h2": (0, 0)}
    finally:
        cluster.inventory.write_text(text)


def test_from_bare_to_a_proven_cluster(sealed: Sealed) -> None:
    begun = time.monotonic()
    answer = sealed.cluster.apply("--bundle", str(sealed.bundle))
    print(f"\napply: {time.monotonic() - begun:.1f} s")
    proven = answer.proven()
    assert {name: (proof["ray"], proof["python"]) for name, proof in proven.items()} == dict.fromkeys(
        ["h1", "h2"], ("2.60.0", sealed.archive.version)
    )
    assert not any(LOCKED_ALONE in notice["message"] for notice in answer.document["notices"])
    kept = {path.name for path in (sealed.cache / "files").iterdir()}
    assert kept <= {sealed.archive.sha256}, "what is in the bundle is sent from there"


def test_nothing_to_do_costs_one_connection_and_one_exec(sealed: Sealed) -> None:
    def again() -> None:
        assert sealed.cluster.check("--bundle", str(sealed.bundle)).differences() == []

    assert contacts(sealed.cluster.machines, again) == {"h1": (1, 1), "h2": (1, 1)}
    assert sealed.cluster.apply("--bundle", str(sealed.bundle)).changed() == []


def test_an_interpreter_that_vanished_comes_out_of_the_bundle(sealed: Sealed) -> None:
    sealed.cluster.machines[1].exec(["rm", "-rf", "/root/.provision/python"])
    shutil.rmtree(sealed.cache / "files")
    said = sealed.cluster.teardown("--limit", "h2", code=3).said("h2")
    assert "the host has no Python that the program can run on" in said
    sealed.cluster.teardown("--limit", "h2", "--bundle", str(sealed.bundle))
    assert ours(sealed.cluster.machines[1]) == []


def test_teardown_needs_no_bundle(sealed: Sealed) -> None:
    sealed.cluster.teardown("--purge")
    for machine in sealed.cluster.machines:
        assert ours(machine) == []
