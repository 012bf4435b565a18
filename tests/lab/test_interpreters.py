"""The same Python on every host, whatever was there before: brought to machines that have none, with real Ray on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import interpreters
from tests.interpreters import Archive, Unavailable

from . import plumbing
from .bare import PYTHON_ONLY, give_back, managed, strip
from .cluster import Cluster, contacts, ours, ray_pids, raylet
from .command import Provision
from .conftest import MachineFactory
from .listing import Listing, changes
from .machines import Machine
from .shell import wait_until


@pytest.fixture(scope="module")
def patches() -> tuple[Archive, Archive]:
    """Archives of two patch versions of one Python; the first one is what lab hosts have, too."""
    try:
        there = next(python for python in interpreters.at_hand() if python.version == "3.11.2")
        other = next(python for python in interpreters.at_hand() if python.minor == "3.11" and python != there)
    except StopIteration:
        pytest.skip("there are no two patch versions of Python 3.11 here")
    try:
        return interpreters.relocatable(there), interpreters.relocatable(other)
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def archive(patches: tuple[Archive, Archive]) -> Archive:
    return patches[1]


@pytest.fixture(scope="module")
def mirror(patches: tuple[Archive, Archive], tmp_path_factory: pytest.TempPathFactory) -> str:
    return interpreters.mirror(tmp_path_factory.mktemp("mirror"), patches)


@pytest.fixture(scope="module")
def machines(module_machines: MachineFactory) -> list[Machine]:
    return module_machines(2)


def sent_to(machine: Machine) -> int:
    """Return how many bytes have been sent to a host since it was made."""
    return int(Path(f"/sys/class/net/{plumbing.PREFIX}{machine.name}/statistics/tx_bytes").read_text())


def program_of(machine: Machine, pid: int) -> str:
    return machine.exec(["readlink", f"/proc/{pid}/exe"]).stdout.strip()


@contextmanager
def mounted(machine: Machine, where: str, options: str) -> Iterator[None]:
    machine.exec(["mkdir", "-p", where])
    machine.exec(["mount", "-t", "tmpfs", "-o", options, "tmpfs", where])
    try:
        yield
    finally:
        machine.exec(["umount", "-l", where])
        machine.exec(["rmdir", where])


@pytest.fixture(scope="module")
def bare(machines: list[Machine]) -> dict[str, Listing]:
    """Take Python from both machines, and tar from the second; what is on their disks then, by name."""
    strip(machines[0], "python3*")
    strip(machines[1], "python3*", "tar")
    return {machine.name: machine.listing() for machine in machines}


@pytest.fixture(scope="module")
def cluster(
    machines: list[Machine], bare: dict[str, Listing], provision: Provision, archive: Archive, mirror: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Cluster:  # fmt: skip
    """The bare machines."""
    made = Cluster(provision, tmp_path_factory.mktemp("bare") / "lab.yml", machines)
    made.python = f"{made.root}/python/{archive.version}/bin/python3"
    made.declare(**managed(archive, mirror))
    return made


@pytest.fixture(scope="module")
def mixed(machines: list[Machine], provision: Provision, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The same machines; the first one has its own Python again."""
    give_back(machines[0])
    return Cluster(provision, tmp_path_factory.mktemp("minor") / "lab.yml", machines)


