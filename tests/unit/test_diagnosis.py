"""The doctor's judgement: facts of a host in, causes out; what came of connections in, whose fault it is out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provisioner.diagnosis import judge, paths
from provisioner.inventory.model import Inventory
from provisioner.report.doctor import Diagnosis, Finding, as_json, told

from .inventories import TOP, load

GIB = 1 << 30


def lab(folder: Path) -> Inventory:
    workers = "workers: {w1: {address: 10.0.0.2}, w2: {address: 10.0.0.3}}\n"
    return load(folder / "lab.yml", TOP + "head: {h1: {address: 10.0.0.1}}\n" + workers)


WELL: dict[str, Any] = {
    "clock": 1.8e9, "address": {"node_ip": "10.0.0.2", "own": ["10.0.0.2"], "problem": "", "remedy": ""},
    "service": {"defined": True, "enabled": True, "active": True, "failing": False, "restarts": 0, "flaws": []},
    "spec": {"versions": {"python": "3.11.9", "ray": "2.60.0"}}, "environment": True, "token": [], "log": ["a", "b"],
    "signs": [], "disk": {"/": {"free": 50 * GIB, "total": 100 * GIB}}, "mtu": {"eth0": 1500}, "findings": [],
    "unknown": {},
}  # fmt: skip
DOWN = {**WELL["service"], "active": False}


def judged(folder: Path, offset: float = 0.0, member: bool = False, **facts: Any) -> list[tuple[str, str, str]]:
    inventory = lab(folder)
    seen = judge.Seen(inventory.hosts[1], {**WELL, **facts}, offset, member)
    return [(each.kind, each.area, each.message) for each in judge.judge(inventory, seen)]


@pytest.mark.parametrize(
    ("facts", "first"),
    [
        ({"member": True}, None),
        ({"service": DOWN}, ("cause", "service", "the service is stopped")),
        ({"address": {"problem": "node_ip 10.0.0.2 is not an address of this host", "remedy": "x"}, "service": DOWN},
         ("cause", "address", "node_ip 10.0.0.2 is not an address of this host")),
        ({"offset": -120.0}, ("cause", "clock", "its clock is 120 s behind this machine's")),
        ({"offset": 45.4, "member": True}, ("cause", "clock", "its clock is 45 s ahead of this machine's")),
        ({"offset": 20.0, "member": True}, None),
        ({"spec": None, "service": {**DOWN, "defined": False}},
         ("cause", "service", "no Ray of this cluster is set up here")),
        ({"spec": {"versions": {"python": "3.11.9", "ray": "2.55.0"}}},
         ("cause", "versions", "it runs ray 2.55.0, the inventory says 2.60.0")),
        ({"spec": {"versions": {"python": "3.11.2", "ray": "2.60.0"}}},
         ("cause", "versions", "it runs python 3.11.2, the inventory says 3.11.9")),
        ({"environment": False}, ("cause", "versions", "the environment that Ray runs out of is not there any more")),
        ({"token": [["Ray's token", "missing", "ab12"]]}, ("cause", "token", "Ray's token: missing in place of ab12")),
        ({"service": {**WELL["service"], "flaws": [["service ray-lab: RestartSec", "50", "5"]]}, "member": True},
         ("cause", "service", "service ray-lab: RestartSec: 50 in place of 5")),
        ({"service": {**DOWN, "failing": True, "restarts": 7}},
         ("symptom", "service", "the service ends again and again (7 starts)")),
        ({}, ("symptom", "service", "the service runs, and the head does not know the node")),
        ({"disk": {"/": {"free": 10, "total": 100 * GIB}}, "member": True},
         ("cause", "disk", "/ has 0.0 GiB left: Ray gives a node no work whose disk is 95 % full")),
        ({"disk": {"/": {"free": 4 * GIB, "total": 100 * GIB}}, "member": True},
         ("note", "disk", "/ has 4.0 GiB left: Ray gives a node no work whose disk is 95 % full")),
        ({"findings": [{"severity": "notice", "message": "it goes to sleep", "remedy": "x"},
                       {"severity": "fine", "message": "all is well", "remedy": ""}], "member": True},
         ("note", "machine", "it goes to sleep")),
        ({"unknown": {"disk": "no permission"}, "member": True},
         ("note", "examination", "disk could not be looked at: no permission")),
    ],
)  # fmt: skip
def test_the_cause_comes_first(tmp_path: Path, facts: dict[str, Any], first: tuple[str, str, str] | None) -> None:
    found = judged(tmp_path, **facts)
    assert (found[0] if found else None) == first
    if facts.get("member"):
        assert len(found) <= 1


def test_a_stopped_service_is_no_cause_where_there_is_a_better_one(tmp_path: Path) -> None:
    failing = {**DOWN, "failing": True, "restarts": 3}
    found = judged(tmp_path, service=failing, token=[["Ray's token", "missing", "ab12"]], log=list("abcdef"))
    assert [each[:2] for each in found] == [("cause", "token"), ("symptom", "service")]


def results(folder: Path, *bad: tuple[str, str, str, str]) -> dict[paths.Path, str]:
    """What came of all connections; ``bad``: (source, target, name of the port, word)."""
    hosts = lab(folder).hosts
    words = {each[:3]: each[3] for each in bad}
    return {
        path: words.get((path.source, path.target, path.name), "ok")
        for host in hosts
        for path in paths.needed(host, hosts)
    }


NODE = "node_manager_port"


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        ([], []),
        ([("w1", "h1", "port", "silent")],
         [("h1", "w1 can't reach it on 6379 (port): no answer"), ("w1", "it can't reach h1 on 6379 (port)")]),
        ([("w1", "h1", "port", "silent"), ("w2", "h1", "port", "silent")],
         [("h1", "nobody reaches it on 6379 (port): no answer")]),
        ([("h1", "w2", NODE, "refused"), ("w1", "w2", NODE, "refused")],
         [("w2", "nobody reaches it on 6380 (node_manager_port): refused although somebody listens there")]),
        ([("h1", "w2", NODE, "small only")],
         [("w2", "h1 can't reach it on 6380 (node_manager_port): small packets come through"),
          ("h1", "it can't reach w2 on 6380 (node_manager_port): small packets come through")]),
        ([("h1", "w2", NODE, "no way"), ("w1", "w2", NODE, "reset")],
         [("w2", "h1 can't reach it on 6380 (node_manager_port): there is no route to it"), ("h1", "it can't reach w2"),
          ("w2", "w1 can't reach it on 6380 (node_manager_port): the connection is cut"), ("w1", "it can't reach w2")]),
    ],
)  # fmt: skip
def test_it_is_told_where_it_is_put_right(tmp_path: Path, bad: Any, found: list[tuple[str, str]]) -> None:
    said = paths.judge(results(tmp_path, *bad), dict.fromkeys(("h1", "w1", "w2"), True))
    assert len(said) == len(found)
    for finding, (host, text) in zip(said, found, strict=True):
        assert finding.host == host and finding.message.startswith(text)
        assert finding.remedy and finding.kind == "cause"


def test_where_nobody_listens_being_refused_is_no_firewall(tmp_path: Path) -> None:
    bad = [("h1", "w2", NODE, "refused"), ("w1", "w2", NODE, "refused")]
    (finding,) = paths.judge(results(tmp_path, *bad), {})
    assert finding.message.endswith("nothing listens there")


def test_what_is_told_can_do_no_harm_and_says_whether_all_is_well() -> None:
    finding = Finding("w1", "cause", "log", "x\x1b[2J\ny", "do\nthis", ("line\x07",))
    ill = Diagnosis("lab", ("h1", "w1"), ("h1",), (finding,), 14, 0.5)
    text = "\n".join(line.text for line in told(ill))
    assert "w1: NOT in the cluster" in text and "h1" not in text.partition("\n")[2]
    assert "\x1b" not in text and "\x07" not in text and "-> do this" in text
    assert not ill.is_well and '"well": false' in as_json(ill)
    well = Diagnosis("lab", ("h1",), ("h1",), (), 2, 0.1)
    assert well.is_well and told(well)[-1].text == "Nothing keeps a node out."
    assert not Diagnosis("lab", ("h1", "w1"), ("h1",), ()).is_well
