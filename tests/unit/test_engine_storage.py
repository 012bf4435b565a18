"""A Redis is used as a head would use it; whatever is wrong with it has a name, a cause and a remedy.

Real servers are in tests/lab/test_redis.py; here, one says what real ones said (7.0.15) or what their source has.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from provisioner.engine.storage import Storage, examine
from provisioner.errors import HostFailed
from provisioner.inventory.model import Host, Inventory, RayOptions, Redis, Secret

GOOD = {"AUTH": "+OK", "PING": "+PONG", "INFO": "7.0.15", "HSET": ":1", "DEL": ":1"}
WHERE = "10.0.0.9:6379"


@contextmanager
def server(**said: str) -> Iterator[tuple[Callable[[], socket.socket], list[list[str]]]]:
    """Something that answers commands by their first word; yields how to connect, and all it has heard."""
    answers, heard = {**GOOD, **said}, []
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(command: list[str]) -> str:
        heard.append(command)
        word = answers.get(command[0].upper(), "-ERR unknown command")
        if command[0].upper() != "INFO" or word.startswith("-"):
            return f"{word}\r\n"
        text = f"redis_version:{word}\r\n"
        return f"${len(text)}\r\n{text}\r\n"

    def serve() -> None:
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                while line := lines.readline():
                    words = []
                    for _ in range(int(line[1:])):
                        size = int(lines.readline()[1:])
                        words.append(lines.read(size + 2)[:-2].decode())
                    connection.sendall(answer(words).encode())

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield lambda: socket.create_connection(listener.getsockname(), 5), heard
    finally:
        listener.close()


def test_it_logs_in_writes_and_removes_what_it_wrote() -> None:
    with server() as (opened, heard):
        told = examine(opened, WHERE, "right", "me")
    assert told == f"Redis 7.0.15 at {WHERE} answers and takes what is written"
    assert heard[0] == ["AUTH", "me", "right"]
    (written,) = (words[1] for words in heard if words[0] == "HSET")
    assert [words for words in heard if words[0] == "DEL"] == [["DEL", written]]
    assert written.startswith("provision-")


@pytest.mark.parametrize(
    ("said", "cause", "remedy"),
    [
        ({"AUTH": "-WRONGPASS invalid username-password pair or user is disabled."}, "not accept", "the right one"),
        ({"AUTH": "-ERR invalid password"}, "does not accept the password", "give the right one"),
        ({"AUTH": "-ERR AUTH <password> called without any password configured for the default user. Are you sure your "
                  "configuration is correct?"}, "has no password", "leave `redis: {password: ...}` out"),
        ({"HSET": "-READONLY You can't write against a read only replica."}, "read-only copy", "name the server"),
        ({"HSET": "-OOM command not allowed when used memory > 'maxmemory'."}, "its memory is full", "maxmemory"),
        ({"HSET": "-MISCONF Errors writing to the AOF file: No space left on device"}, "its disk is full", "make room"),
        ({"HSET": "-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk."},
         "its disk is full or broken", "make room"),
        ({"HSET": "-NOPERM this user has no permissions to run the 'hset' command"}, "does not let this", "ACL"),
        ({"HSET": "-NOREPLICAS Not enough good replicas to write."}, "misses copies", "min-replicas-to-write"),
        ({"HSET": "-MOVED 866 10.0.0.8:6379"}, "is a cluster of several servers", "name a single server"),
        ({"PING": "-DENIED Redis is running in protected mode because it is enabled"}, "lets in nobody", "give it"),
        ({"INFO": "4.0.14"}, "is 4.0.14, and Ray needs 5.0", "upgrade it"),
        ({"INFO": "3.2"}, "is 3.2, and Ray needs 5.0", "upgrade it"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(said: dict[str, str], cause: str, remedy: str) -> None:
    with server(**said) as (opened, _), pytest.raises(HostFailed) as caught:
        examine(opened, WHERE, "sesame-9")
    assert cause in caught.value.message and WHERE in caught.value.message
    assert remedy in caught.value.remedy
    assert "sesame-9" not in f"{caught.value.message} {caught.value.remedy}"


def test_a_password_that_nobody_gave_is_asked_for() -> None:
    with server(PING="-NOAUTH Authentication required.") as (opened, _), pytest.raises(HostFailed) as caught:
        examine(opened, WHERE, None)
    assert caught.value.message == f"Redis at {WHERE} wants a password"


def raising(error: Exception) -> Callable[[], socket.socket]:
    def opened() -> socket.socket:
        raise error

    return opened


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ConnectionRefusedError("Connection refused (Connect failed)"), "connection refused"),
        (TimeoutError("timed out"), "within 10 s"),
        (EOFError(), "can't be used"),
    ],
)
def test_one_that_is_away_is_named(error: Exception, cause: str) -> None:
    with pytest.raises(HostFailed) as caught:
        examine(raising(error), WHERE, "pw")
    assert cause in caught.value.message
    assert "firewall" in caught.value.remedy


class Session:
    """Stands where the connection to a host is."""

    def __init__(self, opened: Callable[[], socket.socket]) -> None:
        self._opened = opened
        self.asked: list[tuple[str, int]] = []

    def tunnel(self, address: str, port: int) -> socket.socket:
        self.asked.append((address, port))
        return self._opened()


def cluster(redis: Redis | None) -> Inventory:
    head = Host("ctl", "head", "10.0.0.10", "3.11.9", (), RayOptions())
    worker = Host(
        "w1", "worker", "10.0.0.11", "3.11.9", (), RayOptions(), keeps_redis=bool(redis and redis.host == "w1")
    )
    return Inventory("lab", "2.60.0", (head, worker), Path("inv.yml"), redis=redis)


def nothing(*_: Any) -> Any:
    raise AssertionError("nobody is to be asked")


def test_the_head_looks_where_the_inventory_says() -> None:
    inventory = cluster(Redis(None, "10.9.9.9", 7000, Secret("given", "")))
    with server() as (opened, heard):
        storage, session = Storage(inventory), Session(opened)
        storage.opened("ctl", session)
        assert "10.9.9.9:7000 answers" in storage.look(inventory.head, nothing)
    assert set(session.asked) == {("10.9.9.9", 7000)}
    assert ["AUTH", "given"] in heard


def test_the_password_that_a_host_has_made_is_asked_of_it() -> None:
    inventory = cluster(Redis("w1", "", 6378))
    asked: list[Any] = []

    def carry(*question: Any) -> str:
        asked.append(question)
        return "made-there"

    with server() as (opened, heard):
        storage = Storage(inventory)
        storage.opened("ctl", Session(opened))
        assert "10.0.0.11:6378 on w1 answers" in storage.look(inventory.head, carry)
    assert asked == [("w1", "secret", "redis", inventory.head)]
    assert ["AUTH", "made-there"] in heard


def test_where_it_can_t_be_looked_at_it_is_said_and_nothing_fails() -> None:
    inventory = cluster(Redis(None, "10.9.9.9", 7000))
    storage = Storage(inventory)
    storage.opened("ctl", Session(raising(PermissionError("the SSH server allows no tunnels"))))
    assert storage.look(inventory.head, nothing) == (
        "Redis at 10.9.9.9:7000 was not looked at: the SSH server allows no tunnels"
    )


@pytest.mark.parametrize(("redis", "asker"), [(None, 0), (Redis(None, "10.9.9.9", 7000), 1)])
def test_nobody_else_may_have_it_looked_at(redis: Redis | None, asker: int) -> None:
    inventory = cluster(redis)
    storage = Storage(inventory)
    storage.opened(inventory.hosts[asker].name, Session(raising(AssertionError())))
    with pytest.raises(HostFailed, match="keeps nothing in Redis"):
        storage.look(inventory.hosts[asker], nothing)


def test_one_whose_answers_drip_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisioner.engine.storage.WHOLE_LIMIT", 0.6)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            with suppress(OSError), listener.accept()[0] as taken:
                while True:
                    taken.sendall(b"+")
                    time.sleep(0.05)

        threading.Thread(target=drip, daemon=True).start()
        begun = time.monotonic()
        with pytest.raises(HostFailed, match="no Redis answers"):
            examine(lambda: socket.create_connection(listener.getsockname(), 5), WHERE, None)
        assert time.monotonic() - begun < 5
