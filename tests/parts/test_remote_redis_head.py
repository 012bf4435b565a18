"""How a head comes to Redis's password: where it lies, what is wrong with it, and that it goes with Redis."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote import secrets
from provisioner.remote.failure import Failure
from provisioner.remote.resources import ray_redis
from tests.unit.remote_host import World

from .redis_stage import Redis, mode, redis

__all__ = ["redis"]


class Head:
    """What a head on that host is started with."""

    def __init__(self, redis: Redis, told: dict[str, Any] | None) -> None:
        self.redis, self.told = redis, told
        self.now: dict[str, Any] = {"argv": ["ray", "start"]}

    def wanted(self) -> dict[str, Any]:
        argv = ["/py", "/env/ray", "start"]
        return {"argv": ray_redis.through(self.redis.host(), "/py", argv, self.told) if self.told else argv}

    def differences(self) -> list[tuple[str, str, str]]:
        found = ray_redis.differences(self.redis.host(), self.now, self.wanted(), self.told, "Ray on w1")
        return [(each["what"], each["before"], each["stops"]) for each in found]

    def bring(self) -> None:
        host = self.redis.host()
        spec = ray_redis.settled(host, self.wanted(), self.now, self.told)
        ray_redis.put(host, spec)
        ray_redis.tidy(host, spec)
        self.now = spec

    @property
    def flags(self) -> Path:
        return self.redis.world.root / "service" / "redis.flags"

    @property
    def starter(self) -> Path:
        return self.redis.world.root / "service" / "head_start.py"


@pytest.fixture
def head(redis: Redis) -> Head:
    return Head(redis, {"address": ["127.0.0.1", redis.port], "host": "w1", "password": None})


WHAT = "the head's password of Redis"


def test_a_head_reads_the_password_from_a_private_file(redis: Redis, head: Head) -> None:
    assert head.differences() == [], "that it starts otherwise is told"
    with pytest.raises(Failure, match="no password yet"):
        head.bring()
    redis.task().ensure(redis.host())
    head.bring()
    password = secrets.original(redis.host(), "redis")
    assert mode(str(head.flags)) == "600"
    assert head.flags.read_text() == f"--redis_password={password}"
    assert str(password) not in str(head.now)
    assert head.differences() == []
    redis.task(password="another-1").ensure(redis.host())
    assert head.differences() == [(WHAT, "another secret", "Ray on w1")]


DAMAGE: list[tuple[str, Callable[[Head], object], str]] = [
    ("missing", lambda head: head.flags.unlink(), WHAT),
    ("another one", lambda head: head.flags.write_text("--redis_password=planted-1"), WHAT),
    ("no password", lambda head: head.flags.write_bytes(b"\xff" * 70000), WHAT),
    ("open to others", lambda head: head.flags.chmod(0o644), "who may use"),
    ("no program to start it", lambda head: head.starter.unlink(), "what starts the head"),
    ("another program", lambda head: head.starter.write_text("print(1)"), "what starts the head"),
]


@pytest.mark.parametrize(("damage", "what"), [row[1:] for row in DAMAGE], ids=[row[0] for row in DAMAGE])
def test_what_the_head_would_miss_at_the_next_boot_is_mended_without_a_restart(
    redis: Redis, head: Head, damage: Callable[[Head], object], what: str
) -> None:
    redis.task().ensure(redis.host())
    head.bring()
    before, spec = head.flags.read_text(), head.now
    damage(head)
    ((told, _, stops),) = head.differences()
    assert told.startswith(what) and stops == ""
    head.bring()
    assert (head.now, head.flags.read_text(), mode(str(head.flags))) == (spec, before, "600")
    assert head.differences() == []


def test_a_head_elsewhere_asks_for_it_and_does_without_if_nobody_answers(redis: Redis) -> None:
    head = Head(redis, {"address": ["10.0.0.9", redis.port], "host": "other", "password": None})
    answers: dict[tuple[str, str], Any] = {}
    redis.world.controller.answers = answers
    with pytest.raises(Failure, match="no answer from other"):
        head.bring()
    answers["other", "secret"] = "made-there"
    head.bring()
    answers.clear()
    assert head.differences() == []
    head.bring()
    assert head.flags.read_text() == "--redis_password=made-there"
    head.flags.write_text("--redis_password=planted-1")
    with pytest.raises(Failure, match="no answer from other"):
        head.bring()


@pytest.mark.parametrize(("kept", "told"), [("made-there", []), ("made-anew", [(WHAT, "another secret", "Ray on w1")])])
def test_to_compare_the_password_of_another_host_it_does_not_travel(
    redis: Redis, kept: str, told: list[tuple[str, str, str]], tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = World(tmp_path / "other").host()
    secrets.keep(other, "redis", kept)
    said: list[str] = []

    def compared(args: Any) -> str:
        said.append(secrets.compared(other, args))
        return said[-1]

    head = Head(redis, {"address": ["10.0.0.9", redis.port], "host": "other", "password": None})
    redis.world.controller.answers = {("other", "secret"): "made-there"}
    head.bring()
    redis.world.controller.answers = {("other", "compared"): compared}
    assert (head.differences(), head.differences()) == (told, told)
    assert len(set(said)) == 2 and "made" not in str(said), "another key each time"


def test_the_password_goes_with_redis(redis: Redis, head: Head) -> None:
    redis.task().ensure(redis.host())
    head.bring()
    with_redis, head.told = head.now, None
    assert head.differences() == [(WHAT, str(head.flags), "")]
    head.bring()
    assert not head.flags.exists() and not head.starter.exists()
    assert head.differences() == []
    with pytest.raises(Failure, match="not on this host any more"):
        ray_redis.settled(redis.host(), with_redis, head.now, None)


THROUGH = ["/py", "ROOT/service/head_start.py", "ROOT/service/redis.flags"]


@pytest.mark.parametrize(
    ("redis_of", "wanted"),
    [
        ({"host": "w1", "password": None}, [*THROUGH, "start", "-a"]),
        ({"host": None, "password": "pw"}, [*THROUGH, "start", "-a"]),
        ({"host": None, "password": None}, ["/py", "/env/ray", "start", "-a"]),
    ],
)  # fmt: skip
def test_how_a_head_is_started(redis: Redis, redis_of: dict[str, Any], wanted: list[str]) -> None:
    host = redis.host()
    argv = ray_redis.through(host, "/py", ["/py", "/env/ray", "start", "-a"], redis_of)
    assert argv == [word.replace("ROOT", host.root) for word in wanted]
    assert "pw" not in " ".join(argv).split()
