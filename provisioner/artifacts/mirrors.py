"""Whether a mirror that is a folder of this machine has what hosts are to get: known before any host is contacted."""

from __future__ import annotations

import os

from provisioner.artifacts.cache import Cache
from provisioner.artifacts.catalogue import Origin, available, described, local_path
from provisioner.artifacts.interpreter import interpreter_fingerprint, kept_interpreter
from provisioner.artifacts.platform import Platform
from provisioner.errors import ProvisionError


def lack(platform: Platform, version: str, mirror: str | None, cache: Cache) -> ProvisionError | None:
    """Return what a run would say when it comes to fetch an interpreter from a folder that lacks it, else None.

    None as well if it was fetched before, if it does not come from a folder of this machine, and if that folder is not
    there: hosts that have their interpreter need no mirror.

    Args:
        platform: of the host, as it is declared.
        version: the exact version of Python.
        mirror: the one of the inventory, if any.
        cache: of this machine.

    Raises:
        ProvisionError: the folder's own catalogue can't be read.
    """
    origin = Origin.of(mirror, os.environ)
    if not origin.local or not (origin.folder and origin.folder.is_dir()):
        return None
    if kept_interpreter(interpreter_fingerprint(platform, version, origin), cache):
        return None
    from provisioner.artifacts.explain_interpreter import Wanted, lacking, unknown

    known = available(platform, origin)
    wanted = Wanted(version, described(platform), origin, known)
    if version not in known:
        return unknown(wanted)
    file = local_path(known[version])
    return lacking(wanted) if file and not file.exists() else None
