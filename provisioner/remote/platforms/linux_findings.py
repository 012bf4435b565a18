"""What may be amiss on a Linux host: who reaches Ray, whom its firewalls let in, and who could read its secrets."""

from __future__ import annotations

import os
import re

from provisioner.remote import service
from provisioner.remote.failure import Failure
from provisioner.remote.platforms import exposure, keeper, listeners, reach
from provisioner.remote.platforms.exposure import Seen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Tuple

    from provisioner.remote.host import Host
    from provisioner.remote.platforms.reach import Span

    Finding = Dict[str, str]
    Run = Callable[[List[str], float], Tuple[int, str]]

LIMIT = 10.0
"""Seconds for nft or iptables to list rules."""
MEANS = "ufw, firewalld, nftables"
LOOPBACK6 = ("00000000000000000000000001000000", "0000000000000000FFFF0000")
"""::1, and how mapped addresses begin, as /proc has them."""


def findings(host: Host, top: str = "/") -> List[Finding]:
    """Return all that was looked at, see Platform.findings.

    Args:
        host: this one.
        top: the folder in which the system's files lie.
    """
    from provisioner.remote.platforms import linux_firewall

    found = linux_firewall.findings(host, service.read_spec(host, service.service_name(host)) is not None)
    found += exposure.findings(
        host, lambda spans: listening(spans, top), lambda spans: firewalls(host, spans, top), MEANS
    )
    return found + keeper.findings(host)


def listening(spans: List[Span], top: str = "/") -> List[Span]:
    """Return on which ports something listens for other machines."""
    found = [(address, port) for address, port, _ in listeners.listeners(top)]
    return exposure.within(spans, found, _is_loopback)


def _is_loopback(address: str) -> bool:
    """Tell whether an address, in the words of the machine's order of bytes, is one of the machine alone."""
    if len(address) == 8:
        return address.endswith("7F")
    return address == LOOPBACK6[0] or (address.startswith(LOOPBACK6[1]) and address.endswith("7F"))


def firewalls(host: Host, spans: List[Span], top: str = "/") -> Seen:
    """Return what was seen of the firewalls of this host, as to strangers and some ports."""
    seen = [each for each in (_ufw(host, spans, top), _firewalld(host, spans, top)) if each.told]
    if seen:  # what one of them refuses is refused
        return next((each for each in seen if each.refuses), seen[0])
    if not host.platform.privileged():
        return Seen("only root can see whether a firewall of nftables is here", None)
    six = ":" in host.node_ip
    for program, look in (("nft", _nft), ("ip6tables" if six else "iptables", _iptables)):
        places = (os.path.join(top, place, program) for place in ("usr/sbin", "sbin", "usr/bin"))
        path = next(filter(os.path.exists, places), "")
        if not path:
            continue
        try:
            return look(host, path, six)
        except Failure as failure:
            return Seen(failure.message, None)
    return Seen("there is no firewall here", False)


def _listed(host: Host, argv: List[str]) -> str:
    code, output = host.platform.run(argv, LIMIT)
    if code:
        raise Failure("%s does not list its rules" % os.path.basename(argv[0]))
    return output


def _nft(host: Host, path: str, six: bool) -> Seen:
    """Look at the chains that see what comes in alone: where containers run there are thousands of other rules."""
    families = ("inet", "ip6" if six else "ip")
    chains = incoming(_listed(host, [path, "-s", "list", "chains"]), families)
    return nft("".join(_listed(host, [path, "-s", "list", "chain", *chain]) for chain in chains), families)


def _iptables(host: Host, path: str, six: bool) -> Seen:
    return iptables(_listed(host, [path, "-S", "INPUT"]))


