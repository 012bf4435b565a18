"""Who could read the secrets that a host keeps for its cluster: not Ray's account, if that is another one.

Whoever runs a job runs it as Ray's account. The originals in ``secrets/`` are out of its reach only if we are another
account and it can't become us; nothing of that is changed here, it is said.
"""

from __future__ import annotations

import os
import re

from provisioner.remote import secrets
from provisioner.remote.failure import Failure
from provisioner.remote.platforms.base import fine, notice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List

    from provisioner.remote.host import Host

    Finding = Dict[str, str]

KEPT = {"authority": "the key of its certificate authority", "redis": "the password of its Redis"}
"""What Ray's account must not know or change, by the name of the secret; the token it has anyway."""
SUDO = "/usr/bin/sudo"
LIMIT = 10.0
REMEDY = "give Ray an account of its own that may not become root: `become: true`, and `account: NAME` for this host"
BY_SYSTEM = "give Ray an account of its own, by a service of the system alone: `service: systemd`, and `account: NAME`"
GROUPS = ("docker", "incus-admin", "lxd", "libvirt", "disk")
"""Whoever is in one of these makes himself root, by way of the host's disk."""


def findings(host: Host) -> List[Finding]:
    """Return one finding for ``check`` if this host keeps such secrets, none otherwise."""
    kept = [told for name, told in KEPT.items() if os.path.lexists(secrets.original_path(host, name))]
    if host.mode != "check" or not kept:
        return []
    what = "whoever runs a job of the cluster can read %s" % " and ".join(kept)
    account, privileged = host.service_manager.runs_as(host), host.platform.privileged()
    if not (privileged and account) or _is_ours(account):
        remedy = BY_SYSTEM if privileged and not account else REMEDY
        told = "Ray runs as %s, the account that keeps the cluster's secrets: %s" % (account or _us(), what)
        return [notice(told, remedy)]
    way = _way_to_root(host, account)
    if way:
        return [notice("Ray runs as %s, which may become root %s: %s" % (account, way, what), REMEDY)]
    return [fine("the account that runs Ray, %s, is not the one that keeps the cluster's secrets" % account)]


def _us() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name


def _is_ours(account: str) -> bool:
    import pwd

    try:
        return pwd.getpwnam(account).pw_uid == os.geteuid()
    except KeyError:
        return False


def _way_to_root(host: Host, account: str) -> str:
    """Return in words how an account becomes root without a password, as far as we know; "" if it does not."""
    groups = [name for name in GROUPS if name in _groups(account)]
    if groups:
        return "by its group %s" % groups[0]
    return "without a password" if _may_become_root(host, account) else ""


def _groups(account: str) -> List[str]:
    import grp
    import pwd

    found = []
    try:
        for number in os.getgrouplist(account, pwd.getpwnam(account).pw_gid):
            found.append(grp.getgrgid(number).gr_name)
    except (KeyError, OSError):
        pass
    return found


def _may_become_root(host: Host, account: str) -> bool:
    """Tell whether sudo lets Ray's account do something as root without its password, by what it tells root of it."""
    if not os.path.exists(SUDO):
        return False
    try:
        code, output = host.platform.run([SUDO, "-n", "-l", "-U", account], LIMIT, {"LC_ALL": "C"})
    except Failure:
        return False
    return code == 0 and bool(re.search(r"^\s*\((ALL|root)\b[^)]*\) (\w+: )*NOPASSWD:( \w+:)* ALL\b", output, re.M))
