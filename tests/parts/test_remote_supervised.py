"""The supervisor of hosts without a service manager, for real, with a small script in Ray's place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote import launch, service
from provisioner.remote.host import MARK, Host
from provisioner.remote.platforms.supervised import Supervised
from tests import waiting
from tests.unit.remote_host import World

NAME = "ray-lab"
SCRIPT = """
import os, signal, sys, time
sys.stdout.write("begun %d\\n" % os.getpid()); sys.stdout.flush()
signal.signal(signal.SIGTERM, lambda *_: (print("drained", flush=True), sys.exit(1)))
if len(sys.argv) > 1:
    sys.exit(int(sys.argv[1]))
if os.fork() == 0:
    while True:
        time.sleep(60)
while True:
    time.sleep(60)
"""


soon = partial(waiting.soon, limit=10.0)


class Node:
    """A supervised script."""

    def __init__(self, world: World, folder: Path) -> None:
        self.manager = Supervised()
        self.host: Host = world.host()
        self.host.service_manager = self.manager
        self.script = folder / "script.py"
        self.script.write_text(SCRIPT)

    def start(self, *arguments: str) -> None:
        spec = {
            "argv": [sys.executable, str(self.script), *arguments], "env": {MARK: self.host.root, "X": "1"},
            "path": "/opt/bin", "python": sys.executable, "log": service.log_path(self.host, NAME),
            "temp_dir": self.host.path("ray"),
        }  # fmt: skip
        service.write_spec(self.host, NAME, spec)
        self.manager.define(self.host, NAME)
        self.manager.restart(self.host, NAME)

    def state(self) -> dict[str, Any]:
        return self.manager.observe(self.host, NAME)

    def log(self) -> list[str]:
        return service.log_tail(self.host, NAME)

    def active(self) -> bool:
        last = self.log()[-1:]
        return bool(self.state()["active"] and last and last[0].startswith("begun"))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(World(tmp_path), tmp_path)
    yield made
    made.host.platform.kill(made.host.own_processes())


def test_it_runs_and_stops_and_leaves_nothing(node: Node) -> None:
    assert node.state() == {
        "defined": None, "enabled": False, "active": False, "failing": False, "pid": 0, "restarts": 0
    }  # fmt: skip
    node.start()
    assert soon(node.active)
    state = node.state()
    assert state["defined"] == node.manager.definition(node.host, NAME)
    assert (state["enabled"], state["failing"], state["restarts"]) == (True, False, 0)
    assert soon(lambda: len(node.host.own_processes()) == 3), "supervisor, script and its child"
    node.manager.stop(node.host, NAME)
    assert node.log()[-1] == "drained", "it ended by itself"
    assert soon(lambda: node.host.own_processes() == []), "its children were taken along"
    assert node.state()["active"] is False
    node.manager.undefine(node.host, NAME)
    assert node.state()["defined"] is None
    node.manager.stop(node.host, NAME)


def test_a_restart_is_another_process(node: Node) -> None:
    node.start()
    assert soon(node.active)
    first = node.state()["pid"]
    node.start()
    assert soon(lambda: node.active() and node.state()["pid"] != first)
    assert soon(lambda: len(node.host.own_processes()) == 3)


def test_what_was_killed_is_revived(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = Path(launch.__file__).read_text()
    node.start()
    path = Path(node.host.path("service", "launch.py"))
    path.write_text(launcher.replace("PAUSE = 5.0", "PAUSE = 0.5"))
    node.manager.restart(node.host, NAME)
    assert soon(node.active)
    begun = node.log()[-1]
    os.kill(int(begun.split()[1]), signal.SIGKILL)
    assert soon(lambda: node.state()["failing"])
    assert not node.state()["active"]
    assert soon(lambda: node.active() and node.log()[-1].startswith("begun") and node.log()[-1] != begun)
    assert node.state()["restarts"] == 1
    assert soon(lambda: len(node.host.own_processes()) == 3), "the killed one's child is gone"


def test_what_ends_at_once_is_failing(node: Node) -> None:
    node.start("7")
    assert soon(lambda: node.state()["failing"])
    assert not node.state()["active"]
    begun = time.monotonic()
    node.manager.stop(node.host, NAME)
    assert time.monotonic() - begun < 4, "the pause before the next start is no reason to wait"
    assert node.host.own_processes() == []


def test_a_pid_that_is_somebody_elses_by_now(node: Node) -> None:
    node.start()
    assert soon(node.active)
    node.host.platform.kill(node.host.own_processes())
    state = Path(node.host.path("service", NAME + ".state"))
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        text = state.read_text()
        state.write_text(text.replace(text.split('"pid": ')[1].split(",")[0], str(stranger.pid)))
        assert node.state()["active"] is False
        node.manager.stop(node.host, NAME)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_supervisor_whose_state_is_lost_is_found_among_our_processes(node: Node) -> None:
    node.start()
    assert soon(node.active)
    pid = node.state()["pid"]
    Path(node.host.path("service", NAME + ".state")).unlink()
    assert node.state()["active"] is False
    assert pid in node.host.own_processes()


@pytest.mark.parametrize("moment", ["being stopped", "stopped"])
def test_what_was_stopped_is_started_by_itself(moment: str, node: Node) -> None:
    """As when the controller goes away in between: nobody is left to start it."""
    node.start()
    assert soon(node.active)
    first = node.state()["pid"]
    if moment == "being stopped":
        os.kill(first, signal.SIGTERM)
        node.manager.start_soon(node.host, NAME)
    else:
        node.manager.stop(node.host, NAME)
        node.manager.start_soon(node.host, NAME)
    assert soon(lambda: node.active() and node.state()["pid"] != first)
    assert soon(lambda: len(node.host.own_processes()) == 3), "one supervisor, its script and the script's child"
    assert node.state()["defined"] == node.manager.definition(node.host, NAME), "the next run finds nothing to change"


@pytest.mark.parametrize("proc", ["/proc", "/nowhere"], ids=["Linux", "macOS"])
@pytest.mark.parametrize("moment", ["not being stopped", "started meanwhile"])
def test_nothing_is_started_beside_what_runs(moment: str, proc: str, node: Node) -> None:
    """macOS has no /proc: there ps tells."""
    node.start()
    assert soon(node.active)
    path = Path(node.host.path("service", "launch.py"))
    text = (
        path.read_text()
        .replace("TAKEOVER = 60.0", "TAKEOVER = 0.5")
        .replace('proc: str = "/proc"', f'proc: str = "{proc}"')
    )
    assert proc in text
    path.write_text(text)
    if moment == "not being stopped":
        node.manager.start_soon(node.host, NAME)
    else:
        node.manager.stop(node.host, NAME)
        node.manager.start_soon(node.host, NAME)
        node.manager.restart(node.host, NAME)
    pid = node.state()["pid"]
    assert soon(lambda: node.active() and len(node.host.own_processes()) == 3)
    time.sleep(1.5)
    assert node.state()["pid"] == pid and len(node.host.own_processes()) == 3


@pytest.mark.parametrize("proc", ["/proc", "/nowhere"], ids=["Linux", "macOS"])
def test_what_a_process_was_started_with(proc: str) -> None:
    word = "a path with 둘 " + "and is long " * 30
    code = "import sys, time; print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, word], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        told = launch.command_line(process.pid, proc)
        process.kill()
        ended = soon(lambda: word.encode() not in launch.command_line(process.pid, proc))
    assert word.encode() in told
    assert ended, "also while nobody has asked how it ended"
    assert launch.command_line(process.pid, proc) == b""


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}'])
def test_a_damaged_state_is_none(text: str, node: Node) -> None:
    Path(node.host.folder("service"), NAME + ".state").write_text(text)
    assert node.state()["active"] is False


def test_a_long_log_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "LOG_LIMIT", 10)
    log = tmp_path / "log"
    log.write_text("x" * 11)
    os.close(launch.open_log(str(log)))
    assert (log.read_text(), (tmp_path / "log.1").read_text()) == ("", "x" * 11)


def test_what_a_service_manager_starts_becomes_the_program(node: Node, tmp_path: Path) -> None:
    """Also when a reboot took the temp dir away, as it does below /tmp."""
    node.start("0")
    node.manager.stop(node.host, NAME)
    Path(node.host.path("ray")).rmdir()
    Path(service.log_path(node.host, NAME)).unlink()
    node.script.write_text("import os; print(os.getpid(), os.getcwd(), os.environ['X'], os.environ['PATH'][:9])")
    process = subprocess.Popen(service.launch_arguments(node.host, NAME))
    assert process.wait(20) == 0
    assert node.log() == [f"{process.pid} {node.host.path('ray')} 1 /opt/bin:"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"argv": []}'])
def test_a_damaged_specification_is_none(text: str, node: Node) -> None:
    Path(node.host.folder("service"), NAME + ".json").write_text(text)
    assert service.read_spec(node.host, NAME) is None
    assert service.launch_arguments(node.host, NAME)[0] == "python3"
