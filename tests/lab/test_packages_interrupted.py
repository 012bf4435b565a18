"""Interpreters and packages that are on their way when something breaks: what is half is never used, and a run later
everything is there.

The hosts' links are slow, so that arriving lasts. Each attempt is broken off when the next stage is seen on a disk.
"""

from __future__ import annotations

import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.interpreters import mirror, relocatable

from .cluster import Cluster
from .command import Provision, Running
from .conftest import MachineFactory
from .machines import Machine
from .shell import LabTimeout, wait_until

PLAYBOOK = """\
- play: Prepare every host
  hosts: all
  tasks:
    - name: Bring the interpreter
      python: {}
    - name: Install Ray
      environment: {}
"""
LOOK = """\
cd /opt/provision/lab 2>/dev/null || exit 0
find store -type f ! -name '.*' 2>/dev/null | while read -r file; do
  want=${file#store/}; want=${want%%/*}
  echo "$want  $file" | sha256sum --quiet -c - >&2 || echo "damaged: $file"
done
for stamp in python/*/provision.json; do
  [ -e "$stamp" ] && { "${stamp%/*}"/bin/python3 -I -c 'import ssl, sqlite3, ctypes' || echo "broken: $stamp"; }
done
for stamp in env/*/environment.json; do
  [ -e "$stamp" ] && { "${stamp%/*}"/bin/python -I -c 'import ray, redis' || echo "broken: $stamp"; }
done
true
"""
"""Prints what is damaged of all that counts as whole."""
STAGES = (
    "root/.provision/python/*.part",
    "root/.provision/python/*.work",
    "opt/provision/lab/store/*/.part",
    "opt/provision/lab/python/*.work",
    "opt/provision/lab/env/*.work",
)
"""What lies half done on a host's disk, in the order in which a bare host gets there."""
TRIES = 3
"""How often a stage is broken off until the host was in it: one may end while the cable is being pulled."""


@pytest.fixture
def cluster(machines: MachineFactory, provision: Provision, tmp_path: Path) -> Iterator[Cluster]:
    """A host with Python and a bare one without, at 60 Mbit/s each."""
    made = Cluster(provision, tmp_path / "lab.yml", machines(2))
    pythons = mirror(tmp_path / "pythons", [relocatable()])
    made.declare(python={"version": relocatable().version, "source": "managed", "mirror": pythons})
    (tmp_path / "prepare.yml").write_text(PLAYBOOK)
    made.machines[1].exec(["sh", "-c", "rm -f /usr/bin/python3*"])
    for machine in made.machines:
        machine.throttle(60)
    yield made
    for machine in made.machines:
        machine.uncut()


def half(machine: Machine, stage: str, since: float = 0) -> set[str]:
    """Return what is half done on a disk and has been worked on since that time (as of `time.time`)."""
    found = set()
    for path in (machine.folder / "root").glob(stage):
        with suppress(FileNotFoundError):
            if path.lstat().st_mtime > since:
                found.add(re.sub("[0-9a-f]{64}", "*", str(path.relative_to(machine.folder / "root"))))
    return found


def whole(machine: Machine, stage: str) -> list[Path]:
    """Return what has come out of a stage: a program that lost its controller in the stage before may have gone on."""
    made = (machine.folder / "root").glob(stage.removesuffix(".work"))
    return [path for path in made if stage.endswith(".work") and not path.name.endswith((".work", ".part"))]


def undo(machines: Sequence[Machine], stage: str) -> None:
    """Have every host pass through a stage once more."""
    for path in (path for machine in machines for path in whole(machine, stage)):
        shutil.rmtree(path)


def kill(cluster: Cluster, running: Running) -> None:
    """Kill the controller's program."""
    running.signal(signal.SIGKILL)


def cut(cluster: Cluster, running: Running) -> None:
    """Pull the cable of both hosts."""
    for machine in cluster.machines:
        machine.cut()


def broken_off_at(cluster: Cluster, stage: str, break_off: Callable[[Cluster, Running], None]) -> bool:
    """Break a run off while a host is at this stage; then end what is left of the program, and plug the cables in.

    Returns:
        whether the host was still at that stage when the run was broken off.
    """
    if all(whole(machine, stage) for machine in cluster.machines):
        undo(cluster.machines, stage)
    started = time.time()
    running = cluster.start("apply", "--playbook", str(cluster.inventory.with_name("prepare.yml")))
    try:
        seen = wait_until(
            lambda: _seen(cluster, stage, started) or running.ended, f"{stage} on a host", 60, pause=0.002
        )
        assert seen is not True, f"it ended without {stage}"
        break_off(cluster, running)
        in_time = bool(_seen(cluster, stage, started))
    except (AssertionError, LabTimeout) as error:
        raise AssertionError(f"{error}; it wrote:\n{running.out}\n{running.err}") from error
    finally:
        with suppress(ProcessLookupError):
            running.signal(signal.SIGINT)
        code = running.wait(120).code
        for machine in cluster.machines:
            machine.uncut()
    assert code != 0
    return in_time


def _seen(cluster: Cluster, stage: str, since: float) -> set[str]:
    return {found for machine in cluster.machines for found in half(machine, stage, since)}


def program_ended(machine: Machine) -> bool:
    return not any(".provision/program" in process.command for process in machine.processes())


def nothing_damaged(machines: Sequence[Machine]) -> None:
    for machine in machines:
        assert machine.exec(["sh", "-c", LOOK], timeout=60).stdout == ""


@pytest.mark.parametrize("break_off", [kill, cut])
def test_broken_off_at_every_stage(cluster: Cluster, break_off: Callable[[Cluster, Running], None]) -> None:
    prepare = ("--playbook", str(cluster.inventory.with_name("prepare.yml")))
    for stage in STAGES:
        # a program that has lost its controller without a word gives up after 90 s; a new run must not have to wait
        assert any(broken_off_at(cluster, stage, break_off) for _ in range(TRIES)), f"{stage} was over too soon"
        nothing_damaged(cluster.machines)
    cluster.apply(*prepare)
    assert cluster.check(*prepare).differences() == []
    for machine in cluster.machines:
        wait_until(partial(program_ended, machine), "the programs on the host to end", 100)
        assert [stage for stage in STAGES if half(machine, stage)] == []
    nothing_damaged(cluster.machines)
