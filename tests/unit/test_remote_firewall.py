"""The firewall resource on the Windows firewall: its rules in a registry, changed by a netsh as strict as Windows'."""

from __future__ import annotations

import ntpath
import re
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote.failure import Failure
from provisioner.remote.host import Host
from provisioner.remote.platforms.windows import firewall, rules
from provisioner.remote.platforms.windows.firewall import WindowsFirewall

from .firewall_stage import ADDRESSES, THEIRS, Machine, apply, blocked, machine, opening
from .remote_host import World, shown

__all__ = ["machine"]


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
    assert verbs == ["add"] * 4 + ["delete"] * 4


@pytest.mark.parametrize("ungrouped", [False, True])
def test_rules_are_put_into_a_group(ungrouped: bool, machine: Machine) -> None:
    """That they can't be is said, and is no difference: later, too."""
    machine.ungrouped = ungrouped
    said = opening().ensure(machine.host())
    assert said == "4 rules, in " + (
        "no group (Not implemented (0x80004001))" if ungrouped else "the group provision lab"
    )
    assert len({rules.one(rules.parse(text), "Name") for text in machine.ours()}) == 4, "by a name one rule is found"
    assert sum("|EmbedCtxt=provision lab|" in text for text in machine.ours()) == 4 * (not ungrouped)
    assert apply(machine, opening()) == []
    machine.ungrouped = not ungrouped
    assert apply(machine, opening()) == []
    opening().remove(machine.host())
    assert machine.rules == THEIRS


def test_rules_of_a_former_version_have_one_name_and_no_group(machine: Machine) -> None:
    apply(machine, opening())
    for key in set(machine.rules) - set(THEIRS):
        machine.rules[key] = re.sub(r"( [0-9a-f]{8}) \d\|", r"\1|", machine.rules[key]).replace(
            "EmbedCtxt=provision lab|", ""
        )
    assert apply(machine, opening()) == []
    apply(machine, opening(ports=[[7000, 7000]]))
    assert len(machine.ours()) == 4
    assert all("|EmbedCtxt=provision lab|" in text for text in machine.ours())


def test_rules_of_our_group_with_other_names_are_ours(machine: Machine) -> None:
    """Somebody has renamed one; a rule of that name for another program is not touched."""
    apply(machine, opening())
    key = next(key for key in machine.rules if key not in THEIRS)
    machine.rules[key] = re.sub(r"Name=[^|]*", "Name=Ray", machine.rules[key])
    machine.rules["{4}"] = r"v2.31|Action=Allow|Active=TRUE|Dir=In|App=C:\games\x.exe|Name=Ray|"
    opening().remove(machine.host())
    assert machine.rules == {**THEIRS, "{4}": machine.rules["{4}"]}


def test_programs_that_may_still_run_keep_their_rules(machine: Machine) -> None:
    """An upgrade leaves the rules of the environment that runs; those of one that is gone go with the next change."""
    apply(machine, opening())
    old = Path(machine.host().environment("e1")) / "Lib/site-packages/ray/core/src/ray/raylet/raylet.exe"
    old.parent.mkdir(parents=True)
    old.write_text("")
    found = apply(machine, opening(environment="e2"))
    assert found == [("add", "firewall: programs", "", "gcs_server.exe, python.exe, raylet.exe of 3.11.9-e2")]
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


def test_rules_that_shut_ports_are_only_named(machine: Machine) -> None:
    machine.rules["{9}"] = "v2.31|Action=Block|Active=TRUE|Dir=In|Protocol=6|LPort=6379|Name=our block|"
    host = machine.host()
    assert [each["action"] for each in opening().observe(host)] == ["add"]
    assert host.shared["shut ports"] == [("our block", "6379")]


@pytest.mark.parametrize("edit", [("Active=TRUE", "Active=FALSE"), ("Allow", "Block"), ("Protocol=6", "Protocol=17")])
def test_rules_that_were_edited(edit: tuple[str, str], machine: Machine) -> None:
    apply(machine, opening())
    key = next(key for key in machine.rules if key not in THEIRS)
    machine.rules[key] = machine.rules[key].replace(*edit)
    found = apply(machine, opening())
    assert ("change", "firewall rules", "edited or incomplete", "as declared") in found
    del machine.rules[next(key for key in machine.rules if key not in THEIRS)]
    assert [each[0] for each in apply(machine, opening())] == ["add"]
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
    found = WindowsFirewall(lambda *_: None, lambda _: {}, lambda *_: None).listeners(
        r"C:\p\env\e", r"C:\p\python\python.exe"
    )
    assert [ntpath.basename(path) for path in found] == ["python.exe", "raylet.exe", "gcs_server.exe", "python.exe"]
    assert found[1] == r"C:\p\env\e\Lib\site-packages\ray\core\src\ray\raylet\raylet.exe"
