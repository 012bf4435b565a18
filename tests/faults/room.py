"""Three hosts with what their users had there before, what a run makes of them, and whether they are exactly that."""

from __future__ import annotations

import fcntl
import hashlib
import re
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.cluster import Cluster, ours, ray_pids
from tests.lab.command import Provision
from tests.lab.listing import Listing, changes, disk
from tests.lab.machines import Lab, Machine, in_parallel
from tests.lab.shell import LabError, LabTimeout, wait_until

from .disk import Disk
from .driver import HASTE, Controller, Said
from .kinds import PROGRAM
from .moments import Moment

CHEAP = """\
- play: Prepare
  hosts: all
  tasks:
    - name: Find Python
      python: {}
    - name: Set a variable
      variable: {name: EDITION, value: "{{ vars.edition }}"}
    - name: Greet
      file: {path: /etc/motd, content: "{{ host.name }}, {{ vars.edition }}\\n", mode: "0640", owner: kim}
    - name: Lay down much
      file: {path: /srv/users/ours/much, source: "much-{{ vars.edition }}", mode: "0600"}
    - name: Make something in two steps
      command:
        argv: [sh, -c, "mkdir -p /srv/made; echo begun > /srv/made/state; sleep 0.4; echo whole > /srv/made/state"]
        unless: [grep, -q, whole, /srv/made/state]
        undo: [sh, -c, "sleep 0.2; rm -rf /srv/made"]
    - name: Make a folder
      command: {argv: [mkdir, /srv/data], creates: /srv/data, undo: [rmdir, /srv/data]}
- play: Lead
  hosts: head
  needs: Prepare
  tasks:
    - name: Say who leads
      file: {path: /srv/leader, content: "{{ host.name }} leads\\n"}
- play: Follow
  hosts: workers
  needs: Lead
  tasks:
    - name: Follow the leader
      file: {path: /srv/users/follows, content: "{{ head.name }}, {{ vars.edition }}\\n"}
- play: Finish
  hosts: all
  needs: Follow
  tasks:
    - name: Take note
      command:
        argv: [sh, -c, "sleep 0.2; echo done > /srv/finishing && mv /srv/finishing /srv/finished"]
        creates: /srv/finished
        undo: [rm, -f, /srv/finishing, /srv/finished]
"""
"""A playbook that needs no Ray: cheap tasks of every kind, gates, something sent, something that takes its time."""
EDITIONS = ("first", "second")
MUCH = 2_000_000
"""Bytes of the file that is sent."""
USERS = {"/etc/motd": "the users' greeting\n", "/etc/environment": "USERS=own\n", "/srv/users/own": "precious\n"}
"""What was on every host before anything of ours."""
LEFTOVER = re.compile(r"\.part(\d+(-[0-9a-f]+)?)?$|\.work$|\.old$|\.aside$|\.tmp$")
"""Names of what is on its way to its place."""
VOLATILE = re.compile(
    r"/opt/provision/[^/]+/(lock$|ray(/|$)|log(/|$)|env/.|store/[0-9a-f]{64}(/[^.][^/]*)?$)|.*/__pycache__(/|$)"
    r"|/opt/provision/[^/]+/(service/.*|secrets/.*)$|/dev/shm(/|$)|/tmp(/|$)|/etc/(machine-id|resolv\.conf)$"
)
"""What differs from run to run: the lock's note, what Ray writes, tokens, packages (their hash is checked at each use).
What is on its way to its place is never overlooked."""


MARKER = re.compile(r"/opt/provision/[^/]+/marker\.json$")
"""What is ours there and what was there before: with Ray it names tokens and times."""


class Lost(AssertionError):
    """Something did not come to what it should be."""


