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


def findings(host: Host) -> List[Finding]:
    """Return one finding for ``check`` if this host keeps such secrets, none otherwise."""
    kept = [told for name, told in KEPT.items() if os.path.lexists(secrets.original_path(host, name))]
    if host.mode != "check" or not kept:
        return []
    what = "whoever runs a job of the cluster can read %s" % " and ".join(kept)
    if not host.platform.privileged() or _is_ours(host.account):
        return [
            notice("Ray runs as %s, the account that keeps the cluster's secrets: %s" % (host.account, what), REMEDY)
        ]
    if _may_become_root(host):
        return [notice("Ray runs as %s, which may become root without a password: %s" % (host.account, what), REMEDY)]
    return [fine("the account that runs Ray, %s, is not the one that keeps the cluster's secrets" % host.account)]


def _is_ours(account: str) -> bool:
    import pwd

    try:
        return pwd.getpwnam(account).pw_uid == os.geteuid()
    except KeyError:
        return False


def _may_become_root(host: Host) -> bool:
    """Tell whether sudo lets Ray's account do something as root without its password, by what it tells root of it."""
    if not os.path.exists(SUDO):
        return False
    try:
        code, output = host.platform.run([SUDO, "-n", "-l", "-U", host.account], LIMIT, {"LC_ALL": "C"})
    except Failure:
        return False
    return code == 0 and bool(re.search(r"^\s*\((ALL|root)\b[^)]*\) (\w+: )*NOPASSWD:( \w+:)* ALL\b", output, re.M))
