"""Whether strangers reach Ray on a Linux host: what the kernel and the firewalls' own files and listings say."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from provisioner.remote.failure import Failure
from provisioner.remote.platforms import exposure

ARGV = ["ray", "start", "--block", "--head", "--port=6379", "--dashboard-port=8265", "--dashboard-host=127.0.0.1",
        "--ray-client-server-port=10001", "--min-worker-port=10002", "--max-worker-port=19999",
        "--node-manager-port=6380"]  # fmt: skip
OPEN = [each for each in ARGV if "dashboard-host" not in each] + ["--dashboard-host=0.0.0.0"]
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def row(address: str, port: int, state: str = "0A") -> str:
    return f"   0: {address}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 0 0 1 1 0\n"


ANYWHERE, HERE, LAN = "00000000", "0100007F", "0A00000A"
SIX, SIX_HERE, SIX_MAPPED = "0" * 32, "0" * 24 + "01000000", "0000000000000000FFFF00000100007F"

NFT_OPEN = "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy accept;\n\t}\n}\n"
NFT_DROP = NFT_OPEN.replace("policy accept", "policy drop")
NFT_RULE = NFT_OPEN.replace("accept;\n", "accept;\n\t\tip saddr 10.0.0.0/8 accept\n\t\ttcp dport 6379 drop\n")
NFT_NAT = (
    "table ip nat {\n\tchain out {\n\t\ttype nat hook postrouting priority 100; policy accept;\n\t\tdrop\n\t}\n}\n"
)


@pytest.mark.parametrize(
    ("rules", "limits"),
    [
        ("", False), (NFT_OPEN, False), (NFT_NAT, False), (NFT_DROP, True), (NFT_RULE, True),
        (NFT_NAT + NFT_DROP, True),
        ("-P INPUT ACCEPT\n", False), ("-P INPUT DROP\n", True), ("-P INPUT ACCEPT\n-A INPUT -p tcp -j REJECT\n", True),
        ("-P INPUT ACCEPT\n-P FORWARD DROP\n-A INPUT -j ACCEPT\n", False),
    ],
)  # fmt: skip
def test_what_limits(rules: str, limits: bool) -> None:
    assert exposure.limits(rules) is limits


@pytest.mark.parametrize(
    ("tcp", "tcp6", "found"),
    [
        ([], [], False),
        ([row(ANYWHERE, 6379)], [], True),
        ([row(LAN, 12345)], [], True),
        ([row(HERE, 6379)], [], False),
        ([row(ANYWHERE, 22), row(ANYWHERE, 8265)], [], False),
        ([row(ANYWHERE, 6379, "01")], [], False),
        ([], [row(SIX, 10001)], True),
        ([], [row(SIX_HERE, 10001), row(SIX_MAPPED, 6380)], False),
    ],
)
def test_who_listens_for_others(tcp: list[str], tcp6: list[str], found: bool, tmp_path: Path) -> None:
    lay(tmp_path, tcp, tcp6)
    assert exposure.listens_beyond_loopback(exposure.ports(ARGV), str(tmp_path)) is found


def lay(root: Path, tcp: list[str], tcp6: list[str]) -> None:
    folder = root / "proc" / "net"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tcp").write_text(HEAD + "".join(tcp))
    (folder / "tcp6").write_text(HEAD + "".join(tcp6))


def look(root: Path, argv: list[str] = ARGV, said: Any = "", privileged: bool = True, **more: Any) -> list[Any]:
    """The findings of a host whose nft says this (None: there is none)."""
    service = root / "service"
    service.mkdir(exist_ok=True)
    spec = {"argv": argv, "env": more.get("env", {}), "python": "python3"}
    (service / "ray-lab.json").write_text(json.dumps(spec))
    if said is not None:
        (root / "usr/sbin").mkdir(parents=True, exist_ok=True)
        (root / "usr/sbin/nft").touch()

    def run(argv: list[str], limit: float) -> tuple[int, str]:
        assert argv == [str(root / "usr/sbin/nft"), "list", "ruleset"]
        if isinstance(said, Exception):
            raise said
        return said if isinstance(said, tuple) else (0, said)

    platform = SimpleNamespace(run=run, privileged=lambda: privileged)
    ip = more.get("ip", "10.0.0.10")
    host: Any = SimpleNamespace(
        cluster="lab", node_ip=ip, platform=platform, path=lambda *names: str(root.joinpath(*names))
    )
    return exposure.findings(host, str(root))


@pytest.mark.parametrize(
    ("case", "severity", "said"),
    [
        ({}, "notice", "limits who reaches Ray's ports: every machine of the network may run programs"),
        ({"ip": "93.184.216.34"}, "notice", "the whole internet"),
        ({"argv": OPEN}, "notice", "Ray's ports and the dashboard: every"),
        ({"said": NFT_DROP}, "fine", "nft limits who"),
        ({"said": None}, "notice", "no firewall here"),
        ({"said": (1, "error")}, "fine", "only root can see"),
        ({"said": Failure("gone")}, "fine", "only root can see"),
        ({"privileged": False}, "fine", "only root can see"),
        ({"env": {"RAY_AUTH_MODE": "token"}}, "fine", "the cluster's token"),
    ],
)
def test_one_finding_for_a_host(case: dict[str, Any], severity: str, said: str, tmp_path: Path) -> None:
    lay(tmp_path, [row(ANYWHERE, 6379)], [])
    (finding,) = look(tmp_path, **case)
    assert finding["severity"] == severity
    assert said in finding["message"]
    assert bool(finding["remedy"]) is (severity == "notice")


@pytest.mark.parametrize(
    ("file", "text", "name"), [("etc/ufw/ufw.conf", "# x\nENABLED=yes\n", "ufw"), ("run/firewalld/x", "", "firewalld")]
)
@pytest.mark.parametrize("privileged", [True, False])
def test_firewalls_that_anybody_can_see(file: str, text: str, name: str, privileged: bool, tmp_path: Path) -> None:
    lay(tmp_path, [row(ANYWHERE, 6379)], [])
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(text)
    (finding,) = look(tmp_path, privileged=privileged)
    assert (finding["severity"], finding["message"]) == ("fine", f"{name} limits who reaches Ray's ports")


def test_nothing_is_said_where_nothing_runs(tmp_path: Path) -> None:
    lay(tmp_path, [], [])
    assert look(tmp_path) == []
    (tmp_path / "service" / "ray-lab.json").unlink()
    host: Any = SimpleNamespace(cluster="lab", path=lambda *names: str(tmp_path.joinpath(*names)))
    assert exposure.findings(host, str(tmp_path)) == []
