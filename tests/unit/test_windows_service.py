"""The service on Windows, as far as it is text: processes, ports, variables, programs."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote import launch_windows, service
from provisioner.remote.platforms.windows import processes, programs, tasks
from provisioner.remote.platforms.windows.tasks import Tasks

from .windows_host import Host

ROOT = r"C:\provision\lab"


PORTS = {
    "English": (
        "\r\nProtocol tcp Port Exclusion Ranges\r\n\r\nStart Port    End Port      \r\n----------    --------      \r\n"
        "      5357        5357      \r\n     49681       49780      \r\n     50000       50059     *\r\n\r\n"
        "* - Administered port exclusions.\r\n\r\n",
        [(5357, 5357), (49681, 49780), (50000, 50059)],
    ),
    "German": (
        "\r\nPortausschlussbereiche für das Protokoll tcp\r\n\r\nStartport   Endport\r\n"
        "----------    --------      \r\n"
        "      2869        2869      \r\n     50000       50059     *\r\n\r\n* - Verwaltete Portausschlüsse.\r\n\r\n",
        [(2869, 2869), (50000, 50059)],
    ),
    "Korean": (
        "\r\n프로토콜 tcp 포트 제외 범위\r\n\r\n시작 포트    끝 포트      \r\n----------    --------      \r\n"
        "      6379        6478      \r\n\r\n* - 관리되는 포트 제외입니다.\r\n\r\n",
        [(6379, 6478)],
    ),
    "Korean in another code page": (
        "프로토콜 tcp 포트 제외 범위\r\n      6379        6478      \r\n".encode("cp949").decode("cp437"),
        [(6379, 6478)],
    ),
    "none": ("\r\nProtocol tcp Port Exclusion Ranges\r\n\r\nStart Port    End Port\r\n-------    -----\r\n", []),
    "nonsense": ("The following command was not found: int ipv4.\r\n70000 80000\r\n9 8\r\n0 5\r\n²3 5\r\n", []),
}  # fmt: skip


@pytest.mark.parametrize(("text", "spans"), PORTS.values(), ids=list(PORTS))
def test_excluded_ports_by_their_numbers(text: str, spans: list[tuple[int, int]]) -> None:
    assert processes.excluded_ports(text) == spans


class Table:
    """Processes: pid -> (parent, program, when it was created); 1 is this program."""

    def __init__(self, **more: tuple[int, str, int]) -> None:
        self.rows = {1: (9, r"C:\Users\kim\.provision\python\3.11.9\python.exe", 50), 9: (8, r"C:\sshd.exe", 10)}
        self.rows.update({int(pid[1:]): row for pid, row in more.items()})

    def ours(self) -> list[int]:
        rows = [(pid, parent, "x.exe") for pid, (parent, _, _) in self.rows.items()]
        return processes.ours(ROOT, rows, lambda pid: self.rows[pid][1], self.born, 1)

    def born(self, pid: int) -> int:
        return self.rows[pid][2] if pid in self.rows else 0


PYTHON = ROOT + r"\env\1\Scripts\python.exe"
SYSTEM_PYTHON = r"C:\Program Files\Python311\python.exe"
TABLES = [
    ({}, []),
    ({"p3": (4, PYTHON, 20)}, [3]),
    ({"p3": (4, PYTHON.upper(), 20)}, [3]),
    ({"p3": (4, r"C:\provision\laboratory\x.exe", 20)}, []),
    ({"p3": (4, "", 20)}, []),
    ({"p3": (4, PYTHON, 20), "p5": (3, SYSTEM_PYTHON, 21), "p6": (5, r"C:\job.exe", 22)}, [3, 5, 6]),
    ({"p3": (4, PYTHON, 20), "p5": (3, SYSTEM_PYTHON, 19)}, [3]),  # older than what has its parent's pid now
    ({"p3": (1, ROOT + r"\store\uv.exe", 60), "p5": (3, r"C:\x.exe", 61)}, []),  # what this program has started
    ({"p3": (5, PYTHON, 20), "p5": (3, PYTHON, 20)}, [3, 5]),  # each the other's parent, by pids that came again
]


@pytest.mark.parametrize(("rows", "expected"), TABLES)
def test_which_processes_are_ours(rows: dict[str, tuple[int, str, int]], expected: list[int]) -> None:
    assert Table(**rows).ours() == expected


def test_who_got_the_pid_of_what_started_this_program_is_no_relative_of_it() -> None:
    assert Table(p8=(4, PYTHON, 60)).ours() == [8]
    assert Table(p8=(4, PYTHON, 5)).ours() == []


def test_the_interpreter_that_this_runs_on_may_lie_in_our_root() -> None:
    table = Table(p3=(4, PYTHON, 20))
    table.rows[1] = (9, PYTHON, 50)
    table.rows[9] = (8, PYTHON, 49)
    assert table.ours() == [3]


SPEC = {"env": {"RAY_X": "1", "Temp": r"C:\provision\lab\ray"}, "path": r"C:\e\Scripts"}
AROUND = {"Path": r"C:\Windows", "SystemRoot": r"C:\Windows", "PYTHONPATH": "x", "PythonHome": "x", "RAY_ADDRESS": "x",
          "ray_tmpdir": "x", "TEMP": "x", "HTTPS_PROXY": "p"}  # fmt: skip


def test_the_variables_of_ray() -> None:
    assert launch_windows.environment(SPEC, AROUND) == {
        "PATH": r"C:\e\Scripts" + os.pathsep + r"C:\Windows", "SYSTEMROOT": r"C:\Windows", "HTTPS_PROXY": "p",
        "RAY_X": "1", "TEMP": r"C:\provision\lab\ray",
    }  # fmt: skip


@pytest.mark.parametrize(("age", "held"), [(0, True), (100, True), (181, False), (-3600, False), (None, False)])
def test_a_stop_holds_for_a_while(tmp_path: Path, age: float | None, held: bool) -> None:
    """Not if the clock was set back, and not for ever if the run that stopped it was cut off."""
    path = tmp_path / "hold"
    if age is not None:
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    assert launch_windows.is_held(str(path)) is held


def test_a_long_log_is_put_aside_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch_windows, "LOG_LIMIT", 10)
    path = tmp_path / "log" / "ray.log"
    for text in (b"old\r\n", b"x" * 20, b"new\xff\r\n"):
        source, sink = os.pipe()
        os.write(sink, text)
        os.close(sink)
        with os.fdopen(source, "rb") as pipe:
            launch_windows.Log(str(path)).follow(pipe)
    assert path.read_bytes() == b"new\xff\r\n"
    assert path.with_name("ray.log.1").read_bytes() == b"old\r\n" + b"x" * 20


def test_the_launcher_that_is_copied_is_the_systems_own(tmp_path: Path) -> None:
    class Manager(Tasks):
        """The service manager of Windows."""

    host: Any = Host(tmp_path, "kim", "", {})
    host.service_manager, host.marker = Manager(), {}
    host.folder = lambda *parts: str(tmp_path)
    host.platform.give = lambda path, account: None
    service.write_spec(host, "ray-lab", {"temp_dir": str(tmp_path)})
    assert (tmp_path / "service" / "launch.py").read_bytes() == Path(launch_windows.__file__).read_bytes()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pid": 1}', '{"pid": "x", "born": 1}'])
def test_a_damaged_state_is_none(tmp_path: Path, text: str) -> None:
    host: Any = Host(tmp_path, "kim", "", {})
    host.write(tasks.state_path(host, "ray-lab"), text.encode())
    assert tasks.read_state(host, "ray-lab") == {}


SEARCHES = {
    "with an ending of its own": ("tool.exe", r"C:\a;C:\b", [r"C:\b\tool.exe"], r"C:\b\tool.exe"),
    "in the order of the endings": ("tool", r"C:\a", [r"C:\a\tool.cmd", r"C:\a\tool.exe"], r"C:\a\tool.exe"),
    "in the order of the folders": ("tool", r"C:\a;C:\b", [r"C:\b\tool.exe", r"C:\a\tool.cmd"], r"C:\a\tool.cmd"),
    "an ending that is none of a program": ("tool.txt", r"C:\a", [r"C:\a\tool.txt", r"C:\a\tool.txt.exe"],
                                            r"C:\a\tool.txt.exe"),
    "no ending": ("tool", r"C:\a", [r"C:\a\tool"], ""),
    "not in the current folder": ("tool", r"C:\a", ["tool.exe", r".\tool.exe"], ""),
    "not in folders that depend on it": ("tool", r".;;bin;C:bin;\bin", ["tool.exe", r".\tool.exe", r"bin\tool.exe",
                                         r"C:bin\tool.exe", r"\bin\tool.exe"], ""),
    "folders in quotes": ("tool", r'"C:\Program Files\x"', [r"C:\Program Files\x\tool.exe"],
                          r"C:\Program Files\x\tool.exe"),
    "on a share": ("tool", r"\\server\share\bin", [r"\\server\share\bin\tool.exe"], r"\\server\share\bin\tool.exe"),
}  # fmt: skip


@pytest.mark.parametrize(("program", "path", "there", "found"), SEARCHES.values(), ids=SEARCHES.keys())
def test_where_a_program_is_looked_for(program: str, path: str, there: list[str], found: str) -> None:
    assert programs.search(program, path, ".COM;.EXE;.CMD", lambda place: place in there) == found