def _ufw(host: Host, spans: List[Span], top: str) -> Seen:
    from provisioner.remote.platforms.ufw import Ufw

    ufw = Ufw(host, top)
    if not ufw.is_active():
        return Seen("", None)
    if not ufw.refuses():
        return Seen("ufw is active, and lets in what no rule of it refuses", False)
    try:
        rules = ufw.rules()
    except OSError:
        return Seen("ufw refuses what no rule of it lets in, and only root may look at its rules", None)
    wide = [rule for rule in rules if rule.lets_everybody_in and reach.overlap(spans, rule.spans)]
    if wide:
        return Seen("a rule of ufw lets everybody in (%s)" % wide[0].shown(), False)
    return Seen("ufw refuses what no rule of it lets in, and none lets everybody in", True)


def _firewalld(host: Host, spans: List[Span], top: str) -> Seen:
    from provisioner.remote.platforms.firewalld import Firewalld

    firewalld = Firewalld(host, top)
    if not firewalld.is_active():
        return Seen("", None)
    if not host.platform.privileged():
        return Seen("firewalld is active, and only root may look at its zones", None)
    try:
        zones = firewalld.zones()
    except (Failure, ValueError, IndexError) as error:
        return Seen("firewalld is active, and its zones could not be looked at (%s)" % error, None)
    for name, settings in zones.items():
        if settings.get("target") == "ACCEPT":
            return Seen("firewalld's zone %s lets everybody in" % name, False)
        if reach.overlap(spans, _zone_ports(settings)):
            return Seen("firewalld's zone %s opens ports to everybody" % name, False)
    told = (
        "firewalld refuses what its zones (%s) don't let in, and they open no such port; services and rich rules were "
    )
    return Seen(told % ", ".join(sorted(zones)) + "not looked at", True)


def _zone_ports(settings: Dict[str, Any]) -> List[Span]:
    spans = (port.partition("-") for port, protocol in settings.get("ports", []) if protocol == "tcp")
    return reach.merge_ports((int(first), int(last or first)) for first, _, last in spans)


def incoming(rules: str, families: Tuple[str, ...]) -> List[Tuple[str, str, str]]:
    """Return the chains (family, table, name) that ``nft list chains`` says see what comes in.

    Args:
        families: of the tables that see what comes to the node's address.
    """
    return [
        (family, table, name)
        for family, table, chains in re.findall(r"^table (\S+) (\S+) \{(.*?)\n\}", rules, re.S | re.M)
        if family in families
        for name, chain in re.findall(r"chain (\S+) \{(.*?)\n\t\}", chains, re.S)
        if "hook input" in chain
    ]


def nft(rules: str, families: Tuple[str, ...] = ("inet", "ip")) -> Seen:
    """Return what nft shows of what comes in (nft(8)): whether it is refused by default, at most.

    Args:
        families: of the tables that see what comes to the node's address.
    """
    refuses = some = False
    tables = re.findall(r"^table (\S+) \S+ \{(.*?)\n\}", rules, re.S | re.M)
    chains = [chain for family, table in tables if family in families
              for chain in re.findall(r"chain \S+ \{(.*?)\n\t\}", table, re.S)]  # fmt: skip
    for chain in chains:
        if "hook input" not in chain:
            continue
        last = chain.strip().splitlines()[-1].strip()
        closed = re.match(r"(counter( packets \d+ bytes \d+)? )?(drop|reject)\b", last)
        refuses = refuses or "policy drop" in chain or bool(closed)
        some = some or bool(re.search(r"\b(drop|reject|jump|goto|queue)\b", chain))
    return _by_default("nftables", refuses, some)


def iptables(rules: str) -> Seen:
    """Return the same of what ``iptables -S INPUT`` shows."""
    lines = rules.split("\n")
    refuses = any(re.match(r"-P INPUT DROP|-A INPUT -j (DROP|REJECT)\b", line) for line in lines)
    some = any(re.match(r"-A INPUT .*-[jg] (?!ACCEPT|LOG|RETURN)", line) for line in lines)
    return _by_default("iptables", refuses, some)


def _by_default(name: str, refuses: bool, some: bool) -> Seen:
    if refuses:
        return Seen("%s refuses what no rule lets in, and its rules were not looked at" % name, True)
    if some:
        return Seen("%s lets in what no rule refuses, and what its rules refuse was not looked at" % name, None)
    return Seen("no firewall here refuses anything (%s)" % name, False)
