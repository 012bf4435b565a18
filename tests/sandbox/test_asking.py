"""Commands that ask hosts and change nothing: `exec`, `logs`, `ssh`, on hosts that are set up and on bare ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.sandbox import Sandbox
from tests.waiting import soon

from .command import Room
from .conftest import free_ports

PLAYBOOK = """
- play: Files
  hosts: all
  tasks:
    - name: A file
      file: {path: "{{ vars.home }}/app.conf", content: "x"}
"""


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """Two hosts that have our program."""
    box = Sandbox(tmp_path_factory.mktemp("asking") / "hosts")
    box.start(2, free_ports(2))
    made = Room(box, 2, tmp_path_factory.mktemp("room"))
    assert made.start("apply", PLAYBOOK).end() == 0
    yield made
    box.remove()


def start(room: Room, *words: str) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    return subprocess.Popen(
        [sys.executable, "-m", "provisioner.cli", *words],
        cwd=room.folder, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def run(room: Room, *words: str) -> tuple[int, str, str]:
    process = start(room, *words)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def log(room: Room, host: str) -> Path:
    path = room.homes[host] / ".provision/clusters/lab/log/ray-lab.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["echo", "a b", "$HOME;x"], 0, ["a b $HOME;x"]),
        (["sh", "-c", "echo out; echo err >&2; exit 3"], 3, ["out", "err", "ended with exit code 3", "well on 0 of 2"]),
        (["no-such-program"], 3, ["there is no program no-such-program"]),
        (["printf", "no newline"], 0, ["no newline"]),
        (["printf", r"\033[2Jhidden\n"], 0, [r"\x1b[2Jhidden"]),
        (["cat"], 0, []),
    ],
)
def test_a_program_runs_on_all_hosts(room: Room, argv: list[str], code: int, said: list[str]) -> None:
    ended, out, err = run(room, "exec", "-i", "inventory.yml", "--", *argv)
    assert (ended, err) == (code, "")
    for text in said:
        assert text in out
    for host in room.homes if said and not code else ():
        assert f"{host.ljust(max(map(len, room.homes)))} | {said[0]}" in out


def test_what_came_of_it_as_a_document(room: Room) -> None:
    one, two = room.homes
    code, out, _ = run(
        room, "exec", "-i", "inventory.yml", "--json", "--", "sh", "-c", f"test -d {room.homes[one]}; pwd"
    )
    document = json.loads(out)
    assert code == document["exit_code"] == 0
    assert {name: host["output"] for name, host in document["hosts"].items()} == {
        one: f"{room.homes[one]}\n", two: f"{room.homes[two]}\n",
    }  # fmt: skip


def test_all_of_a_long_output_comes(room: Room) -> None:
    one = next(iter(room.homes))
    code, out, _ = run(room, "exec", "-i", "inventory.yml", "--limit", one, "--", "seq", "1", "300000")
    assert code == 0
    assert out.split() == [str(number) for number in range(1, 300001)]


def test_a_program_that_takes_too_long_is_ended(room: Room) -> None:
    code, out, _ = run(room, "exec", "-i", "inventory.yml", "--timeout", "1", "--", "sleep", "7123")
    assert code == 3
    assert "sleep did not end within 1 s" in out
    assert not running("sleep 7123")


def test_ctrl_c_ends_it_on_the_hosts(room: Room) -> None:
    process = start(room, "exec", "-i", "inventory.yml", "--", "sleep", "7124")
    assert soon(lambda: len(running("sleep 7124")) == len(room.homes), 60)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert soon(lambda: not running("sleep 7124"), 60)


def running(command: str) -> list[str]:
    found = subprocess.run(["pgrep", "-xf", command], capture_output=True, text=True, check=False)
    return found.stdout.split()


def test_a_host_without_anything_of_ours_is_told(room: Room, tmp_path: Path) -> None:
    text = room.inventory.read_text().replace("cluster: lab\n", "cluster: other\n")
    other = room.folder / "other.yml"
    other.write_text(text)
    code, _, err = run(room, "logs", "head", "-i", "other.yml")
    assert code == 3
    assert "there is no log on this host" in err or "has nothing of this cluster" in err


def test_the_last_lines_of_a_log(room: Room) -> None:
    one = next(iter(room.homes))
    log(room, one).write_text(
        "".join(f"line {number}\n" for number in range(1, 5001)) + "\x1b[31mred\x1b[0m \x1b]0;x\x07"
    )
    code, out, err = run(room, "logs", one, "-i", "inventory.yml", "-n", "3")
    assert (code, err) == (0, "")
    assert out == "line 4999\nline 5000\nred \\x1b]0;x\\x07"


def test_a_log_is_followed(room: Room) -> None:
    one = next(iter(room.homes))
    path = log(room, one)
    path.write_text("before\n")
    process = start(room, "logs", one, "-i", "inventory.yml", "--follow")
    assert process.stdout is not None
    assert process.stdout.readline() == "before\n"
    with path.open("a") as file:
        file.write("after\n")
    assert process.stdout.readline() == "after\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    process.communicate()


@pytest.mark.parametrize("kind", ["link", "pipe", "nothing"])
def test_what_is_no_log_is_not_read(room: Room, kind: str, tmp_path: Path) -> None:
    one = next(iter(room.homes))
    path = log(room, one)
    path.unlink(missing_ok=True)
    (tmp_path / "secret").write_text("secret\n")
    if kind == "link":
        path.symlink_to(tmp_path / "secret")
    if kind == "pipe":
        os.mkfifo(path)
    begun = time.monotonic()
    code, out, err = run(room, "logs", one, "-i", "inventory.yml")
    path.unlink(missing_ok=True)
    assert time.monotonic() - begun < 60
    assert "secret" not in out
    assert code == 3
    assert "there is no log" in err


def test_the_systems_ssh_is_told_all_that_the_inventory_says(room: Room) -> None:
    one = next(iter(room.homes))
    code, out, err = run(room, "ssh", one, "-i", "inventory.yml", "--", "echo", "hello", "from", "$HOME")
    assert (code, err) == (0, "")
    assert out == f"hello from {room.homes[one]}\n"


@pytest.mark.parametrize("words", [["logs", "w9"], ["ssh", "w9"], ["exec", "--limit", "w9", "--", "true"]])
def test_a_host_that_does_not_exist_is_refused(room: Room, words: list[str]) -> None:
    command, *rest = words
    code, _, err = run(room, command, "-i", "inventory.yml", *rest)
    assert code == 1
    assert "w9" in err and "no host" in err
