"""What ran on this host before, newest first, one specification per environment: what a node can go back to.

A file beside the service's own specification. An entry says whether the node was seen in the cluster with it
(``proven``) or was only about to, and which run brought its environment into use (``since``, in seconds of the
controllers' clocks); teardown removes the file with the service.
"""

from __future__ import annotations

import json
import os

from provisioner.remote import files, service, tls
from provisioner.remote.failure import Failure
from provisioner.remote.resources import ray_token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional

    from provisioner.remote.host import Host
    from provisioner.remote.resources.ray_state import Node

    Spec = Dict[str, Any]

MOST = 20
"""Environments that are remembered; far more than are ever kept."""
REVERTED = "reverted"
"""Marks the specification in use as one that was gone back to, so that going back twice does not go forward."""
NEEDED = {"argv", "env", "python", "environment", "config", "versions", "gcs", "dashboard", "proven", "since"}


def read(host: Host) -> List[Spec]:
    """Return what ran here, newest first; a damaged file says nothing."""
    try:
        entries = json.loads(files.content(_path(host), service.MOST, ours=True) or b"")
    except (ValueError, RecursionError):
        return []
    if not isinstance(entries, list):
        return []
    return [entry for entry in entries if isinstance(entry, dict) and set(entry) >= NEEDED]


def note(host: Host, spec: Spec, proven: bool = True) -> None:
    """Remember a specification as the newest; what is not proven takes no proven one's place."""
    known = read(host)
    same = [entry for entry in known if entry["environment"] == spec["environment"]]
    if not proven and any(entry["proven"] for entry in same):
        return
    is_current = bool(known) and known[0] in same
    entry = dict(spec, proven=proven, since=known[0]["since"] if is_current else host.run)
    entry.pop(REVERTED, None)
    wanted = [entry, *(each for each in known if each not in same)][:MOST]
    if wanted != known:
        host.write(_path(host), json.dumps(wanted, indent=1, sort_keys=True).encode("utf-8"), 0o600)
        if spec.get("tls"):
            discard_certificates(host)


def discard_certificates(host: Host) -> None:
    """Remove the files of certificates but the newest and those that what runs here, or what it may go back to, was
    started with."""
    spec = service.read_spec(host, service.service_name(host))
    started = [tls.of(each)["id"] for each in ([spec] if spec else []) + read(host)]
    tls.discard(host, {(tls.note(host) or tls.NOTHING)["id"], *started})


def remember(host: Host, now: Optional[Spec], seen: List[Node]) -> None:
    """Note what runs here until now: a run that was interrupted may not have come to it.

    Args:
        seen: the cluster's living nodes.
    """
    if now is not None and {*now, "proven", "since"} >= NEEDED:
        alive = any(node["host"] == host.name and node["config"] == now["config"] for node in seen)
        note(host, now, proven=alive)


def newest(host: Host, suits: Callable[[Spec], bool]) -> Optional[Spec]:
    """Return the newest specification that suits and whose environment still is there, None if there is none."""
    for entry in read(host):
        if suits(entry) and os.path.exists(entry["python"]):
            spec = dict(entry)
            del spec["proven"], spec["since"]
            return spec
    return None


def running_role(spec: Optional[Spec], declared: str) -> str:
    """Return what the node is now: a head that was moved elsewhere is declared as nothing, or as a worker."""
    return declared if spec is None else "head" if "--head" in spec["argv"] else "worker"


def is_proven(host: Host, spec: Spec) -> bool:
    """Tell whether the node was seen in the cluster with that very configuration."""
    return any(entry["config"] == spec["config"] and entry["proven"] for entry in read(host))


def destination(host: Host, rollback: bool) -> Optional[Spec]:
    """Return what this host's node runs when the run is over: for a rollback, the newest on another environment.

    None if there is nothing to go back to.
    """
    now = service.read_spec(host, service.service_name(host))
    if now is None or not rollback or now.get(REVERTED):
        return now
    former = newest(host, lambda spec: spec["environment"] != now.get("environment") and spec["proven"])
    return dict(carried(former, now), **{REVERTED: True}) if former else None


def carried(spec: Spec, now: Spec) -> Spec:
    """Return a specification of former times, closed to strangers as the one in use is."""
    return tls.carried(ray_token.carried(spec, now), now)


def told(host: Host, rollback: bool) -> Optional[Spec]:
    """Return what other hosts need to know of the destination, and ``since`` when what is left for it was in use.

    Never a secret. ``since`` is 0 if this host leaves nothing.
    """
    spec = destination(host, rollback)
    if spec is None or "versions" not in spec:
        return None
    left = [entry["since"] for entry in read(host) if entry["environment"] != spec["environment"]]
    answer = {name: spec[name] for name in ("versions", "gcs", "dashboard")}
    if spec.get("tls"):
        answer["tls"] = tls.of(spec)
    answer["env"] = {name: value for name, value in spec["env"].items() if name == ray_token.MODE}
    return dict(answer, since=left[0] if rollback and left else 0)


def since(host: Host, spec: Spec) -> int:
    """Return which run brought a specification's environment into use; 0 if that is not known."""
    found = [entry["since"] for entry in read(host) if entry["environment"] == spec.get("environment")]
    return int(found[0]) if found else 0


def fitting(host: Host, now: Spec, head: Spec) -> Spec:
    """Return the newest of this host that fits what the head will run.

    What fits already stays if it has gone back before, or if it was there before what the head leaves.

    Raises:
        Failure: there is none.
    """
    from provisioner.remote.resources import ray_spec

    is_fit = "versions" in now and ray_spec.fits(now, head)
    was_there = now.get(REVERTED) or since(host, now) < head["since"]
    former = newest(
        host,
        lambda spec: ray_spec.fits(carried(spec, now), head) and spec["environment"] != now.get("environment"),
    )
    if is_fit and (was_there or former is None):
        return dict(now, dashboard=head["dashboard"])
    if former is None:
        raise Failure(
            "%s, to which the head goes back, is not on this host" % ray_spec.versions(head),
            "leave this host out with --limit, or declare that version and `provision apply`",
        )
    return dict(carried(former, now), dashboard=head["dashboard"], **{REVERTED: True})


def _path(host: Host) -> str:
    return service.history_path(host, service.service_name(host))
