"""Looks at the Redis that keeps a cluster's state as the head will use it: from the head's host, through a tunnel."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from provisioner.errors import HostFailed
from provisioner.inventory.model import Host, Inventory
from provisioner.ray import start, storage

if TYPE_CHECKING:
    from redis import Redis

OLDEST = (5, 0)
"""Ray's own examples use Redis 5.0.8 and newer (doc/source/cluster of ray-project/ray)."""
LIMIT = 10.0
"""Seconds for each answer."""
LOADING_LIMIT = 60.0
"""Seconds for a server that has just started to have read its data."""
WHOLE_LIMIT = 80.0
"""Seconds for all of it, however slowly the server's answers come: the host that asks waits for 90."""


class Socket(Protocol):
    """What a connection to Redis needs of a socket, or of a channel of an SSH connection."""

    def sendall(self, data: bytes) -> None: ...
    def recv(self, size: int) -> bytes: ...
    def settimeout(self, seconds: float | None) -> None: ...
    def shutdown(self, how: int) -> None: ...
    def close(self) -> None: ...


class Timed:
    """A socket that is of no use after a certain moment.

    Args:
        socket: the real one.
        end: when, by the monotonic clock.
    """

    def __init__(self, socket: Socket, end: float) -> None:
        self._socket = socket
        self._end = end
        self._limit: float | None = None

    def settimeout(self, seconds: float | None) -> None:
        self._limit = seconds

    def sendall(self, data: bytes) -> None:
        self._heed()
        self._socket.sendall(data)

    def recv(self, size: int) -> bytes:
        self._heed()
        return self._socket.recv(size)

    def shutdown(self, how: int) -> None:
        self._socket.shutdown(how)

    def close(self) -> None:
        self._socket.close()

    def _heed(self) -> None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left if self._limit is None else min(left, self._limit))


class Tunnels(Protocol):
    """The connection to a host (transport.session.Session)."""

    def tunnel(self, address: str, port: int) -> Socket: ...


class Storage:
    """Answers the head's question whether it would get on with Redis.

    Args:
        inventory: the cluster; where Redis is, no host decides.
    """

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._sessions: dict[str, Tunnels] = {}

    def opened(self, name: str, session: Tunnels) -> None:
        """Note the connection to a host."""
        self._sessions[name] = session

    def look(self, asker: Host, carry: Callable[[str, str, Any, Host], Any]) -> str:
        """Return in words what Redis is, seen from the head's host.

        Args:
            asker: who asks.
            carry: has a host answer another one's question, such as that for a secret (``Between.carry``).

        Raises:
            HostFailed: a head would not get on with it, with the reason; or it is none of the asker's concern.
        """
        redis, address = self._inventory.redis, start.redis_address(self._inventory)
        if redis is None or address is None or asker.role != "head" or asker.name not in self._sessions:
            raise HostFailed(f"{asker.name} keeps nothing in Redis")
        where = storage.as_text(address) + (f" on {redis.host}" if redis.host else "")
        session, password = self._sessions[asker.name], redis.password.reveal() if redis.password else None
        if redis.host and password is None:
            try:
                password = str(carry(redis.host, "secret", "redis", asker))
            except HostFailed as error:
                return f"Redis at {where} was not looked at: {error.message}"
        try:
            session.tunnel(*address).close()
        except PermissionError as error:
            return f"Redis at {where} was not looked at: {error}"
        except OSError:  # is explained below
            pass
        username = self._inventory.head.ray.options.get("redis_username")
        return examine(lambda: session.tunnel(*address), where, password, username)


def examine(opened: Callable[[], Socket], where: str, password: str | None, username: str | None = None) -> str:
    """Use Redis as a head would (log in, write, read, remove) and return in words what it is.

    Args:
        opened: returns a new connection to it; raises OSError or EOFError if there is none.
        where: how messages call it.
        password: None: it has none.
        username: its account there, if it has several.

    Raises:
        HostFailed: it would not do, with the reason and what to do about it.
    """
    from redis.exceptions import RedisError

    end = time.monotonic() + WHOLE_LIMIT
    client = _client(lambda: Timed(opened(), end), password, username)
    try:
        version = _version(client, where)
        _try_to_write(client)
    except (RedisError, OSError, EOFError) as error:
        message, remedy = _explained(error, where, given=password is not None)
        raise HostFailed(message, remedy=remedy) from None
    finally:
        client.close()
    return f"Redis {version} at {where} answers and takes what is written"


