"""Secrets that are made here, one file each: Ray's token, the key of the cluster's own authority.

The original lies in ``<root>/secrets`` on the one host that made it, for us alone. What Ray itself reads is a copy
beside the service's specification, for us and the account that Ray runs as: whoever runs a job there may change it, so
nothing is ever taken from it. No value is ever in an answer but the one to the question for it, in a command line, in a
variable, or in a message that reports see: those speak of fingerprints.
"""

from __future__ import annotations

import os
import threading

from provisioner.remote import files
from provisioner.remote.failure import Failure
from provisioner.remote.marker import discard_asides

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional, Tuple

    from provisioner.remote.host import Host

FOLDER = "secrets"
BYTES = 32
"""Of randomness in a secret: too many to be guessed from its fingerprint."""
LONGEST = 65536
"""Bytes of a secret at most; what is longer is none of ours."""
_KEEPING = threading.Lock()
"""Held while a secret is written down: other hosts' questions are answered beside the tasks."""


def new() -> str:
    """Return a secret of the OS's randomness, as hexadecimal digits."""
    return os.urandom(BYTES).hex()


def fingerprint(value: str) -> str:
    """Return what tells a secret from another one and gives nothing of it away; for such with much randomness only."""
    return str(_sha256()(value.encode("utf-8")).hexdigest()[:16])


def sealed(key: str, text: str) -> str:
    """Return what tells a text from another one and can't be tried out against guesses by who lacks the key."""
    inner = _sha256()(key.encode("utf-8") + b"\0" + text.encode("utf-8")).digest()
    return str(_sha256()(key.encode("utf-8") + b"\1" + inner).hexdigest()[:16])


def _sha256() -> Any:
    """Return what hashlib offers under that name, without the ten times longer way through OpenSSL if there is one."""
    import importlib

    for name in ("_sha2", "_sha256", "hashlib"):  # the first from Python 3.12 on, the second before
        try:
            return importlib.import_module(name).sha256
        except ImportError:
            continue
    raise Failure("this Python has no SHA-256", "see its installation")


def original_path(host: Host, name: str) -> str:
    """Return where this host keeps a secret that it made."""
    return host.path(FOLDER, name)


def copy_path(host: Host, name: str) -> str:
    """Return where a secret lies that Ray reads."""
    return host.path("service", name)


def read(path: str) -> Optional[str]:
    """Return what a file holds, None if there is none, it is a link, or nothing that we write."""
    return _text(files.content(path, LONGEST))


def _text(content: Optional[bytes]) -> Optional[str]:
    try:
        return None if content is None else content.decode("utf-8").strip()
    except ValueError:
        return None


def original(host: Host, name: str) -> Optional[str]:
    """Return a secret that this host made, None if it keeps none of that name: what belongs to another account, that
    account may have made, and knows."""
    return _text(files.content(original_path(host, name), LONGEST, ours=True)) or None


def keep(host: Host, name: str, value: str) -> None:
    """Write down a secret that this host made, for us alone."""
    with _KEEPING:
        shut_folder(host)
        write(host, original_path(host, name), value.encode("utf-8"), "")


def shut_folder(host: Host) -> None:
    """Have the folder of the originals, for us alone, whoever made one before: what others left in it counts for
    nothing (see ``original``)."""
    path = host.path(FOLDER)
    if os.path.islink(path):
        files.unlink(path)
    host.folder(FOLDER)
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            os.fchown(descriptor, os.geteuid(), os.getegid())
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)


def admit(host: Host, name: str, value: str) -> str:
    """Write the copy that Ray reads, for us and the account it runs as; returns its path."""
    host.folder("service")
    write(host, copy_path(host, name), value.encode("utf-8"), host.account)
    return copy_path(host, name)


def write(host: Host, path: str, content: bytes, account: str) -> None:
    """Replace a file in one step, by one that has its owner and its access already: for us and an account (empty: us
    alone)."""
    aside = path + ".new"
    host.write(aside, content, 0o600)
    if account:
        host.platform.admit(aside, account)
    files.replace(aside, path)


def flaws(host: Host, path: str, name: str, value: str, account: str = "") -> List[Tuple[str, str, str]]:
    """Return (what, before, after) of everything that is wrong with the file of a secret that is known (see
    ``unlike``)."""
    return unlike(host, path, name, fingerprint(value), account)


def unlike(host: Host, path: str, name: str, wanted: str, account: str = "") -> List[Tuple[str, str, str]]:
    """Return (what, before, after) of everything that is wrong with a secret's file.

    Args:
        path: of the original or the copy.
        name: how the user knows the secret, such as ``Ray's token``.
        wanted: the fingerprint of what it should hold.
        account: who may read it beside us; empty: nobody.
    """
    if not os.path.lexists(path):
        return [("%s (%s)" % (name, path), "missing", wanted)]
    found = read(path)
    before, wrong = fingerprint(found) if found else "unreadable", []
    if before != wanted:
        wrong.append(("%s (%s)" % (name, path), before, wanted))
    exposed = host.platform.exposure(path, account)
    if exposed:
        wrong.append(("who may use %s" % path, *exposed))
    return wrong


def forget(host: Host, name: str) -> None:
    """Remove a secret, its copy, and what an interrupted run left of them."""
    for path in (original_path(host, name), copy_path(host, name)):
        discard(path)
    try:
        os.rmdir(host.path(FOLDER))
    except OSError:
        return  # it was never made, or keeps another secret


def discard(path: str) -> None:
    """Remove a file that ``write`` has written, and what a run that was ended meanwhile left beside it."""
    folder, name = os.path.split(path)
    for each in (name, name + ".new"):
        discard_asides(folder, each)
        if os.path.lexists(os.path.join(folder, each)):
            files.unlink(os.path.join(folder, each))


REDIS = "redis"
"""Name of the password of the cluster's own Redis."""
LENT = ("token", "authority", REDIS)
"""Names of the secrets that others need; the controller knows which hosts (engine/between.py), and has the authority
lent to itself alone."""


def lend(host: Host, name: object) -> str:
    """Return a secret of this host for another one.

    Raises:
        Failure: it is none that others need, or this host keeps none of that name.
    """
    value = original(host, name) if isinstance(name, str) and name in LENT else None
    if value is None:
        raise Failure(
            "%s keeps no secret %s" % (host.name, str(name)[:40]),
            "`provision apply` without --limit makes what is missing",
        )
    return value


def compared(host: Host, args: object) -> str:
    """Return what tells a secret of this host from another one, for a host that may have it and only wants to know
    whether it still is the same (see ``sealed``).

    Args:
        args: ``name`` of the secret, and the ``key`` that the asker has made for this question.

    Raises:
        Failure: see ``lend``; or these are no such arguments.
    """
    told = args if isinstance(args, dict) else {}
    if not isinstance(told.get("key"), str):
        raise Failure("a secret is compared by a key, and none was given")
    return sealed(told["key"][:256], lend(host, told.get("name")))
