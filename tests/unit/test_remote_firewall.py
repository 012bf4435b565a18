"""The firewall resource on the Windows firewall: its rules in a registry, changed by a netsh as strict as Windows'."""

from __future__ import annotations

import ntpath
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote.failure import Failure
from provisioner.remote.handout import Handout
from provisioner.remote.host import Host
from provisioner.remote.platforms.windows import firewall
from provisioner.remote.platforms.windows.firewall import WindowsFirewall
from provisioner.remote.resource import Resource

from ..winlab.host import advfirewall
from .ray_stage import free_port
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
        self._privileged = privileged
        self._world = World(folder)
        self.root = str(folder / "root")
        # the paths of this test are POSIX, those of rules are taken apart as Windows' are
        monkeypatch.setattr(ntpath, "join", lambda *parts: "/".join(parts).replace("\\", "/"))

    def host(self) -> Host:
        host = self._world.host()
        host.platform.firewall = lambda: WindowsFirewall(self._read, lambda key: dict(self.rules))  # type: ignore[method-assign]
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


def test_there_and_back(machine: Machine) -> None:
    assert opening().traces(machine.host()) == []
    assert apply(machine, opening()) == [
        ("add", "firewall rules", "", "gcs_server.exe, 2 x python.exe, raylet.exe for 10.0.0.1-10.0.0.2")
    ]
    assert len(machine.ours()) == 4
    for text in machine.ours():
        assert "|LPort=6379|LPort2_10=10002-10010|RA4=10.0.0.1-10.0.0.2|" in text
        assert f"|App={machine.root}/" in text
    assert shown(opening().traces(machine.host())) == [
        ("remove", "firewall rules", "gcs_server.exe, 2 x python.exe, raylet.exe", "")
    ]
    opening().remove(machine.host())
    assert machine.rules == THEIRS
    assert machine.host().marker.entries == {}
    starts = len(machine.starts)
    assert opening().remove(machine.host()) == ""
    assert len(machine.starts) == starts, "nothing is started for nothing"


CHANGES: list[tuple[str, dict[str, Any], tuple[str, str, str]]] = [
    ("a member joins", {"addresses": [*ADDRESSES, "10.0.0.9"]},
     ("firewall: who may connect", "10.0.0.1-10.0.0.2", "10.0.0.1-10.0.0.2,10.0.0.9")),
    ("a member leaves", {"addresses": ADDRESSES[:1]}, ("firewall: who may connect", "10.0.0.1-10.0.0.2", "10.0.0.1")),
    ("another port", {"ports": [[7000, 7000]]}, ("firewall: ports", "6379,10002-10010", "7000")),
]  # fmt: skip


@pytest.mark.parametrize(("change", "told"), [case[1:] for case in CHANGES], ids=[case[0] for case in CHANGES])
def test_what_changes(change: dict[str, Any], told: tuple[str, str, str], machine: Machine) -> None:
    apply(machine, opening())
    assert apply(machine, opening(**change)) == [("change", *told)]
    assert len(machine.ours()) == 4


def test_nobody_is_cut_off_by_a_change(machine: Machine) -> None:
    """The new rules are there before the old ones go."""
    apply(machine, opening())
    opening(addresses=[*ADDRESSES, "10.0.0.9"]).ensure(machine.host())
    verbs = [line.split()[2] for line in machine.scripts[-1].splitlines()]
    assert verbs == ["add"] * 4 + ["delete"]


def test_programs_that_may_still_run_keep_their_rules(machine: Machine) -> None:
    """An upgrade leaves the rules of the environment that runs; those of one that is gone go with the next change."""
    apply(machine, opening())
    old = Path(machine.host().environment("e1")) / "Lib/site-packages/ray/core/src/ray/raylet/raylet.exe"
    old.parent.mkdir(parents=True)
    old.write_text("")
    found = apply(machine, opening(environment="e2"))
    assert [each[:2] for each in found] == [("change", "firewall: programs")]
    assert sum("-e1/" in text for text in machine.ours()) == 1
    assert len(machine.ours()) == 5
    old.unlink()
    assert opening(environment="e2").observe(machine.host()) == []
    apply(machine, opening(environment="e2", ports=[[7000, 7000]]))
    assert len(machine.ours()) == 4


