"""Interpreters and packages that are on their way when something breaks: what is half is never used, and a run later
everything is there.

The hosts' links are slow, so that every stage lasts; each attempt gets a little further before it is broken off.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.interpreters import mirror, relocatable

from .cluster import Cluster
from .command import Provision
from .conftest import MachineFactory
from .machines import Machine
from .shell import wait_until

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
HALF = """\
ls -d /root/.provision/python/*.part /root/.provision/python/*.work /opt/provision/lab/store/*/.part \\
  /opt/provision/lab/python/*.work /opt/provision/lab/env/*.work 2>/dev/null | sed 's|/[0-9a-f]\\{64\\}/|/*/|'
true
"""
"""Prints what lies there half done."""


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


def kill(cluster: Cluster, seconds: float) -> bool:
    """Kill the controller's program after so many seconds."""
    running = cluster.start("apply", "--playbook", str(cluster.inventory.with_name("prepare.yml")))
    time.sleep(seconds)
    running.signal(signal.SIGKILL)
    return running.wait(20).code == 0


def cut(cluster: Cluster, seconds: float) -> bool:
    """Pull the cable of both hosts after so many seconds, end the program, and plug them in again."""
    running = cluster.start("apply", "--playbook", str(cluster.inventory.with_name("prepare.yml")))
    time.sleep(seconds)
    for machine in cluster.machines:
        machine.cut()
    running.signal(signal.SIGINT)
    code = running.wait(60).code
    for machine in cluster.machines:
        machine.uncut()
    return code == 0


def program_ended(machine: Machine) -> bool:
    return not any(".provision/program" in process.command for process in machine.processes())


@pytest.mark.parametrize("break_off", [kill, cut])
def test_broken_off_at_every_stage(cluster: Cluster, break_off: Callable[[Cluster, float], bool]) -> None:
    prepare = ("--playbook", str(cluster.inventory.with_name("prepare.yml")))
    seen: set[str] = set()
    for attempt in range(40):
        if break_off(cluster, 1.0 + 0.3 * attempt):
            break
        for machine in cluster.machines:
            seen.update(machine.exec(["sh", "-c", HALF]).stdout.split())
            # one that has lost its controller without a word gives up after 90 s; a new run must not have to wait
            assert machine.exec(["sh", "-c", LOOK], timeout=60).stdout == ""
    else:
        pytest.fail("it never came to an end")
    stages = ("/root/.provision/python/", "/lab/store/", "/lab/python/", "/lab/env/")
    assert [stage for stage in stages if not any(stage in name for name in seen)] == []
    assert cluster.apply(*prepare).changed() == []
    assert cluster.check(*prepare).differences() == []
    for machine in cluster.machines:
        wait_until(partial(program_ended, machine), "the programs on the host to end", 100)
        assert machine.exec(["sh", "-c", HALF]).stdout == ""
        assert machine.exec(["sh", "-c", LOOK], timeout=60).stdout == ""
