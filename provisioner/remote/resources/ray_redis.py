"""How a head comes to the Redis that keeps its state: its password, and whether it would be let in.

The password lies in a file of flags beside the service's specification, for us and the account that Ray runs as; the
head is started through head_start.py, which keeps it off every command line. The specification says by a fingerprint
which password the head was started with: the file itself may be changed by whoever runs a job there.
"""

from __future__ import annotations

import os

from provisioner.remote import files, secrets, service
from provisioner.remote.failure import Failure
from provisioner.remote.head_start import FLAG
from provisioner.remote.platforms.base import fine, notice
from provisioner.remote.resource import difference
from provisioner.remote.resources import redis_talk
from provisioner.remote.resources.ray_node import REDIS_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any, Dict, List, Optional

    from provisioner.remote.host import Host
    from provisioner.remote.resource import Difference

    Redis = Dict[str, Any]
    Spec = Dict[str, Any]

KEY = "redis"
"""Where a specification has the fingerprint of the password. Never to be shown: the user's own may be short."""
STARTER = "head_start.py"
WHAT = "the head's password of Redis"
ASK_LIMIT = 30.0
COMPARE_LIMIT = 20.0
LOOK_LIMIT = 90.0
"""Seconds for the controller to look at Redis; one that reads its data is waited for."""


def through(host: Host, python: str, argv: List[str], redis: Redis) -> List[str]:
    """Return the command that starts a head: through our program if Redis has a password."""
    if not (redis["host"] or redis["password"]):
        return argv
    return [python, host.path("service", STARTER), _path(host), *argv[argv.index("start") :]]


def goes_through(host: Host, spec: Spec) -> bool:
    """Tell whether a node with that specification reads the password."""
    return _path(host) in spec.get("argv", ())


def differences(host: Host, now: Spec, wanted: Spec, redis: Optional[Redis], stops: str) -> List[Difference]:
    """Return in what the password that the head would be started with is not Redis's; as far as that is known now.

    Args:
        now: what the node runs with.
        wanted: what it should run with.
        redis: what is declared of it, None if nothing is.
        stops: what is stopped to have it use another password.
    """
    path = _path(host)
    if not goes_through(host, wanted):
        return [difference("remove", WHAT, before=path)] if os.path.lexists(path) else []
    if not goes_through(host, now) or redis is None:  # how it starts differs, which is told
        return []
    if not now.get(KEY):
        return [difference("change", WHAT, "unknown", "Redis's", stops)]
    if _is_another(host, redis, now):
        return [difference("change", WHAT, "another secret", "Redis's", stops)]
    if not os.path.lexists(path):
        return [difference("add", WHAT, after=path)]
    if _handed(host, now) is None:
        return [difference("change", WHAT, "edited", "Redis's")]
    exposed = host.platform.exposure(path, host.account)
    if exposed:
        return [difference("change", "who may use %s" % path, *exposed)]
    if _has_starter(host):
        return []
    return [difference("change", "what starts the head", "another program", "as declared")]


def settled(host: Host, wanted: Spec, now: Optional[Spec], redis: Optional[Redis]) -> Spec:
    """Return the specification with the fingerprint of the password that it is started with, which is held ready.

    Args:
        wanted: what the node is to be started with.
        now: what it runs with.
        redis: what is declared of it, None if nothing is.

    Raises:
        Failure: the password is nowhere to be had.
    """
    if not goes_through(host, wanted):
        return {name: value for name, value in wanted.items() if name != KEY}
    value = _password(host, redis, now) if redis else _handed(host, wanted)
    if value is None:
        raise Failure(
            "the head kept the cluster's state in Redis then, whose password is not on this host any more",
            "declare `redis:` again, and apply",
        )
    host.shared[KEY] = value
    return dict(wanted, **{KEY: secrets.fingerprint(value)})


