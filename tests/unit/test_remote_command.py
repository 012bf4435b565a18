"""Commands of a playbook on a real host: what fails says why, what is ended leaves nothing, and undo undoes once."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote.failure import Failure
from provisioner.remote.platforms.linux import Linux
from provisioner.remote.resource import Resource

from .remote_host import World, make, shown, write

FAILING: list[tuple[dict[str, Any], str]] = [
    ({"argv": ["/bin/false"], "creates": "/nonexistent"}, "exit code 1: it printed nothing"),
    ({"argv": ["/bin/sh", "-c", "seq 5 >&2; exit 3"], "creates": "/nonexistent"}, "exit code 3: 3 / 4 / 5"),
    ({"argv": ["/bin/true"], "creates": "/nonexistent"}, "ended well, but /nonexistent still says"),
    ({"argv": ["/bin/true"], "unless": ["/bin/false"]}, "ended well, but /bin/false still says"),
    ({"argv": ["nosuchprogram"], "creates": "/nonexistent"}, "there is no program nosuchprogram"),
    ({"argv": ["/etc/passwd"], "creates": "/nonexistent"}, "/etc/passwd may not be run"),
    ({"argv": ["/bin/true"], "creates": "/nonexistent", "cwd": "/no/where"}, "there is no folder /no/where"),
]


@pytest.mark.parametrize(("params", "message"), FAILING, ids=[message for _, message in FAILING])
def test_commands_that_fail(params: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        make("command", **params).ensure(World(tmp_path).host())
    assert message in caught.value.message


def test_a_question_with_a_program_that_comes_later_is_answered_no(tmp_path: Path) -> None:
    """`unless: [docker, ...]` before the task that installs docker has run."""
    command = make("command", argv=["nosuchprogram"], unless=["nosuchprogram", "--is-there"])
    assert shown(command.observe(World(tmp_path).host())) == [("add", "run", "", "nosuchprogram")]


def test_a_command_that_leaves_a_daemon_behind_does_not_hold_us_up(tmp_path: Path) -> None:
    world = World(tmp_path)
    script = "sleep 30 & echo $! > pid; echo started"
    code, output = world.host().platform.run(["/bin/sh", "-c", script], 5.0, cwd=str(tmp_path))
    os.kill(int((tmp_path / "pid").read_text()), 9)
    assert (code, output) == (0, "started\n")


def test_a_program_that_does_not_end_is_ended_with_its_children(tmp_path: Path) -> None:
    machine = Linux()
    with pytest.raises(Failure, match="sh did not end within 0 s"):
        machine.run(["/bin/sh", "-c", f"PROVISION_TEST={tmp_path.name} sleep 30"], 0.2)
    limit = time.monotonic() + 5
    while machine.processes_with(f"PROVISION_TEST={tmp_path.name}"):
        assert time.monotonic() < limit


def undoing(world: World, **over: Any) -> Resource:
    made = str(world.outside / "made")
    params = {"argv": ["/bin/mkdir", made], "creates": made, "undo": ["/bin/rmdir", made]}
    return make("command", **{**params, **over})


@pytest.mark.parametrize("proof", ["creates", "unless"])
def test_what_a_run_has_undone_before_it_was_ended_is_no_failure(proof: str, tmp_path: Path) -> None:
    """The disk is full, or the power goes, between the undo and the marker."""
    world = World(tmp_path)
    made = str(world.outside / "made")
    over = {} if proof == "creates" else {"creates": None, "unless": ["/bin/test", "-d", made]}
    undoing(world, **over).ensure(world.host())
    host = world.host()
    host.marker.drop = lambda key: (tmp_path / "nothing").unlink()  # type: ignore[method-assign]
    with pytest.raises(FileNotFoundError):
        undoing(world, **over).remove(host)
    assert not Path(made).exists()
    assert [each["action"] for each in undoing(world, **over).traces(world.host())] == ["remove"]
    assert "nothing to undo" in undoing(world, **over).remove(world.host())
    assert world.host().marker.entries == {}


def test_a_command_that_failed_can_be_torn_down(tmp_path: Path) -> None:
    world = World(tmp_path)
    failing = {"argv": ["/bin/sh", "-c", f"touch {world.outside}/half; exit 3"]}
    with pytest.raises(Failure, match="exit code 3"):
        undoing(world, **failing).ensure(world.host())
    undoing(world, **failing, undo=["/bin/sh", "-c", f"rm {world.outside}/half; rmdir /no/where"]).remove(world.host())
    assert world.snapshot() == {}, "its undo was tried for what it had begun"


def test_an_undo_that_fails_where_there_is_something_to_undo_is_a_failure(tmp_path: Path) -> None:
    world = World(tmp_path)
    undoing(world).ensure(world.host())
    write("made/theirs", "x")(world)
    with pytest.raises(Failure, match="Directory not empty"):
        undoing(world).remove(world.host())
    assert undoing(world).traces(world.host()) != []


def test_a_command_without_undo_leaves_nothing_to_remove(tmp_path: Path) -> None:
    world = World(tmp_path)
    made = str(world.outside / "made")
    command = make("command", argv=["/bin/touch", made], creates=made)
    command.ensure(world.host())
    assert command.traces(world.host()) == []
    assert command.remove(world.host()) == ""
    assert Path(made).exists()
    assert world.host().marker.entries == {}
