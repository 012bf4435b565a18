"""Whether strangers reach Ray on a Mac: what lsof and the application firewall were recorded to say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote.platforms.macos.findings import PMSET, findings
from provisioner.remote.platforms.macos.firewall import PROGRAM
from provisioner.remote.platforms.macos.processes import LSOF

from .mac_host import Mac, always, host_of
from .test_exposure import ARGV
from .test_macos_firewall import OFF, ON, TAHOE

LISTENED = "p411\nf7\nn*:6379\nf9\nn127.0.0.1:6380\np412\nf3\nn[::1]:10001\nf4\nn192.168.0.7:6384\np1\nf8\nn*:22\n"
"""``lsof -nP -iTCP -sTCP:LISTEN -Fn`` (lsof(8), OUTPUT FOR OTHER PROGRAMS)."""


def look(folder: Path, firewall: str, listened: str = LISTENED, **spec: Any) -> list[dict[str, str]]:
    answers = {PMSET: always(0, ""), PROGRAM: always(0, firewall + TAHOE), LSOF: always(0, listened)}
    host = host_of(Mac(answers), folder, node_ip="192.168.0.7")
    told = {"argv": ARGV, "env": {}, "python": "python3", **spec}
    host.write(host.path("service", "ray-lab.json"), json.dumps(told).encode())
    return [each for each in findings(host) if "Ray's ports" in each["message"] or "of Ray" in each["message"]]


@pytest.mark.parametrize(
    ("firewall", "severity", "said"),
    [
        (ON, "notice", "the application firewall knows programs and no addresses, and Ray's are allowed: every machine "
                       "of the network reaches Ray's ports (6379, 6384), and may run programs through them"),
        (OFF, "notice", "the application firewall is off, and pf was not looked at: every machine of the network"),
        ("Firewall is enabled. (State = 2)\n", "fine",
         "the application firewall blocks all incoming connections; nothing was seen that opens Ray's ports"),
    ],
)  # fmt: skip
def test_one_finding_for_a_mac(firewall: str, severity: str, said: str, tmp_path: Path) -> None:
    (finding,) = look(tmp_path, firewall)
    assert finding["severity"] == severity
    assert finding["message"].startswith(said)


def test_a_token_is_enough_and_nothing_listens_in_vain(tmp_path: Path) -> None:
    (finding,) = look(tmp_path, OFF, env={"RAY_AUTH_MODE": "token"})
    assert finding["severity"] == "fine"
    assert look(tmp_path, OFF, "p1\nf8\nn*:22\nf9\nn127.0.0.1:6379\n") == []
