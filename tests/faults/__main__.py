"""``make faults``: the whole suite, or as much of it as is wanted; goes on where it was ended. See the package."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.lab.command import Provision
from tests.lab.golden import lab_home
from tests.lab.machines import Lab

from .cases import Case, all_cases, in_order, spread
from .journal import Journal, table
from .lane import Lane
from .room import CHEAP, Room

CONCERNS = {
    "cheap": re.compile(""),
    "ray": re.compile(r"Ray|node|proven|members"),
    "environment": re.compile(r"Install|packages|environment|trying"),
}
"""What is told at the moments that are of interest in a room."""
RAY_DISK = 2000
"""MiB: an environment with Ray, the packages it came from, and Ray's logs."""


def main() -> int:
    wanted = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the hosts are taken down, as after Ctrl-C
    journal = Journal(wanted.state, lambda line: print(line, flush=True))
    lab = Lab.prepare()
    try:
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            until = time.monotonic() + wanted.minutes * 60
            _carry_out(lab, Path(folder), journal, wanted, until)
    finally:
        journal.close()
        lab.close()
    print(f"\n{table(journal.outcomes.values())}\n\nas JSON, with every case: {wanted.state}")
    lost = [each for each in journal.outcomes.values() if not each.converged]
    for each in lost:
        print(f"\n{each.case}\n  {each.why}")
    return 1 if lost else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--most", type=int, default=10**6, help="cases without Ray, spread over all moments (all)")
    parser.add_argument("--ray", type=int, default=24, help="cases with real Ray (24)")
    parser.add_argument("--environment", type=int, default=8, help="cases with its installation (8)")
    parser.add_argument("--lanes", type=int, default=2, help="rooms without Ray that work side by side (2)")
    parser.add_argument("--minutes", type=float, default=10**6, help="begin nothing more after so many minutes")
    parser.add_argument("--only", default="", help="only cases whose name has this in it")
    parser.add_argument("--state", type=Path, default=lab_home() / "faults.json", help="what was done (%(default)s)")
    return parser.parse_args()


def _carry_out(lab: Lab, folder: Path, journal: Journal, wanted: argparse.Namespace, until: float) -> None:
    """Have every lane work through its share, in a thread of its own: rooms without Ray, and those with it in turn."""
    failed: list[BaseException] = []

    def work(shares: list[tuple[str, int, int, int]]) -> None:
        for kind, most, number, of in shares:
            room = _room(lab, folder / f"{kind}{number}", kind)
            try:
                room.open()
                found = all_cases(kind, room.record())
                cases = [each for each in chosen(kind, found, most) if wanted.only in str(each)][number::of]
                left = [case for case in cases if not journal.is_done(case)]
                told = f"{len(left)} of {len(cases)} cases to do, of {len(found)} that there are"
                print(f"{kind} room {number + 1}: {told}", flush=True)
                Lane(room, journal).work(in_order(left), until)
            except BaseException as error:
                print(f"{kind} room {number + 1} gave up: {error}", file=sys.stderr, flush=True)
                failed.append(error)
            finally:
                room.close()

    lanes = [[("cheap", wanted.most, number, wanted.lanes)] for number in range(wanted.lanes) if wanted.most]
    with_ray = [("ray", wanted.ray, 0, 1), ("environment", wanted.environment, 0, 1)]
    lanes.append([each for each in with_ray if each[1]])
    threads = [threading.Thread(target=work, args=(shares,)) for shares in lanes if shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def chosen(kind: str, cases: list[Case], most: int) -> list[Case]:
    """Return the sample of a room's cases: only those at moments for which it is there."""
    return spread([case for case in cases if CONCERNS[kind].search(case.moment.what)], most)


def _room(lab: Lab, folder: Path, kind: str) -> Room:
    provision = Provision(cache=Path(os.environ.get("PROVISION_CACHE") or lab.home / "cache"))
    if kind == "cheap":
        return Room(lab, provision, folder, CHEAP)
    return Room(lab, provision, folder, None, RAY_DISK, purge=kind == "environment", haste=1.0)


if __name__ == "__main__":
    sys.exit(main())
