"""Files with secrets that a service is started with or that its host keeps: who may use them, and that set right.

Each is shut from its first moment; later a restored backup, a tidying administrator (``chmod -R``) or a job may have
opened it. Setting that right restarts nothing.
"""

from __future__ import annotations

import os

from provisioner.remote import files, secrets, service
from provisioner.remote.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, List, Tuple

    from provisioner.remote.host import Host

KEYS = ("label-key", "certificate")
"""Originals beside those that have a difference of their own (the token, the authority, Redis's password)."""


def exposed(host: Host, name: str) -> List[Tuple[str, str, str]]:
    """Return (what, before, after) of every file of a service, and of the folder of secrets, that others may use."""
    found = [("who may use %s" % path, *exposure) for path, exposure in _wrong(host, name)]
    folder = host.path(secrets.FOLDER)
    if os.name == "posix" and os.path.lexists(folder):
        exposure = host.platform.exposure(folder, "")
        found += [("who may use %s" % folder, *exposure)] if exposure else []
    return found


def shut(host: Host, name: str) -> None:
    """Have only those use the files of a service who should.

    Raises:
        Failure: others still may: the file system keeps no access rights (exFAT, many CIFS mounts, WSL's /mnt/c).
    """
    if os.path.lexists(host.path(secrets.FOLDER)):
        secrets.shut_folder(host)
    for path, _ in list(_wrong(host, name)):
        own = path != service.copy_path(host, name)
        # of the account's copy nothing is taken: it is made anew from what we keep
        found = files.content(path if own else service.spec_path(host, name), service.MOST, ours=True)
        if found is None:  # another account's: it counts for nothing, and is made anew
            secrets.discard(path)
        else:
            secrets.write(host, path, found, "" if own else host.account)
    left = exposed(host, name)
    if left:
        raise Failure(
            "%s: it is %s, wanted %s, and changing it has no effect" % left[0],
            "its file system keeps no access rights of its own: set `root:` to a folder on one that does",
        )


def _wrong(host: Host, name: str) -> Iterator[Tuple[str, Tuple[str, str]]]:
    for path, account in _files(host, name):
        exposure = host.platform.exposure(path, account) if os.path.lexists(path) else None
        if exposure:
            yield path, exposure


def _files(host: Host, name: str) -> Iterator[Tuple[str, str]]:
    """Yield each file, and the account that may read it beside us; empty: nobody."""
    yield service.spec_path(host, name), ""
    yield service.history_path(host, name), ""
    yield service.copy_path(host, name), host.account
    for key in KEYS:
        yield secrets.original_path(host, key), ""
