"""A host with a Windows firewall: its rules in a dictionary, changed by a netsh as strict as Windows'."""

from __future__ import annotations

import ntpath
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote.failure import Failure
from provisioner.remote.host import Host
from provisioner.remote.platforms.windows import rules
from provisioner.remote.platforms.windows.firewall import WindowsFirewall
from provisioner.remote.resource import Resource

from ..winlab.host import advfirewall
from .remote_host import World, make, shown

ADDRESSES = ["10.0.0.1", "10.0.0.2"]
PORTS = [[6379, 6379], [10002, 10010]]
THEIRS = {
    "CoreNet-DHCP-In": "v2.31|Action=Allow|Active=TRUE|Dir=In|Protocol=17|LPort=68|RPort=67|Name=@dll,-25301|",
    "{1}": r"v2.31|Action=Block|Active=TRUE|Dir=In|Protocol=6|App=C:\games\python.exe|Name=Python|",
    "{2}": r"v2.31|Action=Allow|Active=TRUE|Dir=In|App=C:\games\x.exe|Name=provision lab 2|",
    "{3}": r"v2.31|Action=Allow|Active=TRUE|Dir=In|App=C:\o\raylet.exe|Name=provision lab-2 01234567|",
}


class Machine:
    """A host with a firewall; its folders are this machine's, its registry is a dictionary."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, privileged: bool = True) -> None:
        self.rules = dict(THEIRS)
        self.off = False
        self.starts: list[list[str]] = []
        self.scripts: list[str] = []
        self.silent = False
        self.ungrouped = False
        self._privileged = privileged
        self._world = World(folder)
        self.root = str(folder / "root")
        # the paths of this test are POSIX, those of rules are taken apart as Windows' are
        monkeypatch.setattr(ntpath, "join", lambda *parts: "/".join(parts).replace("\\", "/"))

    def host(self) -> Host:
        host = self._world.host()
        host.platform.firewall = lambda: WindowsFirewall(self._read, lambda key: dict(self.rules), self._group)  # type: ignore[method-assign]
        host.platform.run = self._run  # type: ignore[method-assign]
        host.platform.privileged = lambda: self._privileged  # type: ignore[method-assign]
        host.shared["interpreter"] = host.path("python", "3.11.9", "python.exe")
        host.folder()
        return host

    def _read(self, key: str, name: str) -> Any:
        return 4 if self.off and (key.rpartition("\\")[2], name) == ("mpssvc", "Start") else None

    def _run(self, argv: list[str], *_: Any, **__: Any) -> tuple[int, str]:
        self.starts.append(argv)
        if self.silent:
            return 0, ""
        assert argv[1] == "-f"
        self.scripts.append(Path(argv[2]).read_text("ascii"))
        return advfirewall.Netsh(self.rules).script(self.scripts[-1])

    def _group(self, names: list[str], group: str) -> None:
        """As INetFwRule.Grouping does, which finds one rule by a name."""
        if self.ungrouped:
            raise Failure("Not implemented (0x80004001)")
        found = {rules.one(rules.parse(text), "Name"): key for key, text in self.rules.items()}
        for name in names:
            self.rules[found[name]] += f"EmbedCtxt={group}|"

    def ours(self) -> list[str]:
        return sorted(text for key, text in self.rules.items() if key not in THEIRS)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def opening(addresses: list[str] = ADDRESSES, ports: list[list[int]] = PORTS, environment: str = "e1") -> Resource:
    return make("firewall", environment=environment, ports=ports, addresses=addresses)


def blocked(program: str, name: str = "Python") -> dict[str, str]:
    text = f"v2.33|Action=Block|Active=TRUE|Dir=In|Protocol=%s|Profile=Public|App={program}|Name={name}|Defer=User|"
    return {f"{kind} Query User{{A}}{program}": text % number for kind, number in (("TCP", 6), ("UDP", 17))}


def apply(machine: Machine, resource: Resource) -> list[tuple[str, str, str, str]]:
    """What differed; it is made, with one start of netsh, and then nothing differs."""
    found = shown(resource.observe(machine.host()))
    before = len(machine.starts)
    if found:
        resource.ensure(machine.host())
    assert resource.observe(machine.host()) == []
    assert len(machine.starts) == before + bool(found)
    assert not list(Path(machine.root).glob("**/firewall*"))
    return found
