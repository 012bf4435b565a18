"""Whether strangers reach Ray on a Windows machine: the firewall's profiles and rules, as registries hold them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote.platforms.windows import exposure, firewall
from provisioner.remote.platforms.windows.exposure import POLICY, PROFILES

from .remote_host import World
from .test_exposure import ARGV

ON = {(PROFILES + "\\" + profile, "EnableFirewall"): 1 for profile in exposure.NETWORKS}
LISTENED = [("0.0.0.0", 6379), ("::", 6384), ("127.0.0.1", 6380), ("::1", 10001), ("10.0.0.9", 445)]
RULE = "v2.31|Action=Allow|Active=TRUE|Dir=In|Protocol=6|Name=Theirs|"
PLACES = "LPort=6379|RA4=10.0.0.1-10.0.0.3|"
Registry = dict[tuple[str, str], Any]


def look(folder: Path, registry: Registry, rules: list[str], listened: Any = LISTENED, **spec: Any) -> list[Any]:
    host = World(folder).host()
    told = {"argv": ARGV, "env": {}, "python": "python3", **spec}
    host.write(host.path("service", "ray-lab.json"), json.dumps(told).encode())
    host.node_ip = "10.0.0.9"
    host.root = r"C:\provision\lab"
    host.path = lambda *names: str(folder.joinpath("root", *names))  # type: ignore[method-assign]
    values = {firewall.RULES: {str(number): rule for number, rule in enumerate(rules)}}
    return exposure.findings(
        host, lambda key, name: registry.get((key, name)), lambda key: values[key], lambda: listened
    )


@pytest.mark.parametrize(
    ("registry", "rules", "severity", "said"),
    [
        ({}, [RULE + PLACES], "fine",
         "the Windows firewall refuses what no rule of it lets in; nothing was seen that opens Ray's ports (6379, "),
        ({(firewall.SERVICE + r"\mpssvc", "Start"): 4}, [], "notice",
         "the Windows firewall is switched off (its service never runs): every machine of the network reaches Ray's "
         "ports (6379, 6384), and may run programs through them"),
        ({(PROFILES + r"\StandardProfile", "EnableFirewall"): 0, (PROFILES + r"\PublicProfile", "EnableFirewall"): 0},
         [], "notice", "the Windows firewall is off on private and public networks: every"),
        ({(POLICY + r"\PrivateProfile", "EnableFirewall"): 0}, [], "notice", "is off on private networks"),
        ({(POLICY + r"\DomainProfile", "EnableFirewall"): 1, (PROFILES + r"\DomainProfile", "EnableFirewall"): 0},
         [], "fine", "the Windows firewall refuses"),
        ({(PROFILES + r"\DomainProfile", "DefaultInboundAction"): 0}, [], "notice",
         "no rule refuses on domain networks"),
        ({(PROFILES + r"\DomainProfile", "DefaultInboundAction"): 1}, [], "fine", ""),
        ({}, [RULE + "LPort=6000-7000|"], "notice", "the firewall rule 'Theirs' lets everybody in: every"),
        ({}, [RULE + r"App=C:\provision\lab\env\e\Scripts\python.exe|"], "notice", "the firewall rule 'Theirs'"),
        ({}, [RULE + r"App=C:\games\python.exe|", RULE + "LPort=22|", RULE + "RA4=LocalSubnet|", RULE + "Svc=x|",
              RULE.replace("Allow", "Block"), RULE.replace("TRUE", "FALSE"), RULE.replace("=6", "=17")], "fine", ""),
    ],
)  # fmt: skip
def test_one_finding_for_a_machine(
    registry: Registry, rules: list[str], severity: str, said: str, tmp_path: Path
) -> None:
    (finding,) = look(tmp_path, {**ON, **registry}, rules)
    assert finding["severity"] == severity
    assert said in finding["message"]


def test_nothing_is_said_where_nothing_listens_for_others(tmp_path: Path) -> None:
    assert look(tmp_path, {}, [], [("127.0.0.1", 6379), ("::ffff:127.0.0.1", 6384), ("0.0.0.0", 22)]) == []


def test_a_token_is_enough(tmp_path: Path) -> None:
    (finding,) = look(tmp_path, {}, [], None, env={"RAY_AUTH_MODE": "token"})
    assert (finding["severity"], finding["message"]) == (
        "fine",
        "who reaches Ray's ports is asked for the cluster's token",
    )
