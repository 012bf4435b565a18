"""Where a node keeps its sessions: in a folder of ours that is shut, for Ray opens its own to everybody.

At each start Ray gives ``--temp-dir``, the session and its sockets the mode 0777 (``try_to_create_directory`` in
_common/utils.py, called by _private/node.py; 2.60.0): whoever can get there may exchange a session, and with it run
code as Ray's account. So the default lies in an ``enclosure``, which Ray never touches. A declared ``temp_dir`` has
none: it is where the user wants it.
"""

from __future__ import annotations

import os

from provisioner.remote import files
from provisioner.remote.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional

    from provisioner.remote.host import Host

    Spec = Dict[str, Any]

KEY = "ray"
"""Names the marker's entry of the node."""
FLAG = "--temp-dir="


def folder(spec: Spec) -> str:
    """Return the folder that is made for a node's sessions, and removed with it."""
    return str(spec.get("enclosure") or spec["temp_dir"])


def as_it_runs(host: Host, wanted: Spec, now: Optional[Spec]) -> Spec:
    """Return a specification with the folder of the running node, if that is the default of a release before this one,
    which had no enclosure: that alone is worth no restart, the next one moves it."""
    if now is None or now.get("enclosure") or not wanted.get("enclosure"):
        return wanted
    former, later = now.get("temp_dir"), wanted["temp_dir"]
    if former not in (wanted["enclosure"], os.path.join(host.root, "ray")):
        return wanted
    spec = {name: value for name, value in wanted.items() if name != "enclosure"}
    before = host.platform.temporary(former)
    env = {name: before.get(name, value) if value == later else value for name, value in wanted["env"].items()}
    argv = [FLAG + former if word == FLAG + later else word for word in wanted["argv"]]
    return dict(spec, temp_dir=former, env=env, argv=argv)


def check(host: Host, spec: Spec) -> None:
    """Raise a Failure if a stranger made the folder; what we noted as ours is made anew if it is not its account's."""
    if not (host.platform.privileged() and is_noted(host, spec)):
        _check(host, spec)


def is_noted(host: Host, spec: Spec) -> bool:
    """Tell whether we made that folder."""
    entry = host.marker.get(KEY) or {}
    return bool(entry.get("made_temp_dir")) and entry.get("temp_dir") == folder(spec)


def note(host: Host, spec: Spec) -> None:
    """Write down what is about to be made, now that nothing runs there; a folder that was there before is not ours to
    remove. What another account made, or could get at while there was no enclosure, is not gone on with."""
    entry, path, shut = host.marker.get(KEY) or {}, folder(spec), bool(spec.get("enclosure"))
    same = entry.get("temp_dir") == path and bool(entry.get("enclosed")) == shut and not _is_refused(host, spec)
    if not same and entry.get("made_temp_dir"):
        files.discard(entry["temp_dir"])
    made = bool(entry["made_temp_dir"]) if same else not os.path.isdir(path)
    kind = host.service_manager.kind
    host.marker.put(KEY, {"manager": kind, "temp_dir": path, "made_temp_dir": made, "enclosed": shut})


def _check(host: Host, spec: Spec) -> None:
    account = host.service_manager.runs_as(host)
    host.platform.check_sessions(spec["temp_dir"], account, spec.get("enclosure", ""))


def _is_refused(host: Host, spec: Spec) -> bool:
    try:
        _check(host, spec)
    except Failure:
        return True
    return False