def put(host: Host, spec: Spec) -> None:
    """Write what a head with that specification is started with, as ``settled`` has found it."""
    value = host.shared.get(KEY)
    if not value or spec.get(KEY) != secrets.fingerprint(value):
        return
    if not _has_starter(host):
        host.write(host.path("service", STARTER), _starter())
    if _handed(host, spec) is None or host.platform.exposure(_path(host), host.account):
        secrets.admit(host, REDIS_FLAGS, FLAG + value)


def tidy(host: Host, spec: Spec) -> None:
    """Have the password lie where it should for a node that runs with that specification, and nowhere else."""
    put(host, spec)
    if goes_through(host, spec):
        return
    secrets.forget(host, REDIS_FLAGS)
    if os.path.lexists(host.path("service", STARTER)):
        files.unlink(host.path("service", STARTER))


def check(host: Host, redis: Redis) -> None:
    """Raise a Failure if the head would not get on with Redis: Ray says it after a minute, with a native trace."""
    host.doing("looking at Redis")
    _look(host, redis)


def finding(host: Host, redis: Redis) -> Dict[str, str]:
    """Return what there is to say of Redis, whether it is well or not."""
    try:
        return fine(_look(host, redis))
    except Failure as failure:
        return notice(failure.message, failure.remedy)


def _look(host: Host, redis: Redis) -> str:
    """Have the controller use Redis as the head would, unless it would show the password to somebody else."""

    def trusted(connection: socket.socket) -> bool:
        return service.is_trusted(host, service.redis_name(host), connection)

    port = redis["address"][1]
    if redis["host"] == host.name and redis_talk.is_strangers(port, trusted):
        owner = host.platform.port_owner(port)
        raise Failure(
            "port %d, on which Redis should answer, is taken by %s, of another account" % (port, owner),
            "end that program, or write another one: `redis: {port: ...}`",
        )
    return str(host.wire.ask("controller", "redis", {"address": redis["address"]}, LOOK_LIMIT))


def _path(host: Host) -> str:
    return secrets.copy_path(host, REDIS_FLAGS)


def _starter() -> bytes:
    with open(os.path.join(os.path.dirname(os.path.abspath(service.__file__)), STARTER), "rb") as file:
        return file.read()


def _has_starter(host: Host) -> bool:
    wanted = _starter()
    return files.content(host.path("service", STARTER), len(wanted)) == wanted


def _handed(host: Host, spec: Spec) -> Optional[str]:
    """Return the password in the file of flags, if it is the one that a specification says; else None."""
    found = secrets.read(_path(host)) or ""
    value = found[len(FLAG) :] if found.startswith(FLAG) else ""
    return value if value and secrets.fingerprint(value) == spec.get(KEY) else None


def _is_another(host: Host, redis: Redis, now: Spec) -> bool:
    """Tell whether Redis has another password than the head was started with; False if that can't be known now. The
    one of another host does not travel for that."""
    known = redis["password"] or None
    if known is None and redis["host"] == host.name:
        known = secrets.original(host, secrets.REDIS)
    if known is not None:
        return secrets.fingerprint(known) != str(now[KEY])
    mine = _handed(host, now)
    if mine is None or redis["host"] in (None, host.name):
        return False
    key = secrets.new()
    try:
        told = host.wire.ask(redis["host"], "compared", {"name": secrets.REDIS, "key": key}, COMPARE_LIMIT)
    except Failure:  # it has none yet, or takes no part
        return False
    return bool(told != secrets.sealed(key, mine))


def _password(host: Host, redis: Redis, now: Optional[Spec]) -> str:
    """Return Redis's password; what another host made, that host knows.

    Raises:
        Failure: that host does not say, or this one has not made it yet.
    """
    if redis["password"]:
        return str(redis["password"])
    if redis["host"] == host.name:
        found = secrets.original(host, secrets.REDIS)
        if found is None:
            raise Failure("Redis has no password yet", "`provision apply` without --limit makes it")
        return found
    try:
        return str(host.wire.ask(redis["host"], "secret", secrets.REDIS, ASK_LIMIT))
    except Failure:  # it takes no part in this run, or has none yet
        handed = _handed(host, now or {})
        if handed is None:
            raise
        return handed
