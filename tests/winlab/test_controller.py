"""`provision` itself on Windows: under the genuine Windows Python of a stand-in, with a Linux lab host to work on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import uv

from ..lab.command import PROJECT
from ..lab.fixtures import MachineFactory
from ..lab.machines import Lab, Machine
from .fixtures import StandInFactory
from .stages import fingerprint, stage
from .stand_in import StandIn

PYTHON = "3.11.9"
WITH_TESTS = ("pytest", "pytest-timeout", "hypothesis")
TREE = ("provisioner", "tests", "playbooks", "inventory", "pyproject.toml")
UNIT = (
    "addresses", "artifacts_lock", "artifacts_platform", "declaration", "deliveries", "engine_gates", "engine_outcome",
    "engine_switchboard", "inventory_document", "inventory_load", "inventory_ranges", "inventory_systems", "mirror",
    "once", "playbook_load", "playbook_resolve", "portable", "ray_fleet", "ray_start", "ray_support", "report",
    "report_console", "report_secrets", "report_table", "transport", "transport_refusals",
)  # fmt: skip
"""Unit tests of the controller that know nothing of Linux."""
INVENTORY = """\
cluster: lab
python: {version: 3.11.2, source: system, match: minor}
ray: {version: 2.60.0}
ssh: {user: root, key: key, known_hosts: known_hosts}   # 서울
head:
  h1: {address: ADDRESS}
"""
PLAYBOOK = """\
- play: Files
  hosts: all
  tasks:
    - name: Much
      file: {path: /srv/much, source: much.bin}
    - name: Little
      file: {path: /srv/little, content: "한국 {{ host.name }}"}
"""
MUCH = bytes(range(256)) * 9000


@dataclass(frozen=True)
class Desk:
    """A Windows machine at which somebody types ``provision``."""

    machine: StandIn

    def python(self, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return self.machine.exec([self.machine.python, *arguments], check=False, timeout=timeout)

    def provision(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "provisioner.cli", *words)


@pytest.fixture(scope="module")
def desk(lab: Lab, module_stand_ins: StandInFactory) -> Desk:
    """A stand-in with the project and what it needs from PyPI, as `pip install` would put it there."""

    def install(folder: Path) -> None:
        target = ["--target", str(folder), "--python-platform", "x86_64-pc-windows-msvc", "--python-version", PYTHON]
        packages = ["--only-binary", ":all:", "-r", str(PROJECT / "pyproject.toml"), *WITH_TESTS]
        argv = [uv.find_uv_bin(), "pip", "install", "--quiet", "--python", sys.executable, *target, *packages]
        subprocess.run(argv, check=True, timeout=300)  # in this environment: a proxy may open TLS

    site = stage(
        lab.home / "winlab", "controller", fingerprint(PYTHON, *WITH_TESTS, PROJECT / "pyproject.toml"), install
    )
    machine = module_stand_ins(codepage=949)[0]
    shutil.copytree(site, machine.drive / "desk" / "site")
    for name in TREE:
        source, target = PROJECT / name, machine.drive / "desk" / "tree" / name
        target.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    machine.write(r"C:\Program Files\Python311\Lib\site-packages\desk.pth", "C:\\desk\\site\r\nC:\\desk\\tree\r\n")
    return Desk(machine)


@pytest.fixture(scope="module")
def host(module_machines: MachineFactory) -> Machine:
    return module_machines(1)[0]


def test_nothing_that_only_posix_has_is_imported(desk: Desk) -> None:
    done = desk.provision("--version")
    assert (done.returncode, done.stdout.startswith("provision, version")) == (0, True), done.stderr
    modules = sorted(
        ".".join(path.relative_to(PROJECT).with_suffix("").parts)
        for path in (PROJECT / "provisioner").rglob("*.py")
        if not {"remote", "sandbox"} & set(path.parts) and path.stem != "__main__"
    )
    code = f"import importlib; [importlib.import_module(name) for name in {modules}]; print('all')"
    done = desk.python("-c", code)
    assert done.stdout.strip() == "all", done.stderr


def test_the_controllers_unit_tests(desk: Desk) -> None:
    files = [f"C:\\desk\\tree\\tests\\unit\\test_{name}.py" for name in UNIT]
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", r"C:\desk\tree", "-c", r"C:\desk\tree\pyproject.toml"]
    # a busy stand-in is slow to make up cases, which hypothesis would find fault with
    done = desk.python("-m", "pytest", *options, "--hypothesis-profile=ci", *files, timeout=580)
    assert done.returncode == 0, done.stdout[-3000:]


def test_the_sandbox_says_what_it_needs(desk: Desk) -> None:
    done = desk.provision("sandbox", "start")
    assert done.returncode == 1
    assert "the sandbox needs Linux or macOS" in done.stderr


def test_a_linux_host_is_worked_on_from_windows(desk: Desk, host: Machine) -> None:
    """With files as Notepad writes them: a mark at the beginning, CRLF at the ends of lines."""
    folder, drive = "C:\\labs\\서울 연구실", desk.machine
    for name, text in (("lab.yml", INVENTORY.replace("ADDRESS", host.ip)), ("mine.yml", PLAYBOOK)):
        drive.write(f"{folder}\\{name}", "\ufeff" + text.replace("\n", "\r\n"))
    drive.path(f"{folder}\\much.bin").write_bytes(MUCH)
    drive.write(f"{folder}\\key", host.lab.golden.key.read_text())
    drive.write(f"{folder}\\known_hosts", f"# 서울\r\n{host.known_host()}\r\n")
    typed = f"{folder}\\lab.yml", "--playbook", f"{folder}\\mine.yml"
    before = host.listing()
    pending = desk.provision("check", *typed)
    assert (pending.returncode, "2 to add" in pending.stdout) == (2, True), pending.stdout + pending.stderr
    assert f'provision apply "{folder}\\lab.yml"' in pending.stdout, "as cmd.exe and PowerShell read it"
    applied = desk.provision("apply", *typed)
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert host.exec(["sha256sum", "/srv/much"]).stdout == host.exec(["sha256sum"], stdin=MUCH).stdout.replace(
        "-", "/srv/much"
    )
    assert host.read("/srv/little") == "한국 h1"
    settled = desk.provision("check", *typed)
    assert (settled.returncode, "No changes" in settled.stdout) == (0, True), settled.stdout + settled.stderr
    removed = desk.provision("teardown", "--yes", "--purge", *typed)
    assert removed.returncode == 0, removed.stdout + removed.stderr
    assert {name for name in host.listing() if name.startswith("/srv")} == {
        name for name in before if name.startswith("/srv")
    }


def test_a_host_that_is_not_there_is_told_in_a_sentence(desk: Desk) -> None:
    desk.machine.write("C:\\labs\\none.yml", INVENTORY.replace("ADDRESS", "127.0.0.1").replace("user: root", "port: 1"))
    desk.machine.write("C:\\labs\\key", "")
    desk.machine.write("C:\\labs\\known_hosts", "")
    done = desk.provision("check", "C:\\labs\\none.yml")
    told = done.stdout + done.stderr
    assert done.returncode in (1, 4), told
    assert "Traceback" not in told
    assert "unexpected" not in told
