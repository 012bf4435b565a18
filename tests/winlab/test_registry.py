"""What is kept in a Windows machine's registry: variables, firewall rules, and what may be amiss on it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ..lab.command import Provision, Result
from ..lab.inventories import write_inventory
from ..lab.listing import changes
from .fixtures import StandInFactory
from .stand_in import StandIn

MACHINE = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment"
VARIABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
PLAYBOOK = f"""\
- play: Prepare every host
  hosts: all
  tasks:
    - name: Provide Python
      python: {{}}
    - name: Variable
      variable: {{name: {VARIABLE}, value: "1"}}
    - name: Let the cluster's hosts in
      firewall: {{}}
"""
POWER = r"HKLM\SYSTEM\CurrentControlSet\Control\Power\User\PowerSchemes"
SCHEME = "381b4222-f694-41f0-9685-ff5bb260df2e"
STANDBY = r"238c9fa8-0aad-41ed-83f4-97be242c8f20\29f6c1db-86da-48c5-9fdb-f2b67b1f44da"


class Room:
    """One stand-in and what is declared of it; more members may be declared than there are."""

    def __init__(self, host: StandIn, provision: Provision, folder: Path) -> None:
        self.host = host
        self._provision = provision
        self._folder = folder
        (folder / "play.yml").write_text(PLAYBOOK, encoding="utf-8")
        self.declare()

    def declare(self, *addresses: str) -> None:
        """Declare workers with these addresses beside the stand-in."""
        self.inventory = write_inventory(
            self._folder / "lab.yml", "lab", [self.host], **self.host.declared,
            workers={f"x{number}": {"address": address} for number, address in enumerate(addresses)},
        )  # fmt: skip

    def __call__(self, verb: str, *flags: str) -> Result:
        limit = [] if verb == "teardown" else ["--limit", self.host.name]
        playbook = ["--playbook", str(self._folder / "play.yml")]
        return self._provision(verb, self.inventory, *playbook, *limit, *flags)

    def apply(self) -> str:
        result = self("apply", "--yes")
        assert result.code == 0, result.out + result.err
        return result.out

    def value(self, name: str, key: str = MACHINE) -> str:
        """A value as ``reg query`` shows it: type and data."""
        lines = self.host.exec(["reg", "query", key, "/v", name], check=False).stdout.splitlines()
        return next((" ".join(line.split()[1:]) for line in lines if line.split()[:1] == [name]), "")

    def ours(self) -> list[dict[str, list[str]]]:
        return [rule for rule in self.host.firewall() if rule["Name"][0].startswith("provision lab ")]


@pytest.fixture(scope="module")
def host(module_stand_ins: StandInFactory) -> StandIn:
    return module_stand_ins(codepage=949, python=False)[0]


@pytest.fixture
def room(host: StandIn, provision: Provision, tmp_path: Path) -> Room:
    return Room(host, provision, tmp_path)


def test_there_and_back(room: Room) -> None:
    """Types and data, absence and others' rules: the end is the beginning. A run without changes is one exec."""
    host = room.host
    host.exec(["reg", "add", MACHINE, "/v", VARIABLE, "/t", "REG_EXPAND_SZ", "/d", r"%SystemRoot%\x", "/f"])
    host.ssh("netsh advfirewall firewall add rule name=theirs dir=in action=allow protocol=tcp localport=80")
    before, value = host.listing(), room.value(VARIABLE)
    assert value.startswith("REG_EXPAND_SZ ")
    first = room.apply()
    assert rf"variable {VARIABLE} in {MACHINE}: C:\Windows\x -> 1" in first
    assert room.value(VARIABLE) == "REG_SZ 1"
    assert len(room.ours()) == 4
    seen = host.sshd_log()
    assert "No changes" in room.apply()
    since = host.sshd_log().since(seen)
    assert (since.connections, since.commands) == (1, 1)
    result = room("teardown", "--yes", "--purge")
    assert result.code == 0, result.out + result.err
    assert room.value(VARIABLE) == value
    assert changes(before, host.listing()) == []
    host.exec(["reg", "delete", MACHINE, "/v", VARIABLE, "/f"])


def test_windows_is_known_behind_another_greeting(room: Room) -> None:
    """As with a server that was built by somebody else: its SFTP tells, also when all is there already."""
    with room.host.other_greeting():
        assert room("apply", "--yes").code == 0
        seen = room.host.sshd_log()
        assert "No changes" in room.apply()
        assert room.host.sshd_log().since(seen).connections == 1


def test_who_joins_changes_the_rules_and_nothing_else(room: Room) -> None:
    room.apply()
    room.declare("10.99.9.250", "10.99.9.251")
    told = room.apply()
    assert f"~ firewall: who may connect: {room.host.ip} -> {room.host.ip},10.99.9.250-10.99.9.251" in told
    assert "ok=2 changed=1" in told
    assert {tuple(rule["RA4"]) for rule in room.ours()} == {(room.host.ip, "10.99.9.250-10.99.9.251")}
    assert len(room.ours()) == 4


def test_a_rule_that_shuts_our_program_goes_and_others_stay(room: Room) -> None:
    room.apply()
    kept = room.ours()
    python = r"C:\provision\lab\python\3.11.9\python.exe"
    block = "netsh advfirewall firewall add rule name={} dir=in action=block protocol=tcp program={}"
    room.host.ssh(block.format("Python", python))
    room.host.ssh(block.format("Python", r"C:\theirs\python.exe"))
    checked = room("check")
    assert checked.code == 2
    assert f"- firewall rule Python: keeps others from {python}" in checked.out
    room.apply()
    blocks = [rule["App"] for rule in room.host.firewall() if rule["Action"] == ["Block"]]
    assert blocks == [[r"C:\theirs\python.exe"]]
    assert room.ours() == kept


def test_what_a_killed_run_left_goes_with_the_next(room: Room) -> None:
    room.apply()
    left = (
        'netsh advfirewall firewall add rule name="provision lab files" dir=in action=allow protocol=tcp localport=5999'
    )
    room.host.ssh(left)
    checked = room("check")
    assert checked.code == 2
    assert "- firewall rule provision lab files: lets others fetch files from a run that broke off" in checked.out
    room.apply()
    assert len(room.ours()) == 4
    assert all(re.fullmatch(r"provision lab [0-9a-f]{8} \d", rule["Name"][0]) for rule in room.ours())


def test_what_is_amiss_is_said_before_anything_is_changed(room: Room) -> None:
    room.host.exec(["reg", "add", POWER, "/v", "ActivePowerScheme", "/d", SCHEME, "/f"])
    key = rf"{POWER}\{SCHEME}\{STANDBY}"
    room.host.exec(["reg", "add", key, "/v", "ACSettingIndex", "/t", "REG_DWORD", "/d", "1800", "/f"])
    told = room("check", "--verbose").out
    assert f"{room.host.name}: note: the machine goes to sleep after 30 min without anybody at it" in told
    assert "  -> as administrator: powercfg /change standby-timeout-ac 0" in told
    assert f"{room.host.name}: note: paths end at 260 characters" in told
    assert f"{room.host.name}: fine: the session is an administrator's, with all rights" in told
    quiet = room("check").out
    assert "goes to sleep" in quiet
    assert "fine:" not in quiet
    found = json.loads(room("check", "--json").out)["hosts"][room.host.name]["findings"]
    assert [each["severity"] for each in found].count("notice") == 2