@dataclass
class Room:
    """Hosts with small disks, under one inventory.

    Args:
        lab: where they are.
        folder: for inventories and what commands write.
        playbook: its text; None: the project's own, with Ray.
        size: of each host's disk, in MiB.
        purge: whether its teardowns leave no environment.
        haste: of its commands; see driver.py. Where Ray is, they are as patient as users' are.
    """

    lab: Lab
    provision: Provision
    folder: Path
    playbook: str | None = CHEAP
    size: int = 40
    purge: bool = True
    haste: float = HASTE
    edition: str = EDITIONS[0]
    machines: list[Machine] = field(default_factory=list)
    disks: list[Disk] = field(default_factory=list)
    listings: dict[str, list[Listing]] = field(default_factory=dict)
    """What was on the hosts after runs that nobody disturbed: by edition, "" when nothing of ours is there."""
    took: dict[str, float] = field(default_factory=dict)
    """Seconds of the slowest undisturbed run, by what was run."""
    _commands: int = 0

    # -- made and removed ----------------------------------------------------------------------------------------------

    def open(self, count: int = 3) -> None:
        """Boot fresh hosts, put the small disks in, and give them users with things of their own. Once more: the same
        anew."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with _OPENING:
            self.lab.down(self.machines)
            self.machines = self.lab.new(count)
        self.lab.up(self.machines)
        self.disks = [Disk(machine, self.size) for machine in self.machines]
        in_parallel(self._prepare, self.machines)
        self.cluster = Cluster(self.provision, self.folder / "lab.yml", self.machines)
        for edition in EDITIONS:
            self._file(f"much-{edition}").write_bytes(hashlib.sha256(edition.encode()).digest() * (MUCH // 32))
        if self.playbook:
            self._file("play.yml").write_text(self.playbook)
        self.declare(self.edition)

    def _prepare(self, machine: Machine) -> None:
        machine.power_cut()
        self.disks[self.machines.index(machine)].put_in()
        machine.boot()
        for path, text in USERS.items():
            machine.write(path, text)

    def close(self) -> None:
        self.lab.down(self.machines)

    def declare(self, edition: str) -> None:
        """Have the inventory want this edition."""
        self.edition = edition
        self.cluster.declare(vars={"edition": edition})

    # -- commands ------------------------------------------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        return [machine.name for machine in self.machines]

    def start(self, verb: str, stop: Moment | None = None) -> Controller:
        """Start a command; one with a moment to stop at soon gives up hosts that are silent."""
        self._commands += 1
        argv = [verb, str(self.cluster.inventory), "--json"]
        argv += ["--playbook", str(self._file("play.yml"))] if self.playbook else []
        argv += ["--yes"] if verb != "check" else []
        argv += ["--purge"] if verb == "teardown" and self.purge else []
        argv += ["--connect-timeout", "3", "--timeout", "60"] if stop else []
        env = {"PROVISION_CACHE": str(self.provision.cache)}
        return Controller(argv, self.names, self.folder / f"run{self._commands}", stop, env, self.haste)

    def do(self, verb: str, code: int = 0, limit: float = 240) -> Said:
        """Run a command to its end; Lost if that is another one than was wanted, or not said in sentences."""
        said = self.start(verb).end(limit)
        for word in ("Traceback", "unexpected", "report this"):
            if word in said.text:
                raise Lost(f"{verb}: {said.text[-1500:]}")
        if said.code != code:
            raise Lost(f"{verb}: {said}")
        return said

    # -- looking -------------------------------------------------------------------------------------------------------

    def remember(self, state: str) -> None:
        """Keep what is on the hosts now as what is to be there in this state."""
        self.listings[state] = [self.listing(number) for number in range(len(self.machines))]

    def listing(self, number: int) -> Listing:
        """What is on a host's disks, but for what differs from run to run."""
        machine = self.machines[number]
        everything = {**disk(machine.folder / "upper", self.lab.golden.root), **self.disks[number].listing()}
        return {path: one for path, one in everything.items() if self.must_be_the_same(path)}

    def must_be_the_same(self, path: str) -> bool:
        """Tell whether a file has to be as after a run that nobody disturbed."""
        if LEFTOVER.search(path):
            return True
        return not VOLATILE.match(path) and not (self.playbook is None and MARKER.match(path))

    def settle(self) -> None:
        """Raise Lost unless our programs have ended and nobody holds a lock."""
        for machine in self.machines:
            try:
                wait_until(lambda m=machine: not _working(m), f"our program on {machine.name} to end", 15)  # type: ignore[misc]
            except LabTimeout as error:
                raise Lost(str(error)) from None
            with suppress(FileNotFoundError), (self._inside(machine, f"{self.cluster.root}/lock")).open("rb") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    raise Lost(f"the lock on {machine.name} is still held") from None

    def compare(self, state: str) -> None:
        """Raise Lost unless the hosts' disks hold exactly what they held before in this state."""
        found = [
            f"{name}: {line}"
            for number, name in enumerate(self.names)
            for line in changes(self.listings[state][number], self.listing(number))
        ]
        if found:
            raise Lost("not as after a run that nobody disturbed: " + "; ".join(found[:12]))

    def require_applied(self) -> None:
        """Raise Lost unless every host is what was declared, and works."""
        self.do("check")
        self.settle()
        for number, machine in enumerate(self.machines):
            for path, text in self._wanted(number).items():
                self._require(machine, path, text)
        if self.playbook is None:
            self._require_ray()

    def require_bare(self) -> None:
        """Raise Lost unless nothing of ours is left, and all is there that was there before."""
        self.settle()
        for machine in self.machines:
            for path, text in USERS.items():
                self._require(machine, path, text)
            if left := [process.command for process in ours(machine)]:
                raise Lost(f"still runs on {machine.name}: {left[0]}")

    def _wanted(self, number: int) -> Mapping[str, str]:
        """Return what the files of a host must hold."""
        if self.playbook is None:
            return {path: text for path, text in USERS.items() if path != "/etc/environment"}
        much = self._file(f"much-{self.edition}").read_text(encoding="latin-1")
        found = {
            "/srv/users/own": USERS["/srv/users/own"],
            "/etc/motd": f"{self.names[number]}, {self.edition}\n",
            "/etc/environment": f'{USERS["/etc/environment"]}EDITION="{self.edition}"\n',
            "/srv/users/ours/much": much,
            "/srv/made/state": "whole\n",
            "/srv/finished": "done\n",
        }
        if number == 0:
            return {**found, "/srv/leader": f"{self.names[0]} leads\n"}
        return {**found, "/srv/users/follows": f"{self.names[0]}, {self.edition}\n"}

    def _require(self, machine: Machine, path: str, text: str) -> None:
        file = self._inside(machine, path)
        if not file.exists():
            raise Lost(f"{path} is gone from {machine.name}")
        if file.read_text(encoding="latin-1") != text:
            raise Lost(f"{path} on {machine.name} is not what it should be")

    def _require_ray(self) -> None:
        """Every node in the cluster once, by one raylet, with the configuration that was declared."""
        try:
            self.cluster.wait_alive(*self.names, limit=30)
        except LabError as error:
            raise Lost(f"{error}: {self.cluster.alive()}") from None
        for machine in self.machines:
            count = list(ray_pids(machine).values()).count("raylet")
            if count != 1:
                raise Lost(f"{machine.name} has {count} raylets")

    def _inside(self, machine: Machine, path: str) -> Path:
        return machine.folder / "root" / path.lstrip("/")

    def _file(self, name: str) -> Path:
        return self.folder / name

    # -- what an undisturbed run is ------------------------------------------------------------------------------------

    def record(self) -> dict[str, list[Moment]]:
        """Run everything once without a fault; returns the moments of each kind of run, and remembers what was made."""
        found: dict[str, list[Moment]] = {}
        if not self.purge:  # what is kept is there from now on
            self._recorded("apply")
            self._recorded("teardown")
        self.remember("")
        for edition in EDITIONS if self.playbook else EDITIONS[:1]:
            self.declare(edition)
            found["change" if "apply" in found else "apply"] = self._recorded("apply")
            self.require_applied()
            self.remember(edition)
        found["teardown"] = self._recorded("teardown")
        self.require_bare()
        self.compare("")
        return found

    def _recorded(self, verb: str) -> list[Moment]:
        begun = time.monotonic()
        controller = self.start(verb)
        said = controller.end(240)
        self.took[verb] = max(time.monotonic() - begun, self.took.get(verb, 0.0))
        if said.code:
            raise Lost(f"undisturbed {verb}: {said}")
        return controller.moments()


_OPENING = threading.Lock()


def _working(machine: Machine) -> bool:
    return any(PROGRAM in process.command for process in machine.processes())
