"""Variables of a Mac: what the shell reads, and what launchd is told at every login."""

from __future__ import annotations

import plistlib
import pwd
from pathlib import Path

import pytest

from provisioner.remote.platforms.macos import Macos, launchctl
from provisioner.remote.platforms.macos.launchctl import Launchctl
from provisioner.remote.platforms.macos.variables import LoginVariables

from .mac_host import Launchd, Mac, host_of
from .remote_host import make, shown

NAME = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


class Login(Mac):
    """A Mac whose variables are in a folder."""

    def __init__(self, folder: Path, model: Launchd) -> None:
        super().__init__({launchctl.PROGRAM: model})
        self.file = folder / "zshenv"
        self.agents = folder / "Library" / "LaunchAgents"

    def variables(self, place: str = "") -> LoginVariables:
        return LoginVariables(str(self.file), str(self.agents), Launchctl(self))

    def login_account(self) -> str:
        return "root"


@pytest.mark.parametrize(
    ("shell", "launchd", "folder"),
    [
        (None, None, False),
        ("export OTHER=1\n", None, True),
        (f"export {NAME}=0\nexport OTHER=1\n", "0", True),
        (f"export {NAME}=1\n", None, True),
    ],
    ids=["nothing there", "another there", "another value there", "the same, for shells only"],
)
def test_a_variable_is_set_once_and_put_back(
    shell: str | None, launchd: str | None, folder: bool, tmp_path: Path
) -> None:
    model = Launchd()
    model.variables = {NAME: launchd} if launchd else {}
    before = dict(model.variables)
    mac = Login(tmp_path, model)
    if shell is not None:
        mac.file.write_text(shell)
    if folder:
        mac.agents.mkdir(parents=True)
    task = make("variable", name=NAME, value="1")
    host = host_of(mac, tmp_path / "root")
    assert len(task.observe(host)) == 1
    task.ensure(host)
    assert make("variable", name=NAME, value="1").observe(host_of(mac, tmp_path / "root")) == []
    keys = plistlib.loads((mac.agents / f"provision.variable.{NAME}.plist").read_bytes())
    assert keys == {
        "Label": f"provision.variable.{NAME}",
        "ProgramArguments": ["/bin/launchctl", "setenv", NAME, "1"],
        "RunAtLoad": True,
    }
    assert f"export {NAME}=1\n" in mac.file.read_text()
    assert model.variables == {NAME: "1"}
    task = make("variable", name=NAME, value="1")
    assert shown(task.traces(host)) == [("remove", f"variable {NAME} in {mac.file}", "1", "")]
    task.remove(host)
    assert (mac.file.read_text() if mac.file.exists() else None) == shell
    assert mac.agents.exists() == folder
    assert not folder or list(mac.agents.iterdir()) == []
    assert model.variables == before
    assert make("variable", name=NAME, value="1").traces(host) == []


def test_looking_starts_no_program(tmp_path: Path) -> None:
    mac = Login(tmp_path, Launchd())
    mac.variables().keep(NAME)
    mac.variables().set(NAME, "1")
    mac.ran.clear()
    assert mac.variables().get(NAME) == "1"
    assert mac.ran == []


@pytest.mark.parametrize("content", [b"", b"no plist", b'<?xml version="1.0"?><plist version="1.0"><array/></plist>'])
def test_a_damaged_agent_is_written_again(content: bytes, tmp_path: Path) -> None:
    mac = Login(tmp_path, Launchd())
    mac.variables().keep(NAME)
    mac.variables().set(NAME, "1")
    (mac.agents / f"provision.variable.{NAME}.plist").write_bytes(content)
    assert mac.variables().get(NAME) is None
    mac.variables().set(NAME, "1")
    assert mac.variables().get(NAME) == "1"


@pytest.mark.parametrize(
    ("shell", "privileged", "path"),
    [
        ("/bin/zsh", True, "/etc/zshenv"),
        ("/bin/bash", True, "/etc/profile"),
        ("/bin/zsh", False, "/Users/ray/.zshenv"),
        ("/opt/homebrew/bin/zsh", False, "/Users/ray/.zshenv"),
        ("/bin/bash", False, "/Users/ray/.profile"),
    ],
)
def test_the_file_is_the_one_that_the_shell_reads(
    shell: str, privileged: bool, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = pwd.struct_passwd(("ray", "x", 501, 20, "Ray", "/Users/ray", shell))
    monkeypatch.setattr(pwd, "getpwnam", lambda name: entry)
    monkeypatch.setenv("HOME", "/Users/ray")
    mac: Macos = Mac({}, privileged)
    monkeypatch.setattr(mac, "login_account", lambda: "ray")
    assert mac.variables().path == path


def test_a_sandbox_keeps_its_variables_to_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PROVISION_SANDBOX", "1")
    mac = Mac({}, privileged=False)
    mac.variables().keep(NAME)
    mac.variables().set(NAME, "1")
    assert (tmp_path / ".profile").read_text() == f"export {NAME}=1\n"
    assert mac.ran == []