def test_rules_that_shut_our_programs_go(machine: Machine) -> None:
    apply(machine, opening())
    ours = f"{machine.root}/env/3.11.9-e1/Lib/site-packages/ray/core/src/ray/raylet/raylet.exe"
    machine.rules.update(blocked(ours, "raylet.exe"))
    allowed = machine.ours()
    assert apply(machine, opening()) == [("remove", "firewall rule raylet.exe", f"keeps others from {ours}", "")]
    assert [text for text in allowed if "Block" not in text] == machine.ours()
    assert len(machine.scripts[-1].splitlines()) == 1, "ours are left as they are"


@pytest.mark.parametrize("name", ["파이썬", 'the "raylet"'])
def test_rules_whose_name_no_script_can_hold(name: str, machine: Machine) -> None:
    machine.rules.update(blocked(f"{machine.root}/python/3.11.9/python.exe", name))
    found = apply(machine, opening())
    assert {each[0] for each in found} == {"add", "remove"}
    assert len(machine.ours()) == 4


def test_rules_that_shut_programs_of_others_are_only_named(machine: Machine) -> None:
    theirs = r"C:\Python311\python.exe"
    machine.rules.update(blocked(theirs))
    host = machine.host()
    host.shared["interpreter"] = theirs
    found = opening().observe(host)
    assert [each["action"] for each in found] == ["add"]
    assert host.shared["shut programs"] == [theirs]


@pytest.mark.parametrize("edit", [("Active=TRUE", "Active=FALSE"), ("Allow", "Block"), ("Protocol=6", "Protocol=17")])
def test_rules_that_were_edited(edit: tuple[str, str], machine: Machine) -> None:
    apply(machine, opening())
    key = next(key for key in machine.rules if key not in THEIRS)
    machine.rules[key] = machine.rules[key].replace(*edit)
    found = apply(machine, opening())
    assert ("change", "firewall rules", "edited or incomplete", "as declared") in found
    del machine.rules[next(key for key in machine.rules if key not in THEIRS)]
    assert [each[0] for each in apply(machine, opening())] == ["change"]
    assert len(machine.ours()) == 4


def test_many_members(machine: Machine) -> None:
    apply(machine, opening([f"10.{number}.0.1" for number in range(200)]))
    assert len(machine.ours()) == 4 * 9
    assert max(map(len, machine.scripts[-1].splitlines())) < 1000


def test_a_firewall_that_is_off(machine: Machine) -> None:
    machine.off = True
    assert opening().observe(machine.host()) == []


def test_a_firewall_that_does_not_take_rules(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firewall, "SETTLE_LIMIT", 0.0)
    machine.silent = True
    with pytest.raises(Failure, match="the firewall's rules are not what they should be"):
        opening().ensure(machine.host())


def test_an_address_that_is_a_name_never_means_anybody(machine: Machine) -> None:
    with pytest.raises(Failure, match="not all of these are addresses: w1"):
        opening(["w1.lab"]).observe(machine.host())


