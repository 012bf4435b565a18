"""A node's certificate for Ray's gRPC, and the cluster's own authority on the head: where they lie, what is known of
them.

The standard library reads no certificate but the one a peer shows (``ssl._ssl._test_decode_cert`` is undocumented, and
wants a file that has nothing else in it). So a note beside the secrets, which only we may write, holds what the
controller knew when it signed: names, dates, who signed, and the SHA-256 of each file, which tells whether the note
speaks of what is there. Each certificate has files of its own: what runs keeps its own, and so does what a node may go
back to.
"""

from __future__ import annotations

import json
import os

from provisioner.remote import files, secrets
from provisioner.remote.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Set, Tuple

    from provisioner.remote.host import Host

    Note = Dict[str, Any]
    Spec = Dict[str, Any]

SWITCH = "RAY_USE_TLS"
VARIABLES = {
    "RAY_TLS_SERVER_CERT": "certificate",
    "RAY_TLS_SERVER_KEY": "key",
    "RAY_TLS_CA_CERT": "authority",
}
"""What names the files to Ray (ray/_common/tls_utils.py and the core's grpc_util.h), and which part of a set it is."""
AUTHORITY = "authority"
"""The secret with the authority's certificate and key, and its dates; on the head only."""
NOTE = "certificate"
NOTED = {"id", "since", "until", "names", "authority", "files"}
PENDING = "certificate"
"""Where ``host.shared`` says that a certificate is about to be replaced: the node is restarted for it."""
PREFIX = "tls-"
NOTHING = {"id": "", "until": "", "authority": ""}
DUE = 3
"""What has less than this part of its time left is renewed."""


def note(host: Host) -> Optional[Note]:
    """Return what is known of this host's certificate, None if it has none."""
    return _json(secrets.original(host, NOTE), NOTED)


def keep(host: Host, answer: Note) -> Note:
    """Write down a certificate that the controller has made, for us and the account that runs Ray; returns its note.

    The files come first: a note never speaks of what is not there.
    """
    identity = secrets.fingerprint(answer["certificate"])
    sums = {}
    for part in sorted(VARIABLES.values()):
        secrets.admit(host, _name(identity, part), answer[part])
        sums[part] = _sum(answer[part])
    known = {name: answer[name] for name in ("since", "until", "names")}
    known.update(id=identity, files=sums, authority=secrets.fingerprint(answer["authority"]))
    secrets.keep(host, NOTE, json.dumps(known, indent=1, sort_keys=True))
    return known


def damage(host: Host, known: Note) -> str:
    """Return in words what is wrong with the files of a certificate, "" if nothing is."""
    for part in sorted(VARIABLES.values()):
        path = secrets.copy_path(host, _name(known["id"], part))
        content = secrets.read(path)
        if content is None:
            return "%s is missing" % path
        if _sum(content) != known["files"].get(part):
            return "%s was edited" % path
        exposed = host.platform.exposure(path, host.account)
        if exposed:
            return "%s may be used by others: %s" % (path, exposed[0])
    return ""


def authority(host: Host) -> Optional[Note]:
    """Return the authority that this host keeps (``certificate``, ``key``, ``since``, ``until``), None if none."""
    found = _json(secrets.original(host, AUTHORITY), {"certificate", "key", "since", "until"})
    if found is None or not isinstance(found["certificate"], str):
        return None
    return found


def authority_id(host: Host) -> str:
    """Return the fingerprint of the authority that signs from now on; "" if one must be made first, as for one that
    others could use: they may know its key, or have made it."""
    found = authority(host)
    if found is None or is_due(host, found) or authority_exposure(host):
        return ""
    return secrets.fingerprint(found["certificate"])


def authority_exposure(host: Host) -> Optional[Tuple[str, str]]:
    """Return who may use the authority's file and who should, in words; None if only we may, or there is none."""
    path = secrets.original_path(host, AUTHORITY)
    return host.platform.exposure(path, "") if os.path.lexists(path) else None


def keep_authority(host: Host, value: str) -> None:
    """Keep the authority that the controller has made.

    Raises:
        Failure: one that others have been certified with is there.
    """
    if authority_id(host):
        raise Failure("%s keeps a certificate authority already" % host.name, "run the same command again")
    secrets.keep(host, AUTHORITY, value)


def is_due(host: Host, known: Note) -> bool:
    """Tell whether something with these dates should be renewed, by the controller's clock, which made them."""
    since, until = int(known["since"]), int(known["until"])
    return until - host.run < (until - since) / DUE


def complete(host: Host, env: Dict[str, str]) -> Dict[str, str]:
    """Add to Ray's variables where this host's certificate lies; returns what a specification says of it (``of``)."""
    known = note(host)
    if known is None:  # it is about to be made: whoever only looks needs no path
        return dict(NOTHING)
    env.update({name: secrets.copy_path(host, _name(known["id"], part)) for name, part in VARIABLES.items()})
    return {"id": known["id"], "until": day(known["until"]), "authority": known["authority"]}


def of(spec: Spec) -> Dict[str, str]:
    """Return what a specification says of TLS: ``id`` and ``until`` of the certificate, ``authority``; all empty
    without."""
    return dict(NOTHING, **(spec.get("tls") or {}))


def variables(spec: Spec) -> Dict[str, str]:
    """Return the variables of a specification that concern TLS."""
    return {name: value for name, value in spec["env"].items() if name == SWITCH or name in VARIABLES}


def carried(spec: Spec, now: Spec) -> Spec:
    """Return a specification of former times with the TLS of the one in use: going back to other versions opens
    nothing, and a certificate of then may have ended."""
    env = {name: value for name, value in spec["env"].items() if name != SWITCH and name not in VARIABLES}
    found = {name: value for name, value in spec.items() if name != "tls"}
    return dict(found, env=dict(env, **variables(now)), **({"tls": now["tls"]} if now.get("tls") else {}))


def discard(host: Host, used: Set[str]) -> None:
    """Remove the files of certificates but those, which are given by ``id``."""
    for name in _found(host):
        if name[len(PREFIX) :].partition(".")[0] not in used:
            files.unlink(host.path("service", name))


def forget(host: Host) -> None:
    """Remove everything: the certificates, the note and the authority."""
    discard(host, set())
    for name in (NOTE, AUTHORITY):
        secrets.forget(host, name)


def traces(host: Host) -> List[str]:
    """Return the files of ours that ``forget`` removes."""
    originals = [secrets.original_path(host, name) for name in (NOTE, AUTHORITY)]
    return [path for path in originals if os.path.lexists(path)] + _found(host)


def day(seconds: float) -> str:
    """Return a moment as a day, in UTC."""
    import time

    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def _found(host: Host) -> List[str]:
    folder = host.path("service")
    return sorted(name for name in os.listdir(folder) if name.startswith(PREFIX)) if os.path.isdir(folder) else []


def _name(identity: str, part: str) -> str:
    return "%s%s.%s.pem" % (PREFIX, identity, part)


def _sum(content: str) -> str:
    import hashlib

    return hashlib.sha256(content.strip().encode("utf-8")).hexdigest()


def _json(text: Optional[str], wanted: Set[str]) -> Optional[Note]:
    try:
        found = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and set(found) >= wanted else None
