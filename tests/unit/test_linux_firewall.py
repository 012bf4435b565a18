"""ufw and firewalld: what their files and answers mean, and what is said where we may not or can't open them.

The answers were recorded from ufw 0.36.2 and firewalld 1.3.3; tests/lab/test_firewalls.py has the real ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provisioner.remote.failure import Failure
from provisioner.remote.platforms import firewalld, firewalld_state, linux_firewall, reach, ufw
from provisioner.remote.platforms.firewalld_state import State

from .firewalls import OURS, Place
from .remote_host import shown

SPANS = [(6379, 6385), (10001, 19999)]


@pytest.mark.parametrize(
    ("line", "typed", "places", "ports"),
    [
        (f"allow tcp 6379:6385,10001:19999 0.0.0.0/0 any 10.0.0.0/31 in {OURS}",
         "allow in proto tcp from 10.0.0.0/31 to 0.0.0.0/0 port 6379:6385,10001:19999",
         "10.0.0.0-10.0.0.1", "6379-6385,10001-19999"),
        (f"limit_log tcp 6379 10.9.0.1 99 0.0.0.0/0 in_eth0 {OURS}",
         "limit in on eth0 log proto tcp from 0.0.0.0/0 port 99 to 10.9.0.1 port 6379",
         "0.0.0.0-255.255.255.255", "6379"),
        (f"deny any any ::/0 any fd00::5 out {OURS}", "deny out from fd00::5 to ::/0", "fd00::5", "0-65535"),
        (f"allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 OpenSSH - in {OURS}", None, "", ""),
        ("nothing of the kind", None, "", ""),
    ],
)  # fmt: skip
def test_a_rule_in_ufws_files(line: str, typed: str | None, places: str, ports: str) -> None:
    rule = ufw.parse(f"### tuple ### {line}\n")
    if typed is None:
        assert rule is None
        return
    assert rule is not None
    assert (rule.comment, rule.shown()) == ("provision lab", typed)
    assert reach.show_addresses(reach.merge_addresses([rule.source])) == places
    assert reach.show_ports(rule.spans) == ports


@pytest.mark.parametrize(
    ("addresses", "four", "six"),
    [
        (["10.0.0.2", "10.0.0.1", "10.0.0.2"], ["10.0.0.1", "10.0.0.2"], []),
        (["10.0.0.1", "10.0.0.0/24", "10.0.0.16-10.0.0.31"], ["10.0.0.0/24"], []),
        (["fd00::5", "10.0.0.6-10.0.0.8"], ["10.0.0.6/31", "10.0.0.8"], ["fd00::5"]),
    ],
)
def test_no_address_of_a_set_is_within_another(addresses: list[str], four: list[str], six: list[str]) -> None:
    """firewalld refuses sets with such."""
    assert (reach.singly(addresses, 4), reach.singly(addresses, 6)) == (four, six)


RULE = r'"rule family=\"ipv4\" source ipset=\"provision-lab-4\" port port=\"%s\" protocol=\"tcp\" accept" '
POLICY = (
    'a{sv} 8 "short" s "provision lab" "description" s "Made." "target" s "CONTINUE" "masquerade" b false '
    '"rich_rules" as 2 '
    + RULE % "6379-6385"
    + RULE % "10001-19999"
    + '"priority" i -100 "ingress_zones" as 1 "ANY" "egress_zones" as 1 "HOST"'
)
ENTRIES = {"ipv4": 'as 2 "10.0.0.1" "10.0.0.2"', "ipv6": ""}
WANTED = State.of(["10.0.0.1", "10.0.0.2"], SPANS)


def test_what_runs_is_what_was_wanted() -> None:
    assert firewalld_state.running_state(POLICY, ENTRIES) == WANTED


@pytest.mark.parametrize(
    ("policy", "entries"),
    [
        (POLICY.replace("CONTINUE", "ACCEPT"), ENTRIES),
        (POLICY.replace("i -100", "i 100"), ENTRIES),
        (POLICY.replace('as 1 "ANY"', 'as 1 "public"'), ENTRIES),
        (POLICY.replace('"masquerade" b false', '"ports" a(ss) 1 "99" "tcp"'), ENTRIES),
        (POLICY.replace('"masquerade" b false', '"services" as 1 "https"'), ENTRIES),
        (POLICY.replace("as 2", "as 1").replace(RULE % "6379-6385", ""), ENTRIES),
        (POLICY.replace("accept", "drop", 1), ENTRIES),
        (POLICY, {**ENTRIES, "ipv4": 'as 3 "10.0.0.1" "10.0.0.2" "10.0.0.77"'}),
        (POLICY, {**ENTRIES, "ipv4": ""}),
        (POLICY, {**ENTRIES, "ipv6": 'as 1 "fd00::1"'}),
    ],
)  # fmt: skip
def test_whatever_was_changed_by_hand_is_seen(policy: str, entries: dict[str, str]) -> None:
    assert firewalld_state.running_state(policy, entries) != WANTED


def lay(folder: Path, state: State) -> tuple[str, dict[str, str]]:
    sets = {family: str(folder / f"{family}.xml") for family in ("ipv4", "ipv6")}
    for family, entries in state.entries.items():
        Path(sets[family]).write_text(firewalld_state.set_text("provision lab", family, entries))
    names = {family: f"provision-lab-{family[-1]}" for family in state.entries}
    (folder / "policy.xml").write_text(firewalld_state.policy_text("provision lab", names, state.ports))
    return str(folder / "policy.xml"), sets


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["10.0.0.0/24", "fd00::5"]])
def test_what_was_saved_is_read_again(addresses: list[str], tmp_path: Path) -> None:
    wanted = State.of(addresses, SPANS)
    assert firewalld_state.read_saved(*lay(tmp_path, wanted)) == wanted
    assert firewalld_state.read_saved(str(tmp_path / "none.xml"), {}).is_empty()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("policy.xml", "CONTINUE", "ACCEPT"), ("policy.xml", "<accept/>", "<drop/>"), ("policy.xml", "tcp", "udp"),
        ("policy.xml", "</policy>", '<service name="https"/></policy>'), ("policy.xml", "<policy", "<pol"),
        ("policy.xml", 'name="HOST"', 'name="ANY"'), ("ipv4.xml", "10.0.0.1", "10.0.0.9"),
        ("ipv4.xml", "hash:net", "hash:ip"),
    ],
)  # fmt: skip
def test_what_was_saved_by_somebody_else(file: str, old: str, new: str, tmp_path: Path) -> None:
    wanted = State.of(["10.0.0.1"], SPANS)
    where = lay(tmp_path, wanted)
    (tmp_path / file).write_text((tmp_path / file).read_text().replace(old, new, 1))
    found = firewalld_state.read_saved(*where)
    assert found != wanted
    assert not found.is_empty()


def test_answers_of_the_bus() -> None:
    active = 'a{sa{sas}} 2 "public" 1 "interfaces" 1 "eth0" "trusted" 1 "sources" 2 "10.0.0.0/8" "fd00::/8"'
    assert firewalld_state.values(active) == [
        {"public": {"interfaces": ["eth0"]}, "trusted": {"sources": ["10.0.0.0/8", "fd00::/8"]}}
    ]
    ports = 'a{sv} 2 "target" s "default" "ports" a(ss) 2 "22" "tcp" "6000-7000" "udp"'
    assert firewalld_state.values(ports) == [{"target": "default", "ports": [("22", "tcp"), ("6000-7000", "udp")]}]
    assert firewalld_state.values('s "public"') == ["public"]
    assert firewalld_state.values("") == []


@pytest.mark.parametrize(("cluster", "name"), [("lab", "provision-lab"), ("a-long-cluster-name", "provision-4e491f3")])
def test_a_policys_name_has_17_characters_at_most(cluster: str, name: str) -> None:
    assert firewalld.policy_name(cluster) == name
    assert len(name) <= 17


ALL, LAN = "0.0.0.0/0", "10.0.0.0/24"
OPENS = f"allow tcp 6379:6385 {ALL} any"
DENY = f"deny tcp 6379 {ALL} any {ALL} in"


@pytest.mark.parametrize(
    ("lines", "shuts"),
    [
        ([DENY], True), (["reject any any 0.0.0.0/0 any 10.0.0.0/24 in_eth0"], True),
        (["limit tcp 6379 0.0.0.0/0 any 0.0.0.0/0 in"], True),
        (["deny tcp 22 0.0.0.0/0 any 0.0.0.0/0 in"], False), (["deny udp 6379 0.0.0.0/0 any 0.0.0.0/0 in"], False),
        (["deny tcp 6379 0.0.0.0/0 any 10.9.0.0/16 in"], False), (["deny tcp 6379 0.0.0.0/0 any 0.0.0.0/0 out"], False),
        (["deny tcp 6379 10.7.7.7 any 0.0.0.0/0 in"], False), (["deny tcp 6379 10.0.0.9 any 0.0.0.0/0 in"], True),
        # what stands before it has let the cluster in: with our rules, or with theirs
        ([f"{OPENS} 10.0.0.1 in {OURS}", f"{OPENS} 10.0.0.2 in {OURS}", DENY], False),
        ([f"{OPENS} 10.0.0.1 in {OURS}", DENY], True),
        ([f"allow tcp any {ALL} any {LAN} in", DENY], False), ([DENY, f"allow tcp any {ALL} any {LAN} in"], True),
        ([f"allow tcp 6379:6382 {ALL} any {LAN} in", f"deny tcp 6000:7000 {ALL} any {ALL} in"], True),
        ([f"allow tcp 6379:6382 {ALL} any {LAN} in", f"allow any 6383:6385 {ALL} any {LAN} in",
          f"deny tcp 6000:7000 {ALL} any {ALL} in"], False),
        ([f"allow tcp any {ALL} any {LAN} in_eth1", DENY], True), ([f"allow udp any {ALL} any {LAN} in", DENY], True),
        ([f"allow tcp any 10.0.0.9 any {LAN} in", DENY], False), ([f"allow tcp any 10.7.7.7 any {LAN} in", DENY], True),
    ],
)  # fmt: skip
def test_rules_of_others_that_keep_the_cluster_out_are_named(lines: list[str], shuts: bool, tmp_path: Path) -> None:
    place = Place(tmp_path, privileged=True, rules=lines)
    place.host.node_ip = "10.0.0.9"
    place.task.observe(place.host)
    found = linux_firewall.findings(place.host, is_running=True)
    assert [each["severity"] for each in found] == ["notice"] * shuts
    assert all("keeps hosts of the cluster from Ray's ports" in each["message"] for each in found)


@pytest.mark.parametrize(
    ("line", "left", "named"),
    [
        (f"allow tcp 6379:6385 {ALL} any 10.0.0.1 in", "10.0.0.2", 0),
        (f"deny tcp 6379:6385 {ALL} any 10.0.0.1 in", "10.0.0.2", 1),
        (f"limit_log tcp 6379:6385 {ALL} any 10.0.0.1 in", "10.0.0.2", 1),
        (f"allow tcp 6379:6385 {ALL} any 10.0.0.1 in_eth0", "10.0.0.1-10.0.0.2", 0),
    ],
)
def test_a_rule_of_somebody_else_is_not_made_ours(line: str, left: str, named: int, tmp_path: Path) -> None:
    """ufw would give it our comment, and our action; a teardown would remove it."""
    place = Place(tmp_path, privileged=True, rules=[line])
    assert shown(place.task.observe(place.host)) == [("add", "rules of ufw", "", f"TCP 6379-6385 from {left}")]
    assert len(linux_firewall.findings(place.host, is_running=True)) == named
    assert place.task.traces(place.host) == []


# -- what may not, or can't, be opened ---------------------------------------------------------------------------------


def test_without_privilege_it_is_said_before_anything_is_done(tmp_path: Path) -> None:
    place = Place(tmp_path, privileged=False)
    assert place.task.observe(place.host) == []
    (finding,) = linux_firewall.findings(place.host, is_running=False)
    assert finding["severity"] == "needs elevation"
    assert (
        finding["message"] == "ufw is active, and only root may look at its rules, or open it for the cluster's hosts"
    )
    assert finding["remedy"] == (
        "set `become: true`, or on the host: for from in 10.0.0.1 10.0.0.2; do sudo ufw allow in proto tcp from $from "
        'to 0.0.0.0/0 port 6379:6385 comment "provision lab"; done'
    )
    (finding,) = linux_firewall.findings(place.host, is_running=True)
    assert finding["severity"] == "fine", "whoever may open it has"
    assert place.task.traces(place.host) == []


def test_a_firewall_that_is_not_active_is_left_alone(tmp_path: Path) -> None:
    place = Place(tmp_path, privileged=True)
    assert shown(place.task.observe(place.host)) == [
        ("add", "rules of ufw", "", "TCP 6379-6385 from 10.0.0.1-10.0.0.2")
    ]
    (place.top / "etc/ufw/ufw.conf").write_text("ENABLED=no\n")
    assert place.task.observe(place.host) == []
    (place.top / "etc/ufw/user.rules").write_text(f"### tuple ### allow tcp 6379 0.0.0.0/0 any 10.0.0.1 in {OURS}\n")
    assert shown(place.task.traces(place.host)) == [("remove", "rules of ufw", "let the cluster's hosts in", "")]


def test_a_firewalld_that_does_not_answer_is_named(tmp_path: Path) -> None:
    place = Place(tmp_path, privileged=True).with_firewalld()

    def run(argv: list[str], *_: Any) -> tuple[int, str]:
        raise Failure("there is no busctl")

    place.host.platform.run = run  # type: ignore[method-assign, assignment]
    assert place.task.observe(place.host) == []
    (finding,) = linux_firewall.findings(place.host, is_running=False)
    assert finding["severity"] == "notice"
    assert finding["message"] == "firewalld is left as it is: there is no busctl"
    assert finding["remedy"] == (
        "on the host: for from in 10.0.0.1 10.0.0.2; do sudo firewall-cmd --permanent "
        '--add-rich-rule="rule family=ipv4 source address=$from port port=6379-6385 protocol=tcp accept"; done; '
        "sudo firewall-cmd --reload"
    )
    (finding,) = linux_firewall.findings(place.host, is_running=True)
    assert finding["severity"] == "notice", "that Ray was started does not mend it"
    assert place.task.traces(place.host) == []
    (place.top / "proc/77/ns/net").unlink()
    (place.top / "proc/77/ns/net").symlink_to("net:[5]")
    assert place.task.observe(place.host) == []
    assert linux_firewall.findings(place.host, is_running=False) == [], "one in a container of this machine is not ours"


def test_an_ufw_that_is_enabled_and_does_not_work_is_left_alone(tmp_path: Path) -> None:
    """As in a container whose kernel takes no rules."""
    place = Place(tmp_path, privileged=True, status="Status: inactive")
    assert place.task.observe(place.host) == []
    (finding,) = linux_firewall.findings(place.host, is_running=False)
    assert (finding["severity"], finding["remedy"]) == ("notice", "see `sudo ufw status`")
    assert finding["message"] == ("ufw is left as it is: it is enabled, and does not work: it says: Status: inactive")
    assert place.task.ensure(place.host) == finding["message"]


@pytest.mark.parametrize(("ours", "active", "named"), [(False, "yes", 1), (True, "no", 1), (False, "no", 0)])
def test_a_teardown_without_root_says_what_may_stay(ours: bool, active: str, named: int, tmp_path: Path) -> None:
    place = Place(tmp_path, privileged=False)
    (place.top / "etc/ufw/ufw.conf").write_text(f"ENABLED={active}\n")
    if ours:
        place.host.marker.put("firewall", {"kind": "firewall"})
    assert place.task.traces(place.host) == []
    found = linux_firewall.findings(place.host, is_running=True)
    assert [each["severity"] for each in found] == ["needs elevation"] * named
    assert all("`become: true`, or on the host: sudo ufw status numbered; " in each["remedy"] for each in found)


def test_ufws_rules_are_read_once_and_again_after_a_change(tmp_path: Path) -> None:
    place = Place(tmp_path, privileged=True)
    each = ufw.Ufw(place.host, str(place.top))
    assert each.rules() == []
    place.write_rules([DENY])
    assert each.rules() == []
    each.lend(6379, ["10.0.0.1"])
    assert [rule.action for rule in each.rules()] == ["deny"]