def test_without_the_right_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing differs that could be changed; what is missing is left to be named, and nothing more when it is there."""
    machine = Machine(tmp_path, monkeypatch, privileged=False)
    host = machine.host()
    assert opening().observe(host) == []
    assert host.shared["needs elevation"] == ["open the firewall for the cluster's other hosts"]
    opening().ensure(machine.host())
    host = machine.host()
    assert opening().observe(host) == []
    assert "needs elevation" not in host.shared
    assert opening().traces(host) == []
    assert host.shared["needs elevation"] == ["close the firewall again"]


def test_where_there_is_no_firewall_of_ours(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert opening().observe(world.host()) == []
    assert opening().ensure(world.host()) == ""
    assert opening().traces(world.host()) == []
    assert opening().remove(world.host()) == ""


def test_files_are_handed_out_through_a_rule_of_their_own(machine: Machine) -> None:
    """It is there while a run lasts; one that broke off leaves it to the next, or to a teardown."""
    apply(machine, opening())
    gate = machine.host().platform.firewall()
    assert gate is not None
    before = dict(machine.rules)
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as listener:  # who hands out files listens first
            port = listener.getsockname()[1]
            gate.lend(machine.host(), port, ADDRESSES)
            (lent,) = (text for key, text in machine.rules.items() if key not in before)
            assert f"|LPort={port}|RA4=10.0.0.1-10.0.0.2|App={sys.executable}|Name=provision lab files|" in lent
            assert opening().observe(machine.host()) == []
    gate.reclaim(machine.host())
    assert machine.rules == before
    starts = len(machine.starts)
    gate.reclaim(machine.host())
    assert len(machine.starts) == starts
    gate.lend(machine.host(), free_port(), ADDRESSES)
    opening().remove(machine.host())
    assert machine.rules == THEIRS


FORGOTTEN = ("remove", "firewall rule provision lab files", "lets others fetch files from a run that broke off", "")


@pytest.mark.parametrize("opened", [True, False], ids=["rules as they should be", "no rules yet"])
def test_what_a_run_that_broke_off_has_lent_goes_with_the_next(opened: bool, machine: Machine) -> None:
    if opened:
        apply(machine, opening())
    before = dict(machine.rules)
    gate = machine.host().platform.firewall()
    assert gate is not None
    gate.lend(machine.host(), free_port(), ADDRESSES)
    assert shown(opening().traces(machine.host()))[-1] == FORGOTTEN
    found = apply(machine, opening())
    assert found[-1] == FORGOTTEN
    assert not any("Name=provision lab files|" in text for text in machine.ours())
    assert not opened or machine.rules == before


def test_what_a_teardown_finds_of_a_run_that_broke_off(machine: Machine) -> None:
    gate = machine.host().platform.firewall()
    assert gate is not None
    gate.lend(machine.host(), free_port(), ADDRESSES)
    assert shown(opening().traces(machine.host())) == [FORGOTTEN]
    opening().remove(machine.host())
    assert machine.rules == THEIRS


def test_what_is_lent_stays_while_files_are_handed_out(machine: Machine) -> None:
    host = machine.host()
    host.node_ip = "127.0.0.1"
    server = Handout(host, {"files": [], "members": ADDRESSES, "token": "t", "port": 0})
    assert opening().traces(machine.host()) == []
    opening().ensure(machine.host())
    assert sum("Name=provision lab files|" in text for text in machine.ours()) == 1
    server.close()
    assert len(machine.ours()) == 4


@pytest.mark.parametrize("privileged", [True, False])
def test_the_rule_lasts_as_long_as_files_are_handed_out(
    privileged: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path, monkeypatch, privileged)
    host = machine.host()
    host.node_ip = "127.0.0.1"
    server = Handout(host, {"files": [], "members": ADDRESSES, "token": "t", "port": 0})
    assert [f"|LPort={server.port}|" in text for text in machine.ours()] == [True] * privileged
    server.close()
    assert machine.rules == THEIRS


def test_an_interpreter_whose_path_no_script_can_hold(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not named: the port, which is open for as long as the run lasts, and the addresses are."""
    monkeypatch.setattr(sys, "executable", r"C:\Users\홍길동\.provision\python\python.exe")
    gate = machine.host().platform.firewall()
    assert gate is not None
    gate.lend(machine.host(), 7000, ADDRESSES)
    (lent,) = machine.ours()
    assert "|App=" not in lent


def test_an_interpreter_of_somebody_with_a_name_beyond_ascii(machine: Machine) -> None:
    """Its rule is for all programs, and goes when it is not needed any more; a rule that shuts it is only named."""
    theirs = r"C:\Users\홍길동\python.exe"
    machine.rules.update(blocked(theirs))

    def host() -> Host:
        made = machine.host()
        made.shared["interpreter"] = theirs
        return made

    (added,) = opening().observe(host())
    assert added["after"] == "any program, gcs_server.exe, python.exe, raylet.exe for 10.0.0.1-10.0.0.2"
    opening().ensure(host())
    here = host()
    assert opening().observe(here) == []
    assert here.shared["shut programs"] == [theirs]
    assert sum("|App=" not in text for text in machine.ours()) == 1
    for key in blocked(theirs):
        del machine.rules[key]
    assert apply(machine, opening())[0][:2] == ("change", "firewall: programs")
    assert all("|App=" in text for text in machine.ours())


def test_listeners_are_those_of_the_environment_and_its_interpreter() -> None:
    found = WindowsFirewall(lambda *_: None, lambda _: {}).listeners(r"C:\p\env\e", r"C:\p\python\python.exe")
    assert [ntpath.basename(path) for path in found] == ["python.exe", "raylet.exe", "gcs_server.exe", "python.exe"]
    assert found[1] == r"C:\p\env\e\Lib\site-packages\ray\core\src\ray\raylet\raylet.exe"
