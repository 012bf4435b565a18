"""How a head comes to the Redis that keeps its state: its password, and whether it would be let in.

The password lies in a file of flags beside the service's specification, for us and the account that runs Ray; the head
is started through head_start.py, which keeps it off every command line.
"""

from __future__ import annotations

import os

from provisioner.remote import secrets, service
from provisioner.remote.failure import Failure
from provisioner.remote.head_start import FLAG
from provisioner.remote.platforms.base import fine, notice
from provisioner.remote.resource import difference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

    from provisioner.remote.host import Host
    from provisioner.remote.resource import Difference

    Redis = Dict[str, Any]

FLAGS = "redis.flags"
SECRET = "redis"  # noqa: S105 - its name
WHAT = "the head's password of Redis"
ASK_LIMIT = 30.0
LOOK_LIMIT = 90.0
"""Seconds for the controller to look at Redis; one that reads its data is waited for."""


def through(host: Host, python: str, argv: List[str], redis: Redis) -> List[str]:
    """Return the command that starts a head: through our program if Redis has a password."""
    if not (redis["host"] or redis["password"]):
        return argv
    return [python, host.path("service", "head_start.py"), secrets.copy_path(host, FLAGS), *argv[argv.index("start") :]]


def differences(host: Host, redis: Optional[Redis], stops: str) -> List[Difference]:
    """Return in what the password that the head would be started with is not Redis's; as far as that is known now."""
    if not redis:
        return []
    try:
        wanted = _password(host, redis)
    except Failure:  # Redis is not there yet, or its host takes no part
        return []
    path = secrets.copy_path(host, FLAGS)
    if wanted is None or not os.path.lexists(path):
        return []
    if secrets.read(path) != FLAG + wanted:
        return [difference("change", WHAT, "another secret", "Redis's", stops)]
    exposed = host.platform.exposure(path, host.account)
    return [difference("change", "who may use %s" % path, *exposed)] if exposed else []


def prepare(host: Host, redis: Optional[Redis]) -> None:
    """Write what the head is started with.

    Raises:
        Failure: the password is nowhere to be had.
    """
    password = _password(host, redis) if redis else None
    if password is None:
        return
    with open(os.path.join(os.path.dirname(os.path.abspath(service.__file__)), "head_start.py"), "rb") as file:
        host.write(host.path("service", "head_start.py"), file.read())
    secrets.admit(host, FLAGS, FLAG + password)


def check(host: Host, redis: Optional[Redis]) -> None:
    """Raise a Failure if the head would not get on with Redis: Ray says it after a minute, with a native trace."""
    if redis:
        host.doing("looking at Redis")
        host.wire.ask("controller", "redis", {"address": redis["address"]}, LOOK_LIMIT)


def finding(host: Host, redis: Redis) -> Dict[str, str]:
    """Return what there is to say of Redis, whether it is well or not."""
    try:
        return fine(str(host.wire.ask("controller", "redis", {"address": redis["address"]}, LOOK_LIMIT)))
    except Failure as failure:
        return notice(failure.message, failure.remedy)


def _password(host: Host, redis: Redis) -> Optional[str]:
    """Return Redis's password, None if it has none; what another host made, that host knows."""
    if redis["password"] or redis["host"] is None:
        return redis["password"] or None
    if redis["host"] == host.name:
        found = secrets.original(host, SECRET)
        if found is None:
            raise Failure("Redis has no password yet", "`provision apply` without --limit makes it")
        return found
    known = host.shared.get("redis")
    if known is None:
        try:
            known = host.shared["redis"] = host.wire.ask(redis["host"], "secret", SECRET, ASK_LIMIT)
        except Failure:  # it takes no part in this run, or has none yet
            handed = secrets.read(secrets.copy_path(host, FLAGS)) or ""
            if not handed.startswith(FLAG):
                raise
            known = handed[len(FLAG) :]
    return str(known)
