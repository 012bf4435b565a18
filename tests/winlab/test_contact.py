"""A Windows machine without any Python, from the first contact to the last trace: in both shells, in two languages."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..lab.cluster import Cluster, contacts
from ..lab.command import Provision
from ..lab.listing import Listing, changes
from ..lab.shell import wait_until
from .fixtures import StandInFactory
from .playbooks import PREPARE, TIDY_UP
from .stand_in import StandIn

KOREAN_USER = "김철수"
ROOT = r"C:\provision\lab"
PLAYBOOK = (
    PREPARE
    + r"""
    - name: A file
      file: {path: 'C:\data\sub\hello.txt', content: "one\n둘\n", mode: "0600"}
    - name: A command
      command:
        argv: [cmd, /c, mkdir, 'C:\data\made']
        creates: 'C:\data\made'
        undo: [cmd, /c, rmdir, 'C:\data\made']
"""
    + TIDY_UP
)
TRY = "import sys, ray, redis; print(ray.__version__, sys.prefix)"


class Place:
    """One bare stand-in with an inventory and a playbook."""

    def __init__(self, provision: Provision, folder: Path, stand_in: StandIn) -> None:
        self.stand_in = stand_in
        self.playbook = folder / "playbook.yml"
        self.playbook.write_text(PLAYBOOK, encoding="utf-8")
        self.cluster = Cluster(provision, folder / "lab.yml", [stand_in])
        self.before: Listing = stand_in.listing()
        self.declare()

    def declare(self, **over: Any) -> None:
        self.cluster.declare(**{**self.stand_in.declared, **over})

    @property
    def flags(self) -> list[str]:
        return ["--playbook", str(self.playbook)]

    def home(self, *parts: str) -> Path:
        return self.stand_in.path("\\".join([self.stand_in.home, ".provision", *parts]))

    def root(self, *parts: str) -> Path:
        return self.stand_in.path("\\".join([ROOT, *parts]))


Make = Callable[..., Place]


@pytest.fixture
def place(provision: Provision, tmp_path: Path, stand_ins: StandInFactory) -> Make:
    """``place(shell="powershell")``: a bare stand-in of that kind."""

    def make(**options: Any) -> Place:
        (stand_in,) = stand_ins(1, python=False, **options)
        return Place(provision, tmp_path, stand_in)

    return make


def assert_as_declared(place: Place) -> None:
    """Everything is there, works, and is found again by one connection with one command."""
    assert place.stand_in.read(r"C:\data\sub\hello.txt") == "one\n둘\n"
    (environment,) = place.root("env").iterdir()
    python = rf"{ROOT}\env\{environment.name}\Scripts\python.exe"
    said = place.stand_in.exec([python, "-I", "-c", TRY], timeout=120).stdout
    assert said.split() == ["2.60.0", rf"{ROOT}\env\{environment.name}"]
    seen = contacts([place.stand_in], lambda: place.cluster.apply(*place.flags))
    assert seen == {place.stand_in.name: (1, 1)}
    assert place.cluster.check(*place.flags).differences() == []


def allowed(place: Place) -> set[str]:
    """Return who may do what with the root, as icacls tells it."""
    said = place.stand_in.exec(["icacls", ROOT]).stdout.replace(ROOT, "")
    return {line.strip() for line in said.splitlines() if ":(" in line}


def assert_gone(place: Place) -> None:
    """A teardown leaves the machine as it was."""
    place.cluster.teardown("--purge", *place.flags)
    assert changes(place.before, place.stand_in.listing()) == []


@pytest.mark.parametrize(
    "options",
    [{"shell": "cmd", "codepage": 437}, {"shell": "powershell", "codepage": 949, "user": KOREAN_USER}],
    ids=["cmd", "powershell-korean"],
)
def test_from_a_bare_machine_and_back(place: Make, options: dict[str, Any]) -> None:
    here = place(**options)
    applied = here.cluster.apply("--yes", *here.flags)
    assert [task for _, task in applied.changed()] == ["Python", "Packages", "A file", "A command"]
    account = f"{here.stand_in.name.upper()}\\{here.stand_in.user}"
    all_of_them = {r"BUILTIN\Administrators:(OI)(CI)(F)", r"NT AUTHORITY\SYSTEM:(OI)(CI)(F)"}
    assert allowed(here) == all_of_them | {"OWNER RIGHTS:(OI)(CI)(RX)", f"{account}:(OI)(CI)(RX)"}
    assert_as_declared(here)
    assert_gone(here)


def stages(place: Place) -> dict[str, Callable[[], bool]]:
    """What can be seen of each step of a first apply, in the order in which they come."""

    def any_of(folder: Path, pattern: str) -> bool:
        return folder.is_dir() and any(folder.glob(pattern))

    return {
        "the program is sent": lambda: any_of(place.home("program"), "*.zip"),
        "the interpreter is sent": lambda: any_of(place.home("python"), "*.tar.gz.part"),
        "it is unpacked": lambda: any_of(place.home("python"), "*.work/python/Lib"),
        "the program is unpacked": lambda: any_of(place.home("program"), "*.part/provisioner"),
        "Python is unpacked for Ray": lambda: any_of(place.root("python"), "*.work"),
        "packages are sent": lambda: any_of(place.root("store"), "*/.part"),
        "packages are installed": lambda: any_of(place.root("env"), "*/Lib/site-packages/ray"),
    }


def test_killed_at_every_step_of_the_first_contact(place: Make) -> None:
    here = place(shell="cmd")
    here.stand_in.throttle(200)
    for what, seen in stages(here).items():
        running = here.cluster.start("apply", "--yes", *here.flags)
        try:
            wait_until(seen, what, 90)
        finally:
            running.signal(signal.SIGKILL)
            assert running.wait().code == -signal.SIGKILL, f"it ended before {what}"
        wait_until(lambda: not here.stand_in.processes(), f"all to end after {what}", 30)
    here.stand_in.throttle(0)
    here.cluster.apply("--yes", *here.flags)
    assert_as_declared(here)
    assert_gone(here)


def test_link_cut_while_the_interpreter_is_sent(place: Make) -> None:
    here = place(shell="powershell")
    here.stand_in.throttle(20)
    running = here.cluster.start("apply", "--yes", *here.flags)
    try:
        wait_until(stages(here)["the interpreter is sent"], "the interpreter to be sent", 60)
        here.stand_in.cut()
        lost = here.cluster.answer(running.wait(200), code=4)
    finally:
        here.stand_in.uncut()
        here.stand_in.throttle(0)
    assert "broke off" in lost.said(here.stand_in.name)
    python_only = here.playbook.with_name("python.yml")
    python_only.write_text("- {play: Prepare, hosts: all, tasks: [{name: Python, python: {}}]}\n", encoding="utf-8")
    here.cluster.apply("--yes", "--playbook", str(python_only))
    here.playbook = python_only
    assert_gone(here)


@pytest.mark.parametrize("shell", ["cmd", "powershell"])
def test_what_cannot_be_is_said_before_anything_is_made(shell: str, place: Make) -> None:
    """PowerShell makes a 1 of every exit code, also of the one by which the Store's stand-in for Python is known."""
    here = place(shell=shell)
    name = here.stand_in.name
    here.declare(python={"version": "3.11.9", "source": "system"})
    refused = here.cluster.apply("--yes", *here.flags, code=3)
    assert "no Python on the host" in refused.said(name)
    assert "Microsoft Store" in refused.said(name)
    for root in (r"C:\my provision", "C:\\홍길동"):
        here.declare(root=root)
        refused = here.cluster.apply("--yes", *here.flags, code=1)
        assert f"Ray does not run below the root {root}" in refused.document["notices"][0]["message"]
    for root, why in ((r"C:\Windows", "has things in it that are not ours"), ("C:\\" + "x" * 60, "is too long")):
        here.declare(root=root)
        refused = here.cluster.apply("--yes", *here.flags, code=3)
        assert why in refused.said(name)
    here.declare()
    assert_gone(here)
