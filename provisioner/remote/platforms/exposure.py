"""Whether strangers reach Ray's ports on a host, as far as that can be known there, in the same words on every OS.

Whoever reaches the ports of a node without a token can run programs on every machine of the cluster (CVE-2023-48022).
What a firewall beyond the host keeps out can't be seen from it.
"""

from __future__ import annotations

from provisioner.remote import service
from provisioner.remote.platforms import reach
from provisioner.remote.platforms.base import fine, notice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Tuple

    from provisioner.remote.host import Host
    from provisioner.remote.platforms.reach import Span

    Finding = Dict[str, str]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
HTTP = ("dashboard-port", "dashboard-agent-listen-port", "runtime-env-agent-port", "metrics-export-port")
"""Ports that gRPC's TLS does not cover (docs/security.md)."""
REMEDY = (
    "let only the cluster's addresses reach them (%s), and have Ray ask for the cluster's token "
    "(leave `auth: none` out)"
)


class Seen:
    """What was seen of the firewalls of a host.

    Args:
        told: in words, a whole clause.
        refuses: nothing was seen that lets strangers in to Ray's ports; None: not enough was seen.
    """

    def __init__(self, told: str, refuses: Optional[bool]) -> None:
        self.told = told
        self.refuses = refuses


def findings(
    host: Host, listening: Callable[[List[Span]], List[Span]], look: Callable[[List[Span]], Seen], means: str
) -> List[Finding]:
    """Return one finding if Ray runs here, none if nothing of it does.

    Args:
        host: this one.
        listening: returns on which of some ports something listens for other machines.
        look: says what firewalls do about such ports.
        means: names what firewalls there are on this OS.
    """
    spec = service.read_spec(host, service.service_name(host))
    told = ports(spec["argv"]) if spec else {}
    if spec is None or not told:
        return []
    if str(spec["env"].get("RAY_AUTH_MODE", "")).lower() == "token":  # first: the rest takes time
        return [fine("who reaches Ray's ports is asked for the cluster's token")]
    certified = bool(spec.get("tls"))
    spans = reach.merge_ports(span for name, each in told.items() if name in HTTP or not certified for span in each)
    open_ones = listening(spans)
    if not open_ones:
        return []
    return [_judge(look(open_ones), open_ones, certified, "dashboard-port" in told, host.node_ip, means)]


def _judge(seen: Seen, spans: List[Span], certified: bool, dashboard: bool, node_ip: str, means: str) -> Finding:
    what = "the ports of Ray that speak HTTP, which TLS does not cover" if certified else "Ray's ports"
    what += " (%s%s)" % (reach.show_ports(spans).replace(",", ", "), "; the dashboard is open" if dashboard else "")
    if seen.refuses:
        return fine("%s; nothing was seen that opens %s to strangers" % (seen.told, what))
    who = "the whole internet" if is_public(node_ip) else "every machine of the network"
    if seen.refuses is None:
        return notice("%s: whether %s reaches %s is not known" % (seen.told, who, what), REMEDY % means)
    return notice("%s: %s reaches %s, and may run programs through them" % (seen.told, who, what), REMEDY % means)


def ports(argv: List[str]) -> Dict[str, List[Span]]:
    """Return the spans of ports in the arguments of ``ray start``, by option; without the dashboard's on its loopback,
    or the workers' by ``worker-ports``."""
    told = dict(each[2:].split("=", 1) for each in argv if each.startswith("--") and "=" in each)
    found: Dict[str, List[Span]] = {}
    for name, value in told.items():
        if name == "dashboard-port" and not opens_dashboard(argv):
            continue
        if name.endswith("port") and name not in ("min-worker-port", "max-worker-port") and value.isdigit():
            found[name] = [(int(value), int(value))]
    low, high = told.get("min-worker-port", ""), told.get("max-worker-port", "")
    if low.isdigit() and high.isdigit():
        found["worker-ports"] = [(int(low), int(high))]
    listed = [int(each) for each in told.get("worker-port-list", "").split(",") if each.isdigit()]
    if listed:
        found["worker-ports"] = reach.merge_ports((port, port) for port in listed)
    return found


def opens_dashboard(argv: List[str]) -> bool:
    """Tell whether the dashboard listens beyond loopback."""
    hosts = [each.split("=", 1)[1] for each in argv if each.startswith("--dashboard-host=")]
    return bool(hosts) and hosts[-1] not in LOOPBACK


def within(spans: List[Span], listened: List[Tuple[str, int]], loopback: Callable[[str], bool]) -> List[Span]:
    """Return on which of some ports something listens for other machines.

    Args:
        listened: addresses and ports that something listens on, in whatever form.
        loopback: tells an address that only the machine itself reaches.
    """
    there = {port for address, port in listened if not loopback(address)}
    return reach.overlap(spans, [(port, port) for port in there])


def is_public(address: str) -> bool:
    """Tell whether an address is one of the internet's own."""
    import ipaddress

    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False
