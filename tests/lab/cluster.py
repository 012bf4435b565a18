"""A cluster under test: an inventory, its machines, and the command line; what Ray itself says about its nodes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .command import Provision, Result, Running
from .inventories import write_inventory
from .machines import Machine, Process
from .shell import LabError, wait_until

Json = dict[str, Any]
NODES = "/api/v0/nodes?limit=10000&detail=true"
ASK = """\
import glob, sys, urllib.request as u
roots = ("/opt/provision/*", "C:/provision/*", "/home/*/.provision/clusters/*", "/root/*", "/srv/*")
tokens = [open(path).read() for root in roots for path in glob.glob(root + "/service/token")]
for token in tokens + [""]:
    try:
        headers = {"Authorization": "Bearer " + token} if token else {}
        sys.stdout.write(u.urlopen(u.Request(sys.argv[1], headers=headers), timeout=3).read().decode())
        break
    except u.HTTPError as error:
        if error.code not in (401, 403):
            raise
"""
"""Asks Ray on a head, with the token of a cluster there if it wants one."""
RAY_PROCESSES = ("raylet", "gcs_server", "ray::DashboardAgent", "ray::RuntimeEnvAgent")


@dataclass(frozen=True)
class Answer:
    """What a run said: its exit code and its JSON document."""

    code: int
    document: Json
    result: Result

    def host(self, name: str) -> Json:
        """Return a host's part of the document."""
        part: Json = self.document["hosts"][name]
        return part

    def status(self) -> dict[str, str]:
        """Return the word for how it ended, by host."""
        return {name: host["status"] for name, host in self.document["hosts"].items()}

    def said(self, name: str) -> str:
        """Return why a host failed and what to do, in one text."""
        host = self.host(name)
        return f"{host['message']} -> {host['remedy']}"

    def differences(self) -> list[tuple[str, str, str, str, str]]:
        """Return every difference as (host, action, what, before, after)."""
        return [
            (name, each["action"], each["what"], each["before"], each["after"])
            for name, host in self.document["hosts"].items()
            for each in host["differences"]
        ]

    def changed(self) -> list[tuple[str, str]]:
        """Return (host, task) for every task that changed something."""
        return [
            (name, task["task"])
            for name, host in self.document["hosts"].items()
            for task in host["tasks"]
            if task["status"] == "changed"
        ]

    def proven(self) -> dict[str, Json]:
        """Return where the task ran, by host."""
        return {name: host["proven"] for name, host in self.document["hosts"].items() if host["proven"]}


@dataclass
class Cluster:
    """Machines with one inventory; the first machine is the head."""

    provision: Provision
    inventory: Path
    machines: Sequence[Machine]
    name: str = "lab"
    port: int = 8265
    env: Mapping[str, str] | None = None
    python: str = "python3"
    """An interpreter on the head, to ask Ray with."""

    @property
    def head(self) -> Machine:
        return self.machines[0]

    @property
    def root(self) -> str:
        return f"/opt/provision/{self.name}"

    def declare(self, machines: Sequence[Machine] | None = None, **over: Any) -> None:
        """Write the inventory, of fewer machines or with other values if given; all machines' keys stay known."""
        known = write_inventory(self.inventory, self.name, list(self.machines)).with_name("known_hosts").read_text()
        write_inventory(self.inventory, self.name, list(machines or self.machines), **over)
        self.inventory.with_name("known_hosts").write_text(known)

    def apply(self, *flags: str, code: int | None = 0) -> Answer:
        return self.run("apply", *flags, code=code)

    def check(self, *flags: str, code: int | None = 0) -> Answer:
        return self.run("check", *flags, code=code)

    def teardown(self, *flags: str, code: int | None = 0) -> Answer:
        return self.run("teardown", "--yes", *flags, code=code)

    def run(self, verb: str, *flags: str, code: int | None = 0) -> Answer:
        """Run a command to its end and demand its exit code (None: any)."""
        return self.answer(self.start(verb, *flags).wait(280), code)

    def start(self, verb: str, *flags: str) -> Running:
        return self.provision.start(verb, self.inventory, "--json", *flags, env=self.env)

    def answer(self, result: Result, code: int | None = 0) -> Answer:
        """Return what a finished command said; a traceback or another exit code fails the test."""
        everything = f"{result.out}\n{result.err}"
        assert "Traceback" not in everything, everything
        assert "unexpected" not in everything, everything
        assert code is None or result.code == code, everything
        document = json.loads(result.out) if result.out.startswith("{") else {"hosts": {}}
        return Answer(result.code, document, result)

    def nodes(self) -> list[Json]:
        """Return Ray's own list of living nodes, asked on the head; none if no dashboard answers."""
        said = self.head.exec([self.python, "-c", ASK, f"http://127.0.0.1:{self.port}{NODES}"], check=False)
        if said.returncode != 0:
            return []
        rows: list[Json] = json.loads(said.stdout)["data"]["result"]["result"]
        return [row for row in rows if row["state"] == "ALIVE"]

    def alive(self) -> list[str]:
        """Return the inventory names of the living nodes, from their labels; twice if there twice."""
        return sorted(row["labels"].get("provision/host", "?") for row in self.nodes())

    def wait_alive(self, *names: str, limit: float = 90) -> None:
        """Wait until exactly these hosts have a living node."""
        wait_until(lambda: self._settled(sorted(names)), f"{names} to be alive", limit, pause=0.3)

    def _settled(self, names: list[str]) -> bool:
        try:
            return self.alive() == names
        except (LabError, ValueError, KeyError):  # the head is rebooting, or its dashboard starting
            return False


def ray_pids(machine: Machine) -> dict[int, str]:
    """Return Ray's lasting processes on a machine: pid -> name."""
    names = {process.pid: process.command.split()[0].rpartition("/")[2] for process in machine.processes()}
    return {pid: name for pid, name in names.items() if name in RAY_PROCESSES}


def raylet(machine: Machine) -> int:
    """Return the pid of the one raylet."""
    (pid,) = (pid for pid, name in ray_pids(machine).items() if name == "raylet")
    return pid


def undisturbed(machines: Sequence[Machine]) -> dict[str, dict[int, str]]:
    """Return Ray's pids by machine, to compare before and after; every machine must have a node."""
    found = {machine.name: ray_pids(machine) for machine in machines}
    assert all("raylet" in pids.values() for pids in found.values()), found
    return found


def ours(machine: Machine) -> list[Process]:
    """Return every process that was started from an environment of ours, or is our program."""
    signs = ("/opt/provision/", ".provision/", "ray::", "/srv/ours/")
    return [process for process in machine.processes() if any(sign in process.command for sign in signs)]


def contacts(machines: Sequence[Machine], act: Callable[[], object]) -> dict[str, tuple[int, int]]:
    """Return (connections, commands) that sshd saw on each machine while ``act`` ran."""
    before = {machine.name: machine.sshd_log() for machine in machines}
    act()
    seen = {machine.name: machine.sshd_log().since(before[machine.name]) for machine in machines}
    return {name: (log.connections, len(log.sessions)) for name, log in seen.items()}