def _client(opened: Callable[[], Socket], password: str | None, username: str | None) -> Redis:
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.connection import AbstractConnection, ConnectionPool
    from redis.retry import Retry

    class Tunnelled(AbstractConnection):
        """A connection of the client over what somebody else has opened."""

        host, port = "tunnel", 0  # what it counts its failures by

        def _connect(self) -> Any:
            socket = opened()
            socket.settimeout(LIMIT)
            return socket

        def repr_pieces(self) -> list[tuple[str, Any]]:
            return []

        def _host_error(self) -> str:
            return "the tunnel"

    pool = ConnectionPool(
        connection_class=Tunnelled, password=password, username=username if password else None, protocol=2,
        retry=Retry(NoBackoff(), 0), decode_responses=True, socket_timeout=LIMIT, socket_connect_timeout=LIMIT,
    )  # fmt: skip
    return Redis(connection_pool=pool)


def _version(client: Redis, where: str) -> str:
    """Return its version, once it has read its data; HostFailed if it is too old."""
    from redis.exceptions import BusyLoadingError

    deadline = time.monotonic() + LOADING_LIMIT
    while True:
        try:
            client.ping()
            break
        except BusyLoadingError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
    version = str(client.info("server").get("redis_version", "0"))
    known = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if known < OLDEST:
        raise HostFailed(
            f"Redis at {where} is {version}, and Ray needs {'.'.join(map(str, OLDEST))} or newer",
            remedy="upgrade it, or let `redis: {host: head}` bring one",
        )
    return version


def _try_to_write(client: Redis) -> None:
    key = f"provision-{secrets.token_hex(8)}"
    client.hset(key, "written", "yes")
    client.delete(key)


def _explained(error: Exception, where: str, given: bool) -> tuple[str, str]:
    """Return what went wrong and what to do about it."""
    text = str(error)
    for sign, (message, remedy) in _REFUSALS.items():
        if sign in f"{type(error).__name__}: {text}":
            return f"Redis at {where} {message}", remedy
    if _is_about_password(error, text):
        if not given:
            return f"Redis at {where} wants a password", "give it: `redis: {password: {from_env: NAME}}`"
        return f"Redis at {where} does not accept the password", "give the right one: `redis: {password: ...}`"
    if "Connection refused" in text or "Connect failed" in text:
        return f"no Redis answers at {where}: connection refused", _AWAY
    if "timed out" in text.lower() or "Timeout" in text:
        return f"no Redis answers at {where} within {LIMIT:.0f} s", _AWAY
    return f"Redis at {where} can't be used: {text or type(error).__name__}", _AWAY


def _is_about_password(error: Exception, text: str) -> bool:
    from redis.exceptions import AuthenticationError

    signs = ("WRONGPASS", "NOAUTH", "invalid password", "invalid username-password")
    return isinstance(error, AuthenticationError) or any(sign in text for sign in signs)


_AWAY = "see that it runs, listens there, and that no firewall between it and the head's host shuts it off"
_FULL = "does not write: its memory is full", "raise its `maxmemory`, or remove what is old"
_BROKEN = "does not write: its disk is full or broken", "make room there; its log says more"
_COPY = "is a read-only copy of another server", "name the server it is a copy of"
_REFUSALS = {
    "read only replica": _COPY,
    "MISCONF": _BROKEN,
    "Errors writing to the AOF": _BROKEN,
    "unable to persist": _BROKEN,
    "used memory > 'maxmemory'": _FULL,
    "protected mode": (
        "lets in nobody from elsewhere (protected mode)",
        "give it a password (`requirepass`) and name it in `redis: {password: ...}`",
    ),
    "without any password configured": ("has no password", "leave `redis: {password: ...}` out, or give it one"),
    "no password is set": ("has no password", "leave `redis: {password: ...}` out, or give it one"),
    "no permissions": ("does not let this account write", "allow it all keys and commands (`ACL SETUSER`)"),
    "MovedError": ("is a cluster of several servers, which Ray does not support", "name a single server"),
    "Not enough good replicas": ("does not write: it misses copies of itself", "see `min-replicas-to-write` there"),
    "is loading the dataset": (
        f"still reads its data after {LOADING_LIMIT:.0f} s",
        "wait, and run the same command again",
    ),
}
"""What is in Redis's answer, what it means, what to do; the client takes away the word that an answer begins with."""
