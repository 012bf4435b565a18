"""What may be amiss on a Mac, before anything is changed; one program is started for it, ``pmset``, unless Ray is open
to everybody."""

from __future__ import annotations

import re

from provisioner.remote.failure import Failure
from provisioner.remote.platforms import exposure, keeper
from provisioner.remote.platforms.base import NEEDS_ELEVATION, fine, notice
from provisioner.remote.platforms.exposure import Seen
from provisioner.remote.platforms.macos.firewall import PROGRAM, SHUT, look
from provisioner.remote.platforms.macos.processes import LSOF

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional

    from provisioner.remote.host import Host
    from provisioner.remote.platforms.reach import Span

    Finding = Dict[str, str]

PMSET = "/usr/bin/pmset"
PRIVACY_SINCE = 15
"""The release of macOS that brought Local Network privacy."""


def findings(host: Host) -> List[Finding]:
    """Return all that was looked at, see Platform.findings."""
    found = [_rights(host), _release(host), _sleep(host), _privacy(host), _firewall(host)]
    exposed = exposure.findings(host, lambda spans: _listening(host, spans), lambda _: _seen(host), "pf")
    return [each for each in found if each is not None] + exposed + keeper.findings(host)


def _listening(host: Host, spans: List[Span]) -> List[Span]:
    """Return on which ports something listens for other machines (lsof(8): a line ``nADDRESS:PORT`` for each)."""
    output = host.platform.run([LSOF, "-nP", "-iTCP", "-sTCP:LISTEN", "-Fn"], 30.0)[1]
    rows = [line[1:].rpartition(":") for line in output.splitlines() if line.startswith("n")]
    listened = [(address.strip("[]"), int(port)) for address, _, port in rows if port.isdigit()]
    return exposure.within(spans, listened, lambda address: address == "::1" or address.startswith("127."))


def _seen(host: Host) -> Seen:
    """Return what was seen of the application firewall; packet filter rules (pf) were not looked at."""
    state = look(host.platform)
    if state.shut:
        return Seen("the application firewall blocks all incoming connections", True)
    if state.on:
        return Seen("the application firewall knows programs and no addresses, and Ray's are allowed", False)
    return Seen("the application firewall is off, and pf was not looked at", False)


def _rights(host: Host) -> Finding:
    if host.platform.privileged():
        return fine("the session may do everything, as root")
    account = host.platform.login_account()
    missing = host.shared.get(NEEDS_ELEVATION) or []
    if not missing:
        return fine("the session has the rights of %s; Ray does not come back after a reboot by itself" % account)
    return {
        "severity": NEEDS_ELEVATION,
        "message": "the session has the rights of %s, and it can't: %s" % (account, "; ".join(missing)),
        "remedy": "set `become: true`",
    }


def _release(host: Host) -> Finding:
    facts = host.platform.facts()
    return fine("macOS %s on %s" % (facts["macos_version"] or "of unknown release", facts["arch"]))


def _sleep(host: Host) -> Optional[Finding]:
    try:
        output = host.platform.run([PMSET, "-g", "custom"], 10.0)[1]
    except Failure as failure:
        return fine("when the Mac goes to sleep could not be found out: %s" % failure.message)
    minutes = idle_minutes(output)
    if minutes:
        return notice(
            "the Mac goes to sleep after %d min without anybody at it: its node is lost then" % minutes,
            "on the host: sudo pmset -c sleep 0",
        )
    return fine("the Mac does not sleep on mains power, as long as its lid is open")


def idle_minutes(output: str) -> int:
    """Return after how many minutes on mains power the Mac goes to sleep, 0: never or not known.

    Args:
        output: of ``pmset -g custom`` (pmset(1)): a block for each kind of power.
    """
    kind = ""
    for line in output.splitlines():
        heading = re.match(r"\s*(.+ Power):\s*$", line)
        kind = heading.group(1) if heading else kind
        setting = re.match(r"\s*sleep\s+(\d+)", line)
        if kind == "AC Power" and setting:
            return int(setting.group(1))
    return 0


def _privacy(host: Host) -> Optional[Finding]:
    """What outlives its login may lose the way to the local network, and nothing tells before (see privacy.py)."""
    release = str(host.platform.facts()["macos_version"]).partition(".")[0]
    if not release.isdigit() or int(release) < PRIVACY_SINCE or host.service_manager.kind != "process":
        return fine("Local Network privacy: nothing known against it; `apply` says so if the service is refused")
    return notice(
        "macOS %s may keep from the local network what goes on after its login, as Ray does without `become: true`"
        % release,
        "set `become: true`, or see docs/macos.md if the node is lost after a while",
    )


def _firewall(host: Host) -> Optional[Finding]:
    if not host.shared.get(SHUT):
        return None
    return notice(
        "the firewall blocks all incoming connections, whatever is allowed: no other host reaches Ray here",
        "at that Mac: System Settings > Network > Firewall > Options, switch off `Block all incoming connections`; "
        "or: sudo %s --setblockall off" % PROGRAM,
    )
