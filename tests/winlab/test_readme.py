"""The quick start for Windows machines in both READMEs, typed as it stands there: on the machines, and where you sit.

The account, the key's place and all commands are the README's; only the three addresses and the public key are others.
Interpreters come from a folder in place of the internet, as a setting of uv has it.
"""

from __future__ import annotations

import base64
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..lab.command import Provision
from ..unit.test_readme import LANGUAGES, TOP, blocks, without_comments
from .fixtures import StandInFactory
from .stand_in import StandIn, StandIns

NOT_RUN = {
    "Add-WindowsCapability -Online -Name OpenSSH.Server~~~~0.0.1.0": "a stand-in has no optional features of Windows",
    "Set-Service sshd -StartupType Automatic": "a stand-in has no services, and its server starts with it",
    "Start-Service sshd": "a stand-in has no services",
    "if (-not (Get-NetFirewallRule -Name OpenSSH-Server-In-TCP -ErrorAction SilentlyContinue)) "
    "{ New-NetFirewallRule -Name OpenSSH-Server-In-TCP -DisplayName 'OpenSSH Server (sshd)' "
    "-Direction Inbound -Protocol TCP -LocalPort 22 -Action Allow }": "a stand-in filters nothing",
    "Set-NetFirewallRule -Name OpenSSH-Server-In-TCP -Enabled True -Profile Any -RemoteAddress LocalSubnet": (
        "a stand-in filters nothing"
    ),
    "powercfg /change standby-timeout-ac 0": "a stand-in never sleeps",
    "powercfg /change hibernate-timeout-ac 0": "a stand-in never sleeps",
}
"""Lines for the machines that can't be run on a stand-in, and why; their syntax is that of Microsoft's references
(dism, microsoft.powershell.management, netsecurity, powercfg command-line options)."""
RUN = {
    "Add-Content C:\\ProgramData\\ssh\\administrators_authorized_keys 'ssh-ed25519 AAAA... you@yours' -Encoding ascii",
    "icacls C:\\ProgramData\\ssh\\administrators_authorized_keys /inheritance:r /grant '*S-1-5-32-544:F' '*S-1-5-18:F'",
    "reg add HKLM\\SYSTEM\\CurrentControlSet\\Control\\FileSystem /v LongPathsEnabled /t REG_DWORD /d 1 /f",
}
KEYS = r"C:\ProgramData\ssh\administrators_authorized_keys"
PLACEHOLDER = "ssh-ed25519 AAAA... you@yours"
USER = "kim"
CODES = {"check --accept-new-host-keys": 2, "apply": 0, "check --verbose": 0}
"""How the commands end: a first check finds that everything is missing."""


def section(name: str) -> str:
    """Return the README's section about Windows machines: the one with lines for PowerShell."""
    parts = re.split(r"(?m)^## ", (TOP / name).read_text(encoding="utf-8"))
    (found,) = (part for part in parts if "```powershell" in part)
    return found


def commands(name: str) -> list[str]:
    """Return what is typed on the controller, in order."""
    lines = [line.strip() for line in section(name).splitlines() if line.startswith("    provision ")]
    return [re.split(r"\s{2,}#", line)[0] for line in lines]


def asides(name: str) -> list[str]:
    """Return commands that stand in the middle of a sentence."""
    return re.findall(r"`(ssh(?:-keygen)? [^`]+)`", section(name))


@pytest.mark.parametrize("name", LANGUAGES)
def test_every_line_for_the_machines_is_run_or_listed(name: str) -> None:
    (block,) = blocks(name, "powershell")
    assert {without_comments(line) for line in block.splitlines()} == RUN | NOT_RUN.keys()


def test_both_languages_say_to_type_the_same() -> None:
    english, korean = LANGUAGES
    assert commands(english) == commands(korean)
    assert sorted(asides(english)) == sorted(asides(korean))
    for language in ("powershell", "yaml"):
        told = [re.findall(rf"(?ms)^```{language}\n(.*?)^```$", section(name)) for name in LANGUAGES]
        assert [without_comments(block) for block in told[0]] == [without_comments(block) for block in told[1]]


