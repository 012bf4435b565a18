"""Whether strangers reach Ray's ports on a Linux host, as far as that can be known there; changes nothing.

Whoever reaches the ports of a node without a token can run programs on every machine of the cluster (CVE-2023-48022).
What a firewall beyond the host keeps out can't be seen from it.
"""

from __future__ import annotations

import os

from provisioner.remote import service
from provisioner.remote.failure import Failure
from provisioner.remote.platforms.base import fine, notice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, List, Tuple

    from provisioner.remote.host import Host

    Finding = Dict[str, str]
    Run = Callable[[List[str], float], Tuple[int, str]]

UFW = "/etc/ufw/ufw.conf"
FIREWALLD = "/run/firewalld"
LIMIT = 10.0
"""Seconds for nft or iptables to list rules."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
REMEDY = (
    "let only the cluster's addresses reach them (ufw, firewalld, nftables), and have Ray ask for the cluster's token "
    "(leave `auth: none` out)"
)


def findings(host: Host, root: str = "/") -> List[Finding]:
    """Return one finding if Ray runs here, none if nothing of it does.

    Args:
        host: this one.
        root: where the system's files lie.
    """
    spec = service.read_spec(host, service.service_name(host))
    told = ports(spec["argv"]) if spec else []
    if spec is None or not told or not listens_beyond_loopback(told, root):
        return []
    if str(spec["env"].get("RAY_AUTH_MODE", "")).lower() == "token":
        return [fine("Ray's ports ask everybody for the cluster's token")]
    known, limits = firewall(host.platform.run, host.platform.privileged(), root)
    if limits:
        return [fine("%s limits who reaches Ray's ports" % limits)]
    if not known:
        return [fine("only root can see whether a firewall limits who reaches Ray's ports")]
    who = "the whole internet" if is_public(host.node_ip) else "every machine of the network"
    dashboard = " and the dashboard" if opens_dashboard(spec["argv"]) else ""
    told_of = "no firewall here limits who reaches Ray's ports%s: %s may run programs through them" % (dashboard, who)
    return [notice(told_of, REMEDY)]


def ports(argv: List[str]) -> List[Tuple[int, int]]:
    """Return the spans of ports in the arguments of ``ray start``, those of the dashboard on its loopback left out."""
    told = dict(each[2:].split("=", 1) for each in argv if each.startswith("--") and "=" in each)
    found = []
    for name, value in told.items():
        if name == "dashboard-port" and not opens_dashboard(argv):
            continue
        if name.endswith("port") and name not in ("min-worker-port", "max-worker-port") and value.isdigit():
            found.append((int(value), int(value)))
    low, high = told.get("min-worker-port", ""), told.get("max-worker-port", "")
    if low.isdigit() and high.isdigit():
        found.append((int(low), int(high)))
    return found


def opens_dashboard(argv: List[str]) -> bool:
    """Tell whether the dashboard listens beyond loopback."""
    hosts = [each.split("=", 1)[1] for each in argv if each.startswith("--dashboard-host=")]
    return bool(hosts) and hosts[-1] not in LOOPBACK


def listens_beyond_loopback(spans: List[Tuple[int, int]], root: str = "/") -> bool:
    """Tell whether anything listens on one of the ports for other machines, by /proc/net/tcp (proc(5))."""
    for table, loopback in (
        ("tcp", ("7F",)),
        ("tcp6", ("00000000000000000000000001000000", "0000000000000000FFFF0000")),
    ):
        try:
            with open(os.path.join(root, "proc/net", table)) as file:
                rows = [line.split() for line in file.readlines()[1:]]
        except OSError:
            continue
        for row in rows:
            address, _, port = row[1].partition(":")
            own = address.endswith(loopback[0]) if table == "tcp" else _is_loopback6(address, loopback)
            if row[3] == "0A" and not own and any(low <= int(port, 16) <= high for low, high in spans):
                return True
    return False


def _is_loopback6(address: str, loopback: Tuple[str, ...]) -> bool:
    mapped = address.startswith(loopback[1]) and address.endswith("7F")
    return address == loopback[0] or mapped


def firewall(run: Run, privileged: bool, root: str = "/") -> Tuple[bool, str]:
    """Return whether it can be known, and which firewall limits incoming connections, "" for none."""
    try:
        with open(os.path.join(root, UFW[1:])) as file:
            if any(line.strip().lower() == "enabled=yes" for line in file):
                return True, "ufw"
    except OSError:
        pass
    if os.path.isdir(os.path.join(root, FIREWALLD[1:])):
        return True, "firewalld"
    if not privileged:
        return False, ""
    for program, arguments in (("nft", ["list", "ruleset"]), ("iptables", ["-S", "INPUT"])):
        path = next(
            (p for p in ("usr/sbin/", "sbin/", "usr/bin/") if os.path.exists(os.path.join(root, p, program))), ""
        )
        if not path:
            continue
        try:
            code, output = run([os.path.join(root, path, program), *arguments], LIMIT)
        except Failure:
            return False, ""
        return code == 0, program if code == 0 and limits(output) else ""
    return True, ""


def limits(rules: str) -> bool:
    """Tell whether rules, as nft or iptables list them, keep anything out that comes in."""
    import re

    if re.search(r"^-P INPUT (DROP|REJECT)|^-A INPUT .*-j (DROP|REJECT)", rules, re.M):
        return True
    for chain in re.findall(r"chain \S+ \{(.*?)\n\t?\}", rules, re.S):
        if "hook input" in chain and re.search(r"policy drop|\b(drop|reject)\b|\b(jump|goto)\b", chain):
            return True
    return False


def is_public(address: str) -> bool:
    """Tell whether an address is one of the internet's own."""
    import ipaddress

    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False
