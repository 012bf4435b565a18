"""The firewalls of Linux that have a way in for others: ufw and firewalld, each where it is active, and never made so.

Rules that somebody wrote for nftables or iptables by hand stay as they are; exposure.py says what is seen of them.
"""

from __future__ import annotations

import os

from provisioner.remote.failure import Failure
from provisioner.remote.platforms import reach
from provisioner.remote.platforms.base import NEEDS_ELEVATION, fine, notice
from provisioner.remote.platforms.firewall import Firewall
from provisioner.remote.resource import difference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Tuple, Union

    from provisioner.remote.host import Host
    from provisioner.remote.platforms.firewall import Opening
    from provisioner.remote.platforms.firewalld import Firewalld
    from provisioner.remote.platforms.reach import Span
    from provisioner.remote.platforms.ufw import Rule, Ufw
    from provisioner.remote.resource import Difference

    Finding = Dict[str, str]
    Either = Union[Ufw, Firewalld]

LEFT = "firewalls left alone"
"""Where it is left for the findings what we don't open, or close, in ``host.shared``: (finding, whether it is over once
Ray was started: then whoever may have opened the firewall has, or need not)."""
SHUT = "shutting rules"
"""The same of rules of others that keep hosts of the cluster out."""


class LinuxFirewall(Firewall):
    """Args:
    top: the folder in which the system's files lie.
    """

    def __init__(self, top: str = "/") -> None:
        self._top = top

    def listeners(self, environment: str, interpreter: str) -> List[str]:
        return []

    def differences(self, host: Host, opening: Opening) -> List[Difference]:
        addresses, spans = _demand(opening)
        left: List[Tuple[Finding, bool]] = []
        shut: List[Rule] = []
        host.shared.update({LEFT: left, SHUT: shut})
        found = []
        for each in self._both(host):
            if not each.is_active():
                continue
            typed = "on the host: %s" % "; ".join(each.commands(addresses, spans))
            if not host.platform.privileged():
                told = (
                    "%s is active, and only root may look at its rules, or open it for the cluster's hosts" % each.name
                )
                left.append((_elevation(told, typed), True))
                continue
            if each.is_too_old():
                left.append(
                    (notice("this firewalld is older than 0.9, and is not opened for the cluster", typed), True)
                )
                continue
            try:
                found += each.differences(addresses, spans) + _forgotten(host, each)
                shut += each.shutting(addresses, spans)
            except Failure as failure:
                remedy = failure.remedy if isinstance(failure, reach.LeftAlone) else typed
                left.append((notice("%s is left as it is: %s" % (each.name, failure.message), remedy), False))
        return found

    def open(self, host: Host, opening: Opening) -> str:
        addresses, spans = _demand(opening)
        for ufw in self._ufw(host):
            if _forgotten(host, ufw):
                ufw.reclaim()
        done = []
        for each in self._both(host):
            if not each.is_active() or each.is_too_old():
                continue
            try:
                done.append(each.open(addresses, spans))
            except reach.LeftAlone as left:  # the findings say so, too, unless it has come to this meanwhile
                done.append("%s is left as it is: %s" % (each.name, left.message))
        return "; ".join(done)

    def traces(self, host: Host) -> List[Difference]:
        if host.platform.privileged():
            return [found for each in self._both(host) for found in each.traces()]
        told = "rules of %s that let the cluster's hosts in stay, if there are any: only root may look at them"
        is_ours = bool(host.marker.get("firewall"))
        there = [each for each in self._both(host) if is_ours or each.is_active()]
        host.shared[LEFT] = [
            (_elevation(told % each.name, "on the host: %s" % "; ".join(each.closing_commands())), False)
            for each in there
        ]
        return []

    def close(self, host: Host) -> str:
        done = [each.close() for each in self._both(host) if each.is_traced()]
        return "; ".join(filter(None, done))

    def lend(self, host: Host, port: int, addresses: List[str]) -> None:
        """See Firewall.lend. Nothing is lent at firewalld: files go over SSH then."""
        try:
            for ufw in self._ufw(host):
                ufw.lend(port, addresses)
        except (Failure, OSError):
            return

    def reclaim(self, host: Host) -> None:
        try:
            for ufw in self._ufw(host):
                ufw.reclaim()
        except (Failure, OSError):
            return

    def _ufw(self, host: Host) -> List[Ufw]:
        return [each for each in self._both(host) if each.name == "ufw" and each.is_active()]  # type: ignore[misc]

    def _both(self, host: Host) -> List[Either]:
        """Return those that are installed: most hosts have none, and a run without changes is to be quick."""
        found: List[Either] = []
        if os.path.exists(os.path.join(self._top, "usr/sbin/ufw")):
            from provisioner.remote.platforms.ufw import Ufw

            found.append(Ufw(host, self._top))
        if os.path.exists(os.path.join(self._top, "usr/bin/firewall-cmd")):
            from provisioner.remote.platforms.firewalld import Firewalld

            found.append(Firewalld(host, self._top))
        return found


def findings(host: Host, is_running: bool) -> List[Finding]:
    """Return what a user should know of firewalls that we don't open.

    Args:
        is_running: Ray was started here already: then whoever may have opened them has, or need not.
    """
    found = [
        fine(finding["message"]) if is_running and is_over else finding
        for finding, is_over in host.shared.get(LEFT) or []
    ]
    for rule in host.shared.get(SHUT) or []:
        message = (
            "the rule '%s' of ufw keeps hosts of the cluster from Ray's ports, and it is left to you" % rule.shown()
        )
        found.append(notice(message, "on the host: sudo ufw delete %s" % rule.shown()))
    return found


def _elevation(message: str, typed: str) -> Finding:
    return {"severity": NEEDS_ELEVATION, "message": message, "remedy": "set `become: true`, or " + typed}


def _forgotten(host: Host, each: Either) -> List[Difference]:
    """Return what is left of a run that broke off while it handed out files: nobody listens at that port now."""
    from provisioner.remote.resources.ray_checks import UNKNOWN

    ports = {first for rule in each.lent() for first, _ in rule.spans}
    if not ports or any(host.platform.port_owner(port) != UNKNOWN for port in ports):
        return []
    told = "let others fetch files from a run that broke off"
    return [difference("remove", "rules of %s" % each.name, before=told)]


def _demand(opening: Opening) -> Tuple[List[str], List[Span]]:
    reach.demand_places(opening["addresses"])
    return list(opening["addresses"]), reach.merge_ports((first, last) for first, last in opening["ports"])
