"""The driver: a real command that stops at a moment, goes on, or is killed there. Its host is nobody's."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from .driver import Controller, Stuck
from .moments import Moment

CONNECTING = Moment(0, "is connecting")


@pytest.fixture
def argv(tmp_path: Path) -> list[str]:
    with socket.socket() as nobody:  # a port at which nobody listens
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    inventory = tmp_path / "lab.yml"
    inventory.write_text(
        "cluster: lab\npython: {version: 3.11.2, source: system}\nray: {version: 2.60.0}\n"
        f"ssh: {{user: root, port: {port}}}\nhead:\n  h1: {{address: 127.0.0.1}}\n"
    )
    return ["check", str(inventory), "--json", "--connect-timeout", "1"]


def test_it_stops_at_its_moment_and_goes_on(argv: list[str], tmp_path: Path) -> None:
    controller = Controller(argv, ["h1"], tmp_path / "run", CONNECTING)
    assert controller.stopped(60)
    assert controller.moments()[-1] == CONNECTING
    with pytest.raises(Stuck):
        Controller.end(controller, 0.5)


def test_it_ends_as_the_command_does(argv: list[str], tmp_path: Path) -> None:
    controller = Controller(argv, ["h1"], tmp_path / "run", CONNECTING)
    assert controller.stopped(60)
    controller.go_on()
    said = controller.end(60)
    assert said.code == 4
    assert "h1: unreachable" in str(said)
    assert [each.what for each in controller.moments()] == [
        "the run begins",
        "is connecting",
        "finished",
        "the run ends",
    ]


def test_it_is_killed_at_its_moment(argv: list[str], tmp_path: Path) -> None:
    controller = Controller(argv, ["h1"], tmp_path / "run", CONNECTING)
    assert controller.stopped(60)
    controller.kill()
    assert controller.end(10).code == -signal.SIGKILL


def test_a_moment_that_never_comes_is_told(argv: list[str], tmp_path: Path) -> None:
    controller = Controller(argv, ["h1"], tmp_path / "run", Moment(0, "begins 'Greet'"))
    assert not controller.stopped(60)
    assert controller.end(10).code == 4
