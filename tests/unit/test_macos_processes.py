"""What ps and lsof of macOS say, and what is ours of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.remote.host import marker_variable
from provisioner.remote.platforms.macos.processes import LSOF, PS

from .mac_host import Mac, always, host_of

ROOT = "/opt/provision/lab"
MARK = f"PROVISION_ROOT={ROOT}"
LIST = f"""\
    1     0 Ss   /sbin/launchd
  913     1 Ss   {ROOT}/env/3.11.9-ab/bin/python -I -S {ROOT}/service/launch.py run HOME=/Users/ray {MARK} PATH=/bin
  920   913 S    {ROOT}/env/3.11.9-ab/lib/python3.11/site-packages/ray/core/src/ray/raylet/raylet --x=1 {MARK} A=b c
  931   920 S    ray::IDLE HOME=/Users/ray {MARK}
  932   920 R+   python /Users/ray/job.py
  933   932 S    sh -c true
  940     1 S    ray::f() {MARK} B=1
  941   920 Z    (python3.11)
  950     1 S    /Users/kim/venv/bin/python -m ray.dashboard PROVISION_ROOT={ROOT}2 HOME=/Users/kim
  951     1 S    vi {ROOT}/marker.json
  960     1 Ss   /usr/sbin/sshd -i
  961   960 Ss   sh .provision/program/abc/start
"""
"""In the form of ``ps -axww -E -o pid=,ppid=,state=,command=`` (ps(1), macOS 15: the environment follows the words)."""


@pytest.mark.parametrize(
    ("root", "output", "pids"),
    [
        (ROOT, LIST, [913, 920, 931, 932, 933, 940]),
        (ROOT + "2", LIST, [950]),
        ("/opt/provision/la", LIST, []),
        (ROOT, "", []),
        (ROOT, "ps: no such thing\n", []),
    ],
)
def test_what_is_ours(root: str, output: str, pids: list[int]) -> None:
    mac = Mac({PS: always(0, output)})
    assert mac.processes_of(root) == pids
    assert len(mac.ran) == 1


@pytest.mark.parametrize(
    ("code", "output", "runs"),
    [(0, "  913 Ss  \n", True), (0, "  913 Z   \n", False), (1, "", False), (0, "  913 U+\n", True)],
)
def test_whether_it_runs(code: int, output: str, runs: bool) -> None:
    assert Mac({PS: always(code, output)}).runs(913) is runs


@pytest.mark.parametrize(
    ("state", "still"), [("T\n", True), ("U+\n", True), ("S\n", False), ("Ss\n", False), ("R\n", False)]
)
def test_only_what_is_stopped_or_hangs_gives_no_sign_of_life(state: str, still: bool) -> None:
    mac = Mac({PS: always(0, state)})
    assert (mac.pulse(913) == mac.pulse(913)) is still


def test_a_host_knows_its_own(tmp_path: Path) -> None:
    mac = Mac({PS: always(0, f"  7     1 S    /x/python {marker_variable(str(tmp_path))}\n  8     7 S    y\n")})
    assert host_of(mac, tmp_path, service="process").own_processes() == [7, 8]


def test_nobody_is_asked_about_no_process() -> None:
    mac = Mac({})
    mac.kill([])
    assert mac.ran == []


def test_the_words_of_a_process() -> None:
    assert (
        Mac({PS: always(0, f"python {ROOT}/service/launch.py supervise\n")}).command_line(7).startswith("python /opt")
    )
    assert Mac({PS: always(1, "")}).command_line(7) == ""


@pytest.mark.parametrize(
    ("code", "output", "owner"),
    [
        (0, "p711\ncnginx\nf6\n", "nginx (pid 711)"),
        (0, "p711\ncnginx\nf6\nf7\np712\ncother\nf3\n", "nginx (pid 711)"),
        (0, "p88\ncControlCenter\nf9\n", "ControlCenter (pid 88)"),
        (1, "", "another process"),
        (1, "lsof: unsupported TCP/TPI info selection\n", "another process"),
    ],
)
def test_who_listens(code: int, output: str, owner: str) -> None:
    mac = Mac({LSOF: always(code, output)})
    assert mac.port_owner(5000) == owner
    assert mac.ran == [[LSOF, "-nP", "-iTCP:5000", "-sTCP:LISTEN", "-Fpc"]]