@dataclass(frozen=True)
class Desk:
    """Where somebody follows the README: a home folder with a key, an empty folder, and three machines."""

    home: Path
    machines: Sequence[StandIn]
    env: dict[str, str]

    @property
    def folder(self) -> Path:
        return self.home / "work"

    def type(self, line: str, *more: str, limit: float = 280) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*shlex.split(line), *more], cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, capture_output=True,
            encoding="utf-8", timeout=limit, check=False,
        )  # fmt: skip

    def addressed(self, text: str) -> str:
        """Return a text with the addresses of the machines in place of those in the README."""
        for number, machine in enumerate(self.machines, 101):
            text = text.replace(f"192.168.0.{number}", machine.ip)
        assert "192.168." not in text
        return text


@pytest.fixture
def desk(stand_ins: StandInFactory, winlab: StandIns, provision: Provision, tmp_path: Path) -> Desk:
    machines = [
        *stand_ins(1, python=False, user=USER, shell="powershell", codepage=949),
        *stand_ins(2, python=False, user=USER),
    ]
    key = winlab.lab.golden.key
    for file, mode in ((key, 0o600), (key.with_name(f"{key.name}.pub"), 0o644)):
        target = tmp_path / ".ssh" / ("id_ed25519" + file.name.removeprefix(key.name))
        target.parent.mkdir(mode=0o700, exist_ok=True)
        target.write_bytes(file.read_bytes())
        target.chmod(mode)
    (tmp_path / "work").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "SSH_"))}
    env = {
        **kept,
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PROVISION_CACHE": str(provision.cache),
        "UV_PYTHON_INSTALL_MIRROR": winlab.golden.mirror,
    }
    return Desk(tmp_path, machines, env)


def power_shell(machine: StandIn, line: str) -> subprocess.CompletedProcess[str]:
    """Type a line into the PowerShell of a machine."""
    encoded = base64.b64encode(line.encode("utf-16-le")).decode("ascii")
    return machine.exec(["powershell", "-NoProfile", "-EncodedCommand", encoded], check=False)


def set_up(desk: Desk, machine: StandIn) -> None:
    """Do once on a machine what the README says; what is not run there is read all the same."""
    machine.path(KEYS).unlink()
    assert machine.ssh("whoami", check=False).returncode == 255
    public = (desk.home / ".ssh/id_ed25519.pub").read_text(encoding="utf-8").strip()
    (block,) = blocks(LANGUAGES[0], "powershell")
    for line in block.splitlines():
        said = power_shell(machine, line.replace(PLACEHOLDER, public))
        if without_comments(line) in NOT_RUN:
            assert said.returncode == 0 or "this PowerShell is not simulated" in said.stderr, said.stderr
        else:
            assert said.returncode == 0, said.stdout + said.stderr
    assert "ssh kim@192.168.0.101 whoami" in asides(LANGUAGES[0])
    assert machine.ssh("whoami").stdout.strip().endswith("\\kim")
    may = [line.replace(KEYS, "").strip() for line in machine.ssh(f"icacls {KEYS}").stdout.splitlines()]
    who = sorted(line for line in may if ":(" in line)
    assert who == ["BUILTIN\\Administrators:(F)", "NT AUTHORITY\\SYSTEM:(F)"]


def test_the_quick_start(desk: Desk) -> None:
    for machine in desk.machines:
        set_up(desk, machine)
    (inventory,) = re.findall(r"(?ms)^```yaml\n(.*?)^```$", section(LANGUAGES[0]))
    (desk.folder / "lab.yml").write_text(desk.addressed(inventory), encoding="utf-8")
    said = {}
    for line in commands(LANGUAGES[0]):
        _, verb, _, *flags = line.split()
        answer = desk.type(line)
        named = " ".join([verb, *flags])
        assert answer.returncode == CODES[named], f"{line}: {answer.stdout}{answer.stderr}"
        said[named] = answer.stdout
    for name in ("pc-01", "pc-02", "pc-03"):
        assert re.search(rf"(?m)^.*{name}\b.*Windows", said["apply"]), said["apply"]
        assert f"{name}: fine: the session is an administrator's" in said["check --verbose"]
