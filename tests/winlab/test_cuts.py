"""The connection is cut in the middle of every step and the next run goes on: all is as declared in the end, or gone.

What a run goes through before the program is on the host, and how that is cut, is in test_contact.py.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..lab.cluster import Cluster
from ..lab.command import Provision
from ..lab.listing import Listing, changes
from .fixtures import StandInFactory
from .playbooks import PREPARE, TIDY_UP
from .stand_in import StandIn
from .steps import Steps

PYTHON = r"C:\provision\lab\python\3.11.9\python.exe"
UNFINISHED = (".part", ".work", ".old", ".adopted")
"""What names of things have in them that are only there while something is made."""
KNOCK = "- {play: Knock, hosts: all, tasks: [{name: Nothing, command: {argv: [cmd], creates: 'C:\\Windows'}}]}\n"
"""Changes nothing, but has the program and its interpreter brought."""
PLAYBOOK = (
    PREPARE
    + r"""
    - name: Variable
      variable: {name: CUT, value: "%s"}
    - name: Firewall
      firewall: {}
    - name: Theirs
      file: {path: 'C:\data\theirs.txt', content: "%s"}
    - name: Ours
      file: {path: 'C:\data\sub\ours.txt', content: "%s", mode: "0600"}
    - name: Command
      command:
        argv: [cmd, /c, mkdir, 'C:\data\%s']
        creates: 'C:\data\%s'
        undo: [cmd, /c, rmdir, 'C:\data\%s']
"""
    + TIDY_UP
)
NODE = (
    PREPARE
    + r"""
- play: Run
  hosts: head
  tasks:
    - name: Head
      ray_head: {}
    - name: Members
      members: {}
    - name: Proof
      ray_proof: {}
      when: {changed: true}
"""
)


def small_ray(folder: Path, release: str) -> None:
    """Write a wheel that passes for Ray: what is installed is of no matter here, and the real one has 4000 files."""
    about, version = f"ray-{release}+small.dist-info", f"{release}+small"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"ray-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in {
            "ray/__init__.py": f"__version__ = {release!r}\n",
            f"{about}/METADATA": f"Metadata-Version: 2.1\nName: ray\nVersion: {version}\nProvides-Extra: default\n",
            f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{about}/RECORD": "",
        }.items():
            wheel.writestr(zipfile.ZipInfo(path), text)


class Place:
    """A stand-in that the program was brought to, and a cluster of it alone."""

    def __init__(self, provision: Provision, folder: Path, stand_in: StandIn) -> None:
        self.stand_in, self._folder = stand_in, folder
        self.cluster = Cluster(provision, folder / "lab.yml", [stand_in], python=PYTHON)
        stand_in.write(r"C:\data\theirs.txt", "theirs")
        self.before: Listing = stand_in.listing()
        self.declare()
        self.cluster.apply(*self.flags(KNOCK))
        self.steps = Steps(stand_in)

    def declare(self, **over: Any) -> None:
        self.cluster.declare(**self.stand_in.declared, **over)

    def declare_small(self, release: str) -> None:
        for each in ("2.59.0", "2.60.0"):
            small_ray(self._folder / "wheels", each)
        self.declare(ray={"version": release}, artifacts={"find_links": [str(self._folder / "wheels")]}, keep=0)

    def flags(self, playbook: str) -> list[str]:
        (self._folder / "playbook.yml").write_text(playbook, encoding="utf-8")
        return ["--playbook", str(self._folder / "playbook.yml")]

    def unfinished(self) -> list[str]:
        """Return what half done things there are, and what was needed to make others."""
        folders = [self.stand_in.drive / "provision", self.stand_in.path(rf"{self.stand_in.home}\.provision")]
        found = [path for folder in folders for path in folder.rglob("*")]
        return [str(path) for path in found if any(sign in path.name for sign in UNFINISHED)]


@pytest.fixture
def place(provision: Provision, tmp_path: Path, stand_ins: StandInFactory) -> Callable[[], Place]:
    return lambda: Place(provision, tmp_path, stand_ins(1, python=False)[0])


def assert_settled(place: Place, *flags: str) -> None:
    """What the last run has left is what was declared, and there is nothing beside it."""
    again = place.cluster.apply(*flags)
    assert (again.changed(), again.differences()) == ([], [])
    assert place.unfinished() == []


def assert_gone(place: Place, *flags: str) -> None:
    place.steps.through(place.cluster, "teardown", "--purge", *flags)
    assert changes(place.before, place.stand_in.listing()) == []


@pytest.mark.timeout(1800)
def test_what_lasts(place: Callable[[], Place]) -> None:
    """Interpreter, environment, variable, rules, files, a command: made, changed and what is old removed, undone."""
    here = place()
    for release in ("2.59.0", "2.60.0"):
        here.declare_small(release)
        flags = here.flags(PLAYBOOK.replace("%s", release))
        here.steps.through(here.cluster, "apply", *flags)
        assert_settled(here, *flags)
        (environment,) = (here.stand_in.drive / "provision/lab/env").iterdir()
        assert here.stand_in.read(r"C:\data\theirs.txt") == here.stand_in.read(r"C:\data\sub\ours.txt") == release
        assert sorted(path.name for path in (here.stand_in.drive / "data").iterdir()) == [release, "sub", "theirs.txt"]
        programs = {rule["App"][0] for rule in here.stand_in.firewall()}
        assert {path.rpartition("\\")[2] for path in programs} == {"python.exe", "raylet.exe", "gcs_server.exe"}
        assert environment.name in {path.split("\\")[4] for path in programs if "\\env\\" in path}
    assert_gone(here, *flags)
    print(f"cut at {len(here.steps.cut)} steps")


@pytest.mark.timeout(1800)
def test_a_node(place: Callable[[], Place]) -> None:
    """A real head: its task, its start, who belongs to it, the proof; and the end of it."""
    here = place()
    here.declare(head={here.stand_in.name: {"address": here.stand_in.ip, "ray": {"num_cpus": 1}}})
    here.cluster.apply("--yes", *here.flags(PREPARE))
    flags = here.flags(NODE)
    here.steps.through(here.cluster, "apply", *flags)
    assert_settled(here, *flags)
    assert here.cluster.alive() == [here.stand_in.name]
    programs = [process.command.partition(".exe")[0].rpartition("\\")[2] for process in here.stand_in.processes()]
    assert (programs.count("raylet"), programs.count("gcs_server")) == (1, 1)
    assert_gone(here, *flags)
    print(f"cut at {len(here.steps.cut)} steps")
