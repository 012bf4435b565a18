"""From bare hosts to a proven cluster, against by_hand.py: ``python -m tests.bench.cold [PAIRS]``.

Both send the same wheels from the same warm cache to new hosts, one head and two workers, and end when a task has run
on every node. Before each run the kernel forgets what it holds of files, and the wheels are read once.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from provisioner.artifacts import Artifacts
from provisioner.remote import prove
from tests.lab.machines import Lab

from .measure import Comparison, Cost, cost_of
from .rooms import Room, forget_files, prepared_lab, room

PAIRS = 3
HOSTS = 3
LIMIT = 1.2
PYTHON = "3.11.2"
REQUIREMENTS = ("ray[default]==2.60.0", "redis")


def main(arguments: list[str]) -> None:
    """Measure and print."""
    result = Comparison("cold: a head and two workers, from bare hosts to a task on every node")
    with tempfile.TemporaryDirectory(prefix="provision-bench-") as folder, prepared_lab() as lab:
        bundle = _bundle(Path(folder))
        for _ in range(int(arguments[0]) if arguments else PAIRS):
            result.round(
                {
                    "by hand": lambda: _on_bare_hosts(lab, bundle, by_hand=True),
                    "provision apply": lambda: _on_bare_hosts(lab, bundle, by_hand=False),
                }
            )
    print(result.table(), result.verdict("provision apply", "wall", LIMIT), sep="\n", flush=True)


def _on_bare_hosts(lab: Lab, bundle: Path, by_hand: bool) -> Cost:
    forget_files()
    with room(lab, HOSTS) as hosts:
        for file in bundle.iterdir():
            file.read_bytes()
        return _by_hand(hosts, bundle) if by_hand else hosts.provision("apply")


def _by_hand(hosts: Room, bundle: Path) -> Cost:
    key, known = hosts.machines[0].lab.golden.key, hosts.inventory.with_name("known_hosts")
    addresses = [machine.ip for machine in hosts.machines]
    return cost_of([sys.executable, "-m", "tests.bench.by_hand", key, known, bundle, *addresses])


def _bundle(folder: Path) -> Path:
    """Lay out what the script sends: the very files that `provision` has in its cache."""
    artifacts = Artifacts()
    facts = {"os": "linux", "arch": "x86_64", "libc": "glibc", "libc_version": "2.36"}
    lock = artifacts.lock(facts, PYTHON, REQUIREMENTS)
    for each in lock.wheels:
        (folder / each.filename).symlink_to(artifacts.path(each.sha256))
    (folder / "requirements.txt").write_text(lock.requirements, encoding="utf-8")
    shutil.copy(prove.__file__, folder / "prove.py")
    with zipfile.ZipFile(artifacts.path(lock.uv.sha256)) as wheel:
        program = next(name for name in wheel.namelist() if name.endswith("/scripts/uv"))
        (folder / "uv").write_bytes(wheel.read(program))
    (folder / "uv").chmod(0o755)
    return folder


if __name__ == "__main__":
    main(sys.argv[1:])
