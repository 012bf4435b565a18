"""Ray's token: whoever shows it may use the cluster, nobody else (Ray 2.52 and newer).

The head makes it, and keeps it; every other host has it from there when its node is started. Ray reads a file once
per process (RAY_AUTH_TOKEN_PATH; authentication_token_loader.cc keeps what it read), so the file is only exchanged
while the node is stopped, and the specification says by a fingerprint which token the node was started with.
"""

from __future__ import annotations

import os

from provisioner.remote import secrets
from provisioner.remote.resource import difference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

    from provisioner.remote.host import Host
    from provisioner.remote.resource import Difference

    Spec = Dict[str, Any]

NAME = "token"
WHAT = "Ray's token"
MODE, PATH, VALUE = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_TOKEN"
"""Variables of Ray; a value in the last counts more than a file, and is never set by us."""
VARIABLES = (MODE, PATH)
SINCE = (2, 52)
"""The release of Ray that can ask for a token (ray/_private/authentication)."""
A_NEW_ONE = "a new one"
_REPLACED = "token replaced"
"""Where ``host.shared`` says that this run has replaced the token already."""


def is_wanted(spec: Spec) -> bool:
    """Tell whether a node with that specification asks for the token."""
    return bool(spec.get("env", {}).get(MODE) == "token")


def variables(host: Host, env: Dict[str, str]) -> Dict[str, str]:
    """Return what Ray must be told beside the mode that stands in its variables."""
    return {PATH: secrets.copy_path(host, NAME)} if env.get(MODE) == "token" else {}


def of(spec: Spec) -> str:
    """Return the fingerprint of the token that a node was started with, "" if it was with none."""
    return str(spec.get(NAME) or "") if is_wanted(spec) else ""


def carried(spec: Spec, now: Spec) -> Spec:
    """Return a specification of former times with the mode of the one in use: going back to other versions opens
    nothing, as far as these can ask for a token."""
    if MODE not in now["env"] or tuple(map(int, spec["versions"]["ray"].split(".")[:2])) < SINCE:
        return spec
    env = {name: value for name, value in spec["env"].items() if name not in VARIABLES}
    return dict(spec, env=dict(env, **{name: now["env"][name] for name in VARIABLES if name in now["env"]}))


def current(host: Host, spec: Optional[Spec]) -> Optional[str]:
    """Return the token that this head keeps, None if there is none.

    One whose original is lost is taken from the copy, if that is what the node was started with: we noted that where
    only we may write.
    """
    kept = secrets.original(host, NAME)
    if kept is not None or not of(spec or {}):
        return kept
    copy = secrets.read(secrets.copy_path(host, NAME))
    return copy if copy and secrets.fingerprint(copy) == of(spec or {}) else None


def told(host: Host, spec: Optional[Spec]) -> str:
    """Return, on the head, the fingerprint of the token that nodes must have, "" if that is about to be made."""
    if host.rotate and not host.shared.get(_REPLACED):
        return ""
    value = current(host, spec)
    return secrets.fingerprint(value) if value else ""


def shown_to_ray(host: Host) -> List[str]:
    """Return the tokens by which the node of this head may let us in: after a run that was cut off, Ray may still run
    with the one of before."""
    paths = secrets.original_path(host, NAME), secrets.copy_path(host, NAME)
    found = (secrets.read(path) for path in paths)
    return list(dict.fromkeys(each for each in found if each and each.isascii() and each.isalnum()))


def settled(host: Host, wanted: Spec, now: Optional[Spec], head: str) -> Spec:
    """Return the specification with the fingerprint of the token that it is started with, which is held ready.

    Args:
        wanted: what the node is to be started with.
        now: what it runs with.
        head: the name of the head's host.

    Raises:
        Failure: the head can't say what the token is.
    """
    if not is_wanted(wanted):
        return {name: value for name, value in wanted.items() if name != NAME}
    if host.name != head:
        value = host.wire.ask(head, "secret", NAME, 60.0)
    elif host.rotate and not host.shared.get(_REPLACED):
        value = host.shared.setdefault("new token", secrets.new())
    else:
        value = current(host, now) or host.shared.setdefault("new token", secrets.new())
    host.shared[NAME] = value
    return dict(wanted, **{NAME: secrets.fingerprint(value)})


def put(host: Host, spec: Spec, head: str) -> None:
    """Lay the token where Ray with that specification reads it, as ``settled`` has found it; the node is stopped, or
    was started with that very one."""
    value = host.shared.get(NAME)
    if not value or of(spec) != secrets.fingerprint(value):
        return
    if host.name == head:
        original = secrets.original_path(host, NAME)
        if secrets.unlike(host, original, WHAT, of(spec)):
            secrets.keep(host, NAME, value)
        host.shared[_REPLACED] = True
    if secrets.unlike(host, secrets.copy_path(host, NAME), WHAT, of(spec), host.account):
        secrets.admit(host, NAME, value)


def tidy(host: Host, spec: Spec, head: str) -> None:
    """Have the token lie where it should for a node that runs with that specification, and nowhere else."""
    put(host, spec, head)
    if not is_wanted(spec):
        secrets.forget(host, NAME)
    elif host.name != head and os.path.lexists(secrets.original_path(host, NAME)):
        value = secrets.read(secrets.copy_path(host, NAME))
        secrets.forget(host, NAME)
        if value:
            secrets.admit(host, NAME, value)


def differences(host: Host, now: Spec, wanted: Spec, head: str, stops: str) -> List[Difference]:
    """Return what this host can see by itself that is wrong with its token.

    Args:
        now: what the node runs with.
        wanted: what it should run with.
        head: the name of the head's host.
        stops: what is stopped to mend it, where that needs another token.
    """
    if not is_wanted(wanted):
        there = [secrets.original_path(host, NAME), secrets.copy_path(host, NAME)]
        return [difference("remove", WHAT, before=path) for path in there if os.path.lexists(path)]
    if not is_wanted(now):
        return [difference("add", WHAT, after="of the head" if host.name != head else A_NEW_ONE)]
    found = [] if host.name != head else _of_the_head(host, now, stops)
    if found and found[-1]["after"] == A_NEW_ONE:
        return found
    path = secrets.copy_path(host, NAME)
    return found + [difference("change", *each) for each in secrets.unlike(host, path, WHAT, of(now), host.account)]


def _of_the_head(host: Host, now: Spec, stops: str) -> List[Difference]:
    kept, expected = current(host, now), told(host, now)
    if not expected:
        before = secrets.fingerprint(kept) if kept else "missing"
        return [difference("change", WHAT, before, A_NEW_ONE, stops)]
    path = secrets.original_path(host, NAME)
    found = [difference("change", *each) for each in secrets.unlike(host, path, WHAT, expected)]
    return found + ([difference("change", WHAT, of(now), expected, stops)] if of(now) != expected else [])


def late(now: Spec, expected: Optional[str], stops: str) -> List[Difference]:
    """Return whether a worker that runs has another token than the head.

    Args:
        expected: what ``told`` says there; None if the head can't say.
        stops: what is stopped to mend it.
    """
    if expected is None or not of(now) or of(now) == expected:
        return []
    return [difference("change", WHAT, of(now), expected or A_NEW_ONE, stops)]
