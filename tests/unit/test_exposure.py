"""Whether strangers reach Ray on a Linux host: what the kernel and the firewalls' own files and listings say."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from provisioner.remote.failure import Failure
from provisioner.remote.platforms import exposure, linux_findings

ARGV = ["ray", "start", "--block", "--head", "--port=6379", "--dashboard-port=8265", "--dashboard-host=127.0.0.1",
        "--ray-client-server-port=10001", "--min-worker-port=10002", "--max-worker-port=19999",
        "--node-manager-port=6380", "--dashboard-agent-listen-port=6384"]  # fmt: skip
OPEN = [each for each in ARGV if "dashboard-host" not in each] + ["--dashboard-host=0.0.0.0"]
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def row(address: str, port: int, state: str = "0A") -> str:
    return f"   0: {address}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 0 0 1 1 0\n"


ANYWHERE, HERE, LAN = "00000000", "0100007F", "0A00000A"
SIX, SIX_HERE, SIX_MAPPED = "0" * 32, "0" * 24 + "01000000", "0000000000000000FFFF00000100007F"

NFT_OPEN = "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy accept;\n\t}\n}\n"
NFT_DROP = NFT_OPEN.replace("policy accept", "policy drop")
NFT_RULE = NFT_OPEN.replace("accept;\n", "accept;\n\t\tip saddr 10.0.0.0/8 accept\n\t\ttcp dport 6379 drop\n")
NFT_LAST = NFT_OPEN.replace(
    "accept;\n", "accept;\n\t\tip saddr 10.0.0.0/8 accept\n\t\tcounter packets 1 bytes 60 drop\n"
)
NFT_INVALID = NFT_OPEN.replace("accept;\n", "accept;\n\t\tct state invalid drop\n\t\ttcp dport 22 accept\n")
NFT_FAIL2BAN = NFT_OPEN.replace("accept;\n", "accept;\n\t\ttcp dport 22 ip saddr @banned reject\n\t\taccept\n")
NFT_NAT = (
    "table ip nat {\n\tchain out {\n\t\ttype nat hook postrouting priority 100; policy accept;\n\t\tdrop\n\t}\n}\n"
)
NFT_DOCKER = (
    "table ip filter {\n\tchain DOCKER {\n\t\tdrop\n\t}\n\n\tchain FORWARD {\n\t\ttype filter "
    "hook forward priority filter; policy drop;\n\t\tcounter packets 0 bytes 0 jump DOCKER\n\t}\n}\n"
)
REFUSES, SOME, OPENS = True, None, False


@pytest.mark.parametrize(
    ("rules", "refuses"),
    [
        ("", OPENS), (NFT_OPEN, OPENS), (NFT_NAT, OPENS), (NFT_DOCKER, OPENS),
        (NFT_DROP, REFUSES), (NFT_LAST, REFUSES), (NFT_NAT + NFT_DROP, REFUSES),
        (NFT_RULE, SOME), (NFT_INVALID, SOME), (NFT_FAIL2BAN, SOME),
        (NFT_DROP.replace("inet filter", "ip6 filter"), OPENS),
    ],
)  # fmt: skip
def test_what_nftables_does_with_what_comes_in(rules: str, refuses: bool | None) -> None:
    assert linux_findings.nft(rules).refuses is refuses


def test_nft_is_asked_for_the_chains_that_see_what_comes_in() -> None:
    """In the words of nft 1.0.6."""
    chains = (
        NFT_NAT
        + NFT_DOCKER
        + NFT_DROP
        + "table ip6 f {\n\tchain in {\n\t\ttype filter hook input priority 0;\n\t}\n}\n"
    )
    assert linux_findings.incoming(chains, ("inet", "ip")) == [("inet", "filter", "input")]
    assert linux_findings.incoming(chains, ("inet", "ip6")) == [("inet", "filter", "input"), ("ip6", "f", "in")]
    assert linux_findings.incoming("", ("inet", "ip")) == []


@pytest.mark.parametrize(
    ("rules", "refuses"),
    [
        ("-P INPUT ACCEPT\n", OPENS), ("-P INPUT DROP\n", REFUSES),
        ("-P INPUT ACCEPT\n-A INPUT -s 10.0.0.0/8 -j ACCEPT\n-A INPUT -j REJECT --reject-with x\n", REFUSES),
        ("-P INPUT ACCEPT\n-A INPUT -p tcp -j REJECT\n", SOME), ("-P INPUT ACCEPT\n-A INPUT -j f2b-sshd\n", SOME),
        ("-P INPUT ACCEPT\n-P FORWARD DROP\n-A INPUT -j ACCEPT\n", OPENS),
    ],
)  # fmt: skip
def test_what_iptables_does_with_what_comes_in(rules: str, refuses: bool | None) -> None:
    assert linux_findings.iptables(rules).refuses is refuses


@pytest.mark.parametrize(
    ("tcp", "tcp6", "found"),
    [
        ([], [], []),
        ([row(ANYWHERE, 6379)], [], [(6379, 6379)]),
        ([row(LAN, 12345)], [], [(12345, 12345)]),
        ([row(HERE, 6379)], [], []),
        ([row(ANYWHERE, 22), row(ANYWHERE, 8265)], [], []),
        ([row(ANYWHERE, 6379, "01")], [], []),
        ([row(ANYWHERE, 6380)], [row(SIX, 10001), row(SIX, 10002)], [(6380, 6380), (10001, 10002)]),
        ([], [row(SIX_HERE, 10001), row(SIX_MAPPED, 6380)], []),
    ],
)
def test_who_listens_for_others(tcp: list[str], tcp6: list[str], found: Any, tmp_path: Path) -> None:
    lay(tmp_path, tcp, tcp6)
    spans = [span for each in exposure.ports(ARGV).values() for span in each]
    assert linux_findings.listening(spans, str(tmp_path)) == found


def test_ports_of_workers_may_be_a_list() -> None:
    found = exposure.ports(["--worker-port-list=10002,10003,10010", "--dashboard-port=8265", "--num-cpus=4"])
    assert found == {"worker-ports": [(10002, 10003), (10010, 10010)]}


def lay(root: Path, tcp: list[str], tcp6: list[str]) -> None:
    folder = root / "proc" / "net"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tcp").write_text(HEAD + "".join(tcp))
    (folder / "tcp6").write_text(HEAD + "".join(tcp6))


def look(root: Path, argv: list[str] = ARGV, said: Any = "", privileged: bool = True, **more: Any) -> list[Any]:
    """The findings of a host whose nft says this (None: there is none)."""
    service = root / "service"
    service.mkdir(exist_ok=True)
    spec = {"argv": argv, "env": more.get("env", {}), "python": "python3", **more.get("spec", {})}
    (service / "ray-lab.json").write_text(json.dumps(spec))
    if said is not None:
        (root / "usr/sbin").mkdir(parents=True, exist_ok=True)
        (root / "usr/sbin/nft").touch()

    def run(argv: list[str], limit: float) -> tuple[int, str]:
        assert argv[:3] == [str(root / "usr/sbin/nft"), "-s", "list"]
        if isinstance(said, Exception):
            raise said
        if isinstance(said, tuple):
            return said
        assert argv[3:] in (["chains"], ["chain", "inet", "filter", "input"]), "thousands of rules are not asked for"
        return 0, said

    host: Any = SimpleNamespace(
        cluster="lab", node_ip=more.get("ip", "10.0.0.10"), mode="check", shared={},
        platform=SimpleNamespace(run=run, privileged=lambda: privileged),
        path=lambda *names: str(root.joinpath(*names)),
    )  # fmt: skip
    return linux_findings.findings(host, str(root))


@pytest.mark.parametrize(
    ("case", "severity", "said"),
    [
        ({}, "notice", "no firewall here refuses anything (nftables): every machine of the network reaches Ray's ports "
                       "(6379, 6384), and may run programs through them"),
        ({"ip": "93.184.216.34"}, "notice", "the whole internet reaches"),
        ({"argv": OPEN}, "notice", "(6379, 6384, 8265; the dashboard is open), and may"),
        ({"said": NFT_DROP}, "fine", "its rules were not looked at; nothing was seen that opens"),
        ({"said": NFT_INVALID}, "notice", "its rules refuse was not looked at: whether every machine of the network"),
        ({"said": None}, "notice", "there is no firewall here: every machine"),
        ({"said": (1, "error")}, "notice", "nft does not list its rules: whether"),
        ({"said": Failure("nft is gone")}, "notice", "nft is gone: whether"),
        ({"privileged": False}, "notice", "only root can see whether a firewall of nftables is here: whether"),
        ({"spec": {"tls": {"id": "x"}}}, "notice", "reaches the ports of Ray that speak HTTP, which TLS does not cover "
                                                   "(6384), and may"),
        ({"spec": {"tls": {"id": "x"}}, "said": NFT_DROP}, "fine", "which TLS does not cover (6384) to strangers"),
    ],
)  # fmt: skip
def test_one_finding_for_a_host(case: dict[str, Any], severity: str, said: str, tmp_path: Path) -> None:
    lay(tmp_path, [row(ANYWHERE, 6379), row(ANYWHERE, 6384), row(ANYWHERE, 8265)], [])
    (finding,) = look(tmp_path, **case)
    assert finding["severity"] == severity
    assert said in finding["message"]
    assert bool(finding["remedy"]) is (severity == "notice")


def test_the_token_is_asked_for_before_anything_is_read(tmp_path: Path) -> None:
    """A host may have 100,000 sockets, and a run without changes is to be quick."""
    (finding,) = look(tmp_path, said=AssertionError("nothing is started"), env={"RAY_AUTH_MODE": "token"})
    assert (finding["severity"], finding["message"]) == (
        "fine",
        "who reaches Ray's ports is asked for the cluster's token",
    )


UFW_RULES = "### tuple ### %s\n"
LAN_RULE = "allow tcp 6379 0.0.0.0/0 any 10.0.0.0/8 in"
WIDE_RULE = "allow tcp 6000:7000 0.0.0.0/0 any 0.0.0.0/0 in comment=6d696e65"


@pytest.mark.parametrize(
    ("policy", "rules", "severity", "said"),
    [
        ("DROP", [LAN_RULE], "fine", "ufw refuses what no rule of it lets in, and none lets everybody in; nothing"),
        ("REJECT", ["allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in", "deny tcp 6379 0.0.0.0/0 any 0.0.0.0/0 in"], "fine", ""),
        ("DROP", [LAN_RULE, WIDE_RULE], "notice",
         "a rule of ufw lets everybody in (allow in proto tcp from 0.0.0.0/0 to 0.0.0.0/0 port 6000:7000): "),
        ("DROP", ["allow any any 0.0.0.0/0 any 0.0.0.0/0 in_eth0"], "notice", "a rule of ufw lets everybody in"),
        ("ACCEPT", [], "notice", "ufw is active, and lets in what no rule of it refuses: every machine"),
    ],
)  # fmt: skip
def test_what_ufw_does(policy: str, rules: list[str], severity: str, said: str, tmp_path: Path) -> None:
    lay(tmp_path, [row(ANYWHERE, 6379)], [])
    for name, text in {"usr/sbin/ufw": "", "etc/ufw/ufw.conf": "# x\nENABLED=yes\n",
                       "etc/default/ufw": f'IPV6=yes\nDEFAULT_INPUT_POLICY="{policy}"\n',
                       "etc/ufw/user.rules": "".join(UFW_RULES % rule for rule in rules)}.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (finding,) = look(tmp_path)
    assert finding["severity"] == severity
    assert finding["message"].startswith(said)


def test_nothing_is_said_where_nothing_runs(tmp_path: Path) -> None:
    lay(tmp_path, [], [])
    assert look(tmp_path) == []
    (tmp_path / "service" / "ray-lab.json").unlink()
    host: Any = SimpleNamespace(
        cluster="lab", mode="check", shared={}, path=lambda *names: str(tmp_path.joinpath(*names))
    )
    assert linux_findings.findings(host, str(tmp_path)) == []
