"""The archive of an interpreter that first contact brought: it is not sent a second time."""

from __future__ import annotations

import os
import threading

from provisioner.remote.files import replace, unlink
from provisioner.remote.folders import interpreters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from provisioner.remote.host import Host


_adopting = threading.Lock()


def adopt(host: Host, sha256: str, filename: str) -> None:
    """Take an archive that first contact brought into the store; a damaged one is only removed."""
    with _adopting:  # this host may want it and hand it out as well
        _adopt(host, sha256, filename)


def _adopt(host: Host, sha256: str, filename: str) -> None:
    import hashlib

    brought = os.path.join(interpreters() or "", sha256 + ".tar.gz")
    final = host.path("store", sha256, filename)
    if os.path.exists(final) or not os.path.isfile(brought):
        return
    # the account that it was brought to could have put a link to a file of another account here
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        opened = os.open(brought, flags)
    except OSError:
        return  # it is fetched like any other file
    digest, aside = hashlib.sha256(), host.path("store", sha256, ".adopted")
    host.folder("store", sha256)
    with open(opened, "rb") as source, open(aside, "wb") as target:
        for piece in iter(lambda: source.read(1 << 20), b""):
            digest.update(piece)
            target.write(piece)
    if digest.hexdigest() == sha256:
        replace(aside, final)
    else:
        unlink(aside)
    unlink(brought)
