"""What a reload of firewalld would lose, what is put back after one, and where it is not done.

The answers were recorded from firewalld 1.3.3; tests/lab/test_firewalls.py has the real ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provisioner.remote.failure import Failure
from provisioner.remote.platforms import firewalld_unsaved, linux_firewall

from .firewalls import Bus, Place
from .remote_host import shown

ZONE = """\
public (active)
  target: default
  interfaces: %s
  services: ssh %s
  rich rules: 
\trule family="ipv4" source address="10.0.0.9" reject%s

"""  # noqa: W291 - as it is said


@pytest.mark.parametrize(
    ("words", "lost"),
    [
        (("eth0", "", ""), set()),
        (("", "https", ""), {"zone public, services: https"}),
        (("", "", "\n\trule service name=x accept"), {"zone public, rich rules: rule service name=x accept"}),
    ],
)
def test_what_a_reload_would_lose(words: tuple[str, ...], lost: set[str]) -> None:
    saved = firewalld_unsaved.settings(ZONE % ("", "", ""), "zone")
    assert firewalld_unsaved.settings(ZONE % words, "zone") - saved == lost


RELOADED = ("change", "firewalld is reloaded; rules that other programs made past it may be lost", "", "")
ADDED = ("add", "rules of firewalld", "", "TCP 6379-6385 from 10.0.0.1-10.0.0.2")


def test_a_firewalld_that_is_too_old_is_left_alone(tmp_path: Path) -> None:
    place = Place(tmp_path, privileged=True).with_firewalld(policies=False)
    bus = Bus(place)
    assert place.task.observe(place.host) == []
    (finding,) = linux_firewall.findings(place.host, is_running=False)
    assert finding["message"] == "this firewalld is older than 0.9, and is not opened for the cluster"
    assert place.task.traces(place.host) == []
    assert place.task.remove(place.host) == ""
    assert bus.typed == [], "such a one knows no policies to ask for"


def test_a_policy_is_made_known_and_removed_by_a_reload_that_is_announced(tmp_path: Path) -> None:
    place = Place(tmp_path, privileged=True).with_firewalld()
    bus = Bus(place)
    assert shown(place.task.observe(place.host)) == [ADDED, RELOADED]
    assert place.task.ensure(place.host) == "2 addresses, 1 spans of ports"
    assert bus.typed == [["--reload"]]
    assert place.task.observe(place.host) == []
    removed = ("remove", "rules of firewalld", "let the cluster's hosts in", "")
    assert shown(place.task.traces(place.host)) == [removed, RELOADED]
    assert place.task.remove(place.host) == "policy of firewalld removed"
    assert bus.typed == [["--reload"], ["--reload"]]
    assert place.task.traces(place.host) == []


def test_what_was_never_saved_keeps_firewalld_as_it_is_and_fails_nothing(tmp_path: Path) -> None:
    place = Place(tmp_path, privileged=True).with_firewalld()
    bus = Bus(place, running="  services: https\n")
    assert place.task.observe(place.host) == []
    for is_running in (False, True):
        (finding,) = linux_firewall.findings(place.host, is_running)
        assert finding["severity"] == "notice"
        assert finding["message"] == (
            "firewalld is left as it is: a reload, which makes our rules known to it, would lose what was never saved: "
            "zone public, services: https"
        )
        assert (
            "`sudo firewall-cmd --runtime-to-permanent` saves all that runs, `sudo firewall-cmd --reload` drops"
            in (finding["remedy"])
        )
    assert place.task.ensure(place.host) == finding["message"], "it may have come since we looked"
    assert bus.typed == []
    bus.running = ""
    assert shown(place.task.observe(place.host)) == [ADDED, RELOADED]


BANNED = (
    'rule family="ipv4" source address="203.0.113.5" port port="ssh" protocol="tcp" reject type="icmp-port-unreachable"'
)


def test_what_comes_and_goes_is_put_back_after_a_reload(tmp_path: Path) -> None:
    place = Place(tmp_path, privileged=True).with_firewalld()
    bus = Bus(place, running=f"  rich rules: \n\t{BANNED}\n\ntrusted\n  sources: 10.88.0.0/16 10.89.0.0/24\n")
    restored = [
        ["--zone=public", f"--add-rich-rule={BANNED}"],
        ["--zone=trusted", "--add-source=10.88.0.0/16", "--add-source=10.89.0.0/24"],
    ]
    assert shown(place.task.observe(place.host)) == [ADDED, RELOADED]
    place.task.ensure(place.host)
    assert bus.typed == [["--reload"], *restored]
    place.task.remove(place.host)
    assert bus.typed == [["--reload"], *restored] * 2


def test_a_teardown_that_may_not_reload_looks_whether_rules_are_gone(tmp_path: Path) -> None:
    place = Place(tmp_path, privileged=True).with_firewalld()
    bus = Bus(place)
    place.task.ensure(place.host)
    bus.running = "  services: https\n"
    with pytest.raises(Failure, match="firewalld's rules for the cluster are still there"):
        place.task.remove(place.host)
    assert ["--policy=provision-lab", "--remove-rich-rule=" + bus.rules()[0]] in bus.typed


@pytest.mark.parametrize(
    ("row", "commands"),
    [
        ("zone trusted, sources: 10.88.0.5", [(["--zone=trusted"], ["--add-source=10.88.0.5"])]),
        ("zone public, rich rules: " + BANNED, [(["--zone=public"], ["--add-rich-rule=" + BANNED])]),
        ("direct rule ipv4 filter INPUT 0 -p tcp -m set --match-set f2b-sshd src -j REJECT",
         [(["--direct"], ["--add-rule", "ipv4", "filter", "INPUT", "0", "-p", "tcp", "-m", "set", "--match-set",
                          "f2b-sshd", "src", "-j", "REJECT"])]),
        ("policy netavark_portfwd, forward-ports: port=80:proto=tcp:toport=80:toaddr=10.88.0.5",
         [(["--policy=netavark_portfwd"], ["--add-forward-port=port=80:proto=tcp:toport=80:toaddr=10.88.0.5"])]),
        ("zone netavark_zone, sources: 10.88.0.0/16", [(["--zone=netavark_zone"], ["--add-source=10.88.0.0/16"])]),
        ("zone docker, target: ACCEPT", []),
        ("zone home, sources: 10.88.0.5", None), ("zone public, rich rules: rule service name=x accept", None),
        ("zone public, rich rules: rule service name=x reject", None),
        ("direct rule ipv4 filter INPUT 0 -j DROP", None),
    ],
)  # fmt: skip
def test_what_others_keep_for_as_long_as_they_run(row: str, commands: Any) -> None:
    found = firewalld_unsaved.Unsaved({row, "zone public, services: ssh"}, {"zone public, services: ssh"})
    assert found.lost == ([row] if commands is None else [])
    assert found.commands() == (commands or [])
    gone = firewalld_unsaved.Unsaved(set(), {row})
    theirs = "netavark" in row or "docker" in row
    assert (gone.lost, gone.commands()) == ([] if theirs else ["removed: " + row], [])