class TestBare:
    """Two machines without Python, one of them without tar as well, become a cluster and what they were again."""

    def test_link_cut_while_the_interpreter_is_sent(self, cluster: Cluster, archive: Archive) -> None:
        machine, size = cluster.head, archive.path.stat().st_size
        part = f"/root/.provision/python/{archive.sha256}.tar.gz.part"
        flags = ["--limit", "h1", "--playbook", str(python_only(cluster))]
        machine.throttle(20)
        running = cluster.start("apply", *flags)
        try:
            wait_until(lambda: there(machine, part) > size // 2, "half of the archive to be there", 60)
            machine.cut()
            lost = cluster.answer(running.wait(200), code=4)
        finally:
            machine.uncut()
            machine.throttle(0)
        assert lost.status() == {"h1": "unreachable"}
        assert "broke off" in lost.said("h1")
        before, half = sent_to(machine), there(machine, part)
        assert size // 2 < half < size
        cluster.apply(*flags)
        assert sent_to(machine) - before < (size - half) * 1.1 + 500_000, "it goes on where it was"
        cluster.teardown("--purge")

    def test_check_tells_the_truth_and_leaves_the_host_alone(
        self, cluster: Cluster, bare: dict[str, Listing], archive: Archive
    ) -> None:
        told = cluster.check(code=2).differences()
        after = f"the host is bare; `apply` brings Python {archive.version} first"
        assert told == [(name, "add", "everything that is declared", "", after) for name in ("h1", "h2")]
        assert set(cluster.teardown().status().values()) == {"ok"}
        for machine in cluster.machines:
            assert changes(bare[machine.name], machine.listing()) == []

    def test_from_bare_to_a_cluster(self, cluster: Cluster, archive: Archive) -> None:
        before = {machine.name: sent_to(machine) for machine in cluster.machines}
        proven = cluster.apply().proven()
        assert {name: proof["python"] for name, proof in proven.items()} == dict.fromkeys(["h1", "h2"], archive.version)
        for machine in cluster.machines:
            assert program_of(machine, raylet(machine)).startswith(f"{cluster.root}/env/{archive.version}-")
            pythons = {program_of(machine, pid) for pid, name in ray_pids(machine).items() if name.startswith("ray::")}
            assert pythons == {f"{cluster.root}/python/{archive.version}/bin/python3.11"}
            assert f"{archive.sha256}.tar.gz" not in machine.exec(["ls", "/root/.provision/python"]).stdout
            stored = machine.exec(["ls", f"{cluster.root}/store/{archive.sha256}"]).stdout.strip()
            assert stored.startswith(f"cpython-{archive.version}"), "what first contact brought was taken over"
            print(machine.name, "received", (sent_to(machine) - before[machine.name]) // 10**6, "MB")

    def test_one_connection_and_one_command_from_then_on(self, cluster: Cluster) -> None:
        assert contacts(cluster.machines, cluster.check) == {"h1": (1, 1), "h2": (1, 1)}
        assert contacts(cluster.machines, lambda: cluster.apply()) == {"h1": (1, 1), "h2": (1, 1)}
        assert cluster.apply().changed() == []

    def test_the_programs_interpreter_vanished(self, cluster: Cluster) -> None:
        cluster.machines[1].exec(["rm", "-rf", "/root/.provision/python"])
        assert cluster.check().differences() == []
        assert contacts(cluster.machines, cluster.check) == {"h1": (1, 1), "h2": (1, 1)}

    def test_rays_interpreter_vanished(self, cluster: Cluster, archive: Archive) -> None:
        worker = cluster.machines[1]
        worker.exec(["rm", "-rf", f"{cluster.root}/python"])
        told = {(name, what.split("-")[0]) for name, _, what, _, _ in cluster.check(code=2).differences()}
        assert ("h2", f"Python {archive.version}") in told and ("h2", f"environment {archive.version}") in told
        cluster.apply("--yes")
        assert cluster.check().differences() == []
        assert cluster.alive() == ["h1", "h2"]

    def test_teardown_leaves_what_costs_time(self, cluster: Cluster, archive: Archive) -> None:
        cluster.teardown()
        for machine in cluster.machines:
            assert ours(machine) == []
            kept = machine.exec(["ls", f"{cluster.root}/python", "/root/.provision/python"]).stdout
            assert archive.version in kept
        assert contacts(cluster.machines, lambda: cluster.check(code=2)) == {"h1": (1, 1), "h2": (1, 1)}

    def test_teardown_with_purge_leaves_no_trace(self, cluster: Cluster, bare: dict[str, Listing]) -> None:
        cluster.teardown("--purge")
        for machine in cluster.machines:
            assert ours(machine) == []
            assert changes(bare[machine.name], machine.listing()) == []

    @pytest.mark.parametrize(
        ("ssh", "over"), [("kim", {"become": True}), ("park", {"service": "process"})], ids=["sudo", "no root at all"]
    )
    def test_other_accounts(
        self, ssh: str, over: dict[str, Any], cluster: Cluster, bare: dict[str, Listing], archive: Archive, mirror: str
    ) -> None:
        cluster.declare(**managed(archive, mirror, ssh={"user": ssh}, **over))
        cluster.apply("--playbook", str(python_only(cluster)))
        assert contacts(cluster.machines, lambda: cluster.check(code=2)) == {"h1": (1, 1), "h2": (1, 1)}
        brought = f"/home/{ssh}/.provision/python/{archive.version}-linux-x86_64/bin/python3"
        for machine in cluster.machines:
            assert machine.exec(["stat", "-c", "%U", brought]).stdout.strip() == ssh
        cluster.teardown("--purge")
        for machine in cluster.machines:
            assert changes(bare[machine.name], machine.listing()) == []

    def test_a_home_folder_that_will_not_do(self, cluster: Cluster, archive: Archive, mirror: str) -> None:
        cluster.declare(cluster.machines[:1], **managed(archive, mirror))
        with mounted(cluster.head, "/root/.provision", "size=20m"):
            said = cluster.check(code=3).said("h1")
            assert "the home folder of root has 19 MiB free, Python " in said and "MiB -> free some space" in said
        with mounted(cluster.head, "/root/.provision", "noexec"):
            said = cluster.check(code=3).said("h1")
            assert "lets nothing be run from the home folder" in said and "noexec" in said

    def test_an_archive_with_a_wrong_checksum(self, cluster: Cluster, bare: dict[str, Listing], tmp_path: Path) -> None:
        made = interpreters.pretended(tmp_path / "made", "3.12.7", "linux")
        place = interpreters.mirror(tmp_path / "mirror", [made])
        next(tmp_path.glob(f"mirror/*/{made.filename}")).write_bytes(b"another file")
        cluster.declare(cluster.machines[:1], **managed(made, place))
        said = cluster.apply(code=3).said("h1")
        assert "3.12.7" in said and "the host has no Python that the program can run on" in said
        cluster.head.exec(["rm", "-rf", "/root/.provision"])
        assert changes(bare["h1"], cluster.head.listing()) == []

    def test_the_system_must_have_what_is_not_brought(self, cluster: Cluster) -> None:
        cluster.declare(cluster.machines[:1])
        said = cluster.check(code=3).said("h1")
        assert "there is no Python on the host that the program can run on (python3: " in said
        assert "source: managed" in said
        cluster.head.exec(["rm", "-rf", "/root/.provision"])


def python_only(cluster: Cluster) -> Path:
    """Return a playbook that brings the interpreter and nothing else."""
    playbook = cluster.inventory.with_name("python.yml")
    playbook.write_text(PYTHON_ONLY)
    return playbook


def there(machine: Machine, path: str) -> int:
    said = machine.exec(["stat", "-c", "%s", path], check=False).stdout.strip()
    return int(said or 0)


class TestPatchVersions:
    """A host keeps its own Python, the other one gets another patch version: one cluster with `match: minor`."""

    def two(self, archive: Archive, mirror: str, match: str) -> dict[str, Any]:
        python = {"version": "3.11.2", "source": "system", "match": match}
        other = {"version": archive.version, "source": "managed", "mirror": mirror}
        return {"python": python, "workers": {"h2": {"python": other}}}

    def test_they_are_refused_unless_it_is_said(self, mixed: Cluster, archive: Archive, mirror: str) -> None:
        mixed.declare(**self.two(archive, mirror, "exact"))
        refused = mixed.check(code=1).result
        assert "write `match: minor`" in refused.out + refused.err

    def test_tasks_run_on_both(self, mixed: Cluster, archive: Archive, mirror: str) -> None:
        mixed.declare(**self.two(archive, mirror, "minor"))
        proven = mixed.apply().proven()
        assert {name: proof["python"] for name, proof in proven.items()} == {"h1": "3.11.2", "h2": archive.version}
        assert mixed.apply().changed() == []
        assert contacts(mixed.machines, mixed.check) == {"h1": (1, 1), "h2": (1, 1)}
        level = "RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL"
        for machine in mixed.machines:
            assert f'{level}="minor"' in machine.read("/etc/environment")
            environ = machine.exec(["cat", f"/proc/{raylet(machine)}/environ"]).stdout
            assert f"{level}=minor" in environ.split("\0")

    def test_a_host_may_have_another_patch_version_than_it_says(self, mixed: Cluster) -> None:
        """The exact one is only preferred, and what Ray runs in is made for the one that is there."""
        over: dict[str, Any] = {"python": {"version": "3.11.13", "match": "minor"}}
        mixed.declare(mixed.machines[:1], **over)
        mixed.declare(**over, workers={"h2": {"python": {"source": "/usr/bin/python3.11"}}})
        machine = mixed.machines[1]
        give_back(machine)
        told = mixed.check(code=2).differences()
        assert any(name == "h2" and what.startswith("environment 3.11.2-") for name, _, what, _, _ in told)
        proven = mixed.apply("--yes").proven()
        assert {name: proof["python"] for name, proof in proven.items()} == {"h1": "3.11.2", "h2": "3.11.2"}

    def test_it_goes_without_a_trace(self, mixed: Cluster) -> None:
        mixed.teardown("--purge")
        for machine in mixed.machines:
            assert ours(machine) == []
            assert "RAY_" not in machine.exec(["cat", "/etc/environment"]).stdout
