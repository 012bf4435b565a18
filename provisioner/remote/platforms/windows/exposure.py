"""Whether strangers reach Ray's ports on a Windows machine, by the firewall's profiles and rules in the registry."""

from __future__ import annotations

from provisioner.remote.folders import interpreters
from provisioner.remote.platforms import exposure, reach
from provisioner.remote.platforms.exposure import Seen
from provisioner.remote.platforms.windows import rules
from provisioner.remote.platforms.windows.firewall import DISABLED, RULES, SERVICE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Tuple

    from provisioner.remote.host import Host
    from provisioner.remote.platforms.reach import Span

    Finding = Dict[str, str]
    Read = Callable[[str, str], Any]

PROFILES = SERVICE + r"\SharedAccess\Parameters\FirewallPolicy"
POLICY = r"HKLM\SOFTWARE\Policies\Microsoft\WindowsFirewall"
NETWORKS = {"DomainProfile": "domain", "StandardProfile": "private", "PublicProfile": "public"}
"""Keys of the profiles ([MS-GPFAS] 2.2.3); those of a group policy have PrivateProfile as well."""
MEANS = "the Windows firewall"


def findings(
    host: Host,
    read: Read,
    values: Callable[[str], Dict[str, Any]],
    listening: Callable[[], List[Tuple[str, int]]],
) -> List[Finding]:
    """Return what exposure.findings does.

    Args:
        host: this one.
        read: returns the data of a registry value, by key and name.
        values: returns all values of a registry key.
        listening: returns address and port of everything that listens.
    """
    return exposure.findings(
        host,
        lambda spans: exposure.within(spans, listening(), _is_loopback),
        lambda spans: look(host, read, values, spans),
        MEANS,
    )


def look(host: Host, read: Read, values: Callable[[str], Dict[str, Any]], spans: List[Span]) -> Seen:
    """Return what was seen of the firewall, as to strangers and some ports; what another product does is not."""
    if read(SERVICE + r"\mpssvc", "Start") == DISABLED:
        return Seen("the Windows firewall is switched off (its service never runs)", False)
    off = _networks(read, "EnableFirewall", 0)
    if off:
        return Seen("the Windows firewall is off on %s networks" % off, False)
    open_ones = _networks(read, "DefaultInboundAction", 0)
    if open_ones:
        return Seen("the Windows firewall lets in what no rule refuses on %s networks" % open_ones, False)
    for data in values(RULES).values():
        fields = rules.parse(data) if isinstance(data, str) and "|Action=Allow|" in data else {}
        if rules.lets_everybody_in(fields) and reach.overlap(spans, rules.ports(fields)) and _is_for_ray(host, fields):
            return Seen("the firewall rule '%s' lets everybody in" % rules.one(fields, "Name"), False)
    return Seen("the Windows firewall refuses what no rule of it lets in", True)


def _is_for_ray(host: Host, fields: rules.Fields) -> bool:
    """Tell whether a rule is for all programs, or for one of ours."""
    path = rules.program(fields)
    own = tuple(rules.same_path(folder) + "\\" for folder in (host.root, interpreters()) if folder)
    if any(name in fields for name in ("Svc", "AppPkgId")):
        return False
    return not path or path.startswith(own) or path == rules.same_path(host.interpreter() or "")


def _networks(read: Read, name: str, value: int) -> str:
    """Return the kinds of networks for which a profile has that value, by a policy or else by itself."""
    found = []
    for profile, kind in NETWORKS.items():
        keys = [POLICY + "\\" + profile, PROFILES + "\\" + profile]
        if kind == "private":
            keys.insert(0, POLICY + r"\PrivateProfile")
        told = next((data for data in (read(key, name) for key in keys) if data is not None), None)
        if told == value:
            found.append(kind)
    return " and ".join(found)


def _is_loopback(address: str) -> bool:
    import ipaddress

    where = ipaddress.ip_address(address)
    mapped = getattr(where, "ipv4_mapped", None)
    return (mapped or where).is_loopback
