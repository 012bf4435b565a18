"""The cluster's own Redis under our supervisor, for real, with a small server in its place that reads its settings.

The server of Debian's packages is in tests/lab/test_redis.py.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote import folders, secrets, service
from provisioner.remote.failure import Failure
from provisioner.remote.host import Host
from provisioner.remote.resources import (
    old_environments,
    ray_redis,
    ray_removal,
    redis_config,
    redis_package,
    redis_talk,
)
from tests import waiting
from tests.unit.remote_host import shown

from .redis_stage import Redis, anybody, mode, redis

__all__ = ["redis"]


def test_it_comes_stays_and_goes(redis: Redis) -> None:
    host, task = redis.host(), redis.task()
    assert shown(task.observe(host)) == [
        ("add", "Redis's password", "", "made on this host"),
        ("add", "Redis", "", f"service redis-lab, port {redis.port}"),
    ]
    assert task.ensure(host).startswith("answers after")
    password = secrets.original(host, "redis") or ""
    assert len(password) == 64
    assert redis_talk.problem(redis.port, password, anybody) == ""
    assert redis.task().observe(redis.host()) == []
    pid = redis.pid()
    assert redis.task().ensure(redis.host()) == ""
    assert redis.pid() == pid
    private = [redis_config.path(host), secrets.original_path(host, "redis"), service.spec_path(host, "redis-lab")]
    assert {mode(path) for path in private} == {"600"}
    assert (mode(redis_config.data(host)), mode(host.path("redis"))) == ("700", "755")
    marker = Path(host.path("marker.json")).read_text()
    assert password not in marker + Path(service.spec_path(host, "redis-lab")).read_text()

    assert shown(redis.task().traces(redis.host())) == [("remove", "Redis", "service redis-lab", "")]
    assert redis.task().remove(redis.host()) == f"stopped and removed; its data stay in {redis_config.data(host)}"
    assert redis_talk.problem(redis.port, password, anybody) != ""
    left = sorted(str(path.relative_to(redis.world.root)) for path in redis.world.root.rglob("*") if path.is_file())
    assert left == ["redis/data/kept"]
    assert redis.task().traces(redis.host()) == []
    (kept,) = old_environments.all_that_is_kept(redis.host())
    assert kept["what"] == "Redis's data"


@pytest.mark.parametrize(
    ("params", "what"),
    [
        ({"password": "another-1"}, "Redis's password"),
        ({"bind": ["127.0.0.1", "127.0.0.2"]}, "Redis's settings (bind)"),
    ],
)
def test_what_differs_is_named_and_it_is_restarted_with_consent(
    redis: Redis, params: dict[str, Any], what: str
) -> None:
    redis.task().ensure(redis.host())
    found = redis.task(**params).observe(redis.host())
    assert what in [each["what"] for each in found]
    assert {each["stops"] for each in found} == {"Redis on w1"}
    assert "another-1" not in str(found)
    redis.task(**params).ensure(redis.host())
    assert redis.task(**params).observe(redis.host()) == []


def test_a_password_that_was_made_stays_the_same(redis: Redis) -> None:
    redis.task().ensure(redis.host())
    before = secrets.original(redis.host(), "redis")
    redis.task(bind=["127.0.0.1", "127.0.0.3"]).ensure(redis.host())
    assert secrets.original(redis.host(), "redis") == before


def test_one_that_was_killed_is_seen_and_started(redis: Redis) -> None:
    redis.task().ensure(redis.host())
    os.kill(redis.pid(), signal.SIGKILL)  # the server itself goes on, and has the port
    waiting.soon(lambda: redis.pid() == 0)
    assert shown(redis.task().observe(redis.host())) == [("change", "Redis", "stopped", "running")]
    redis.task().ensure(redis.host())
    assert redis.task().observe(redis.host()) == []


def test_a_port_that_is_taken_names_who_has_it(redis: Redis) -> None:
    with socket.create_server(("127.0.0.1", redis.port)), pytest.raises(Failure) as caught:
        redis.task().ensure(redis.host())
    assert f"port {redis.port}, for Redis, is taken by " in caught.value.message
    assert "redis: {port: ...}" in caught.value.remedy


def test_another_account_s_program_is_not_shown_the_password(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes the port while Redis is down would be told it, and the head be started on that."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", redis.port)) as squatter:

        def answer() -> None:
            with suppress(OSError):
                while True:
                    taken, _ = squatter.accept()
                    with taken:
                        heard.append(taken.recv(4096))
                        taken.sendall(b"+OK\r\n+PONG\r\n")

        threading.Thread(target=answer, daemon=True).start()
        host = redis.host()
        assert redis.task()._problem(host, "hush-hush") == ""
        assert b"hush-hush" in heard.pop()
        monkeypatch.setattr(type(host.platform), "is_trusted", lambda *_: False)
        assert redis.task()._problem(host, "hush-hush") == f"another account's program listens on port {redis.port}"
        told = {"address": ["127.0.0.1", redis.port], "host": "w1", "password": None}
        with pytest.raises(Failure, match="of another account"):
            ray_redis.check(host, told)
        squatter.shutdown(socket.SHUT_RDWR)
    assert b"hush-hush" not in b"".join(heard)


@pytest.mark.parametrize("said", [b"+OK\r\n" + b"x" * 200000, b""])
def test_what_answers_without_end_or_not_at_all_is_given_up(said: bytes) -> None:
    def drip(server: socket.socket) -> None:
        with suppress(OSError), server.accept()[0] as taken:
            taken.sendall(said)
            for _ in range(200):
                taken.sendall(b"y")
                time.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=drip, args=(server,), daemon=True).start()
        begun = time.monotonic()
        assert redis_talk.problem(server.getsockname()[1], "pw", anybody, limit=0.5) != ""
        assert time.monotonic() - begun < 3


def test_its_configuration_is_shut_again_without_a_restart(redis: Redis) -> None:
    redis.task().ensure(redis.host())
    path, pid = redis_config.path(redis.host()), redis.pid()
    Path(path).chmod(0o644)
    ((_, what, before, after),) = shown(redis.task().observe(redis.host()))
    assert what == f"who may use {path}" and before.startswith("0644") and after.startswith("0600")
    assert redis.task().ensure(redis.host()) == ""
    assert (mode(path), redis.pid()) == ("600", pid)
    assert redis.task().observe(redis.host()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_another_account_gets_the_data_and_nothing_else(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "appendonlydir").mkdir(parents=True)
    for name in ("appendonlydir/incr.aof", "linked"):
        (data / name).write_text("x")
    outside = tmp_path / "outside"
    outside.write_text("not theirs")
    (data / "link").symlink_to(outside)
    os.link(outside, data / "second")
    (data / "elsewhere").symlink_to(tmp_path)
    os.mkfifo(data / "pipe")
    folders.give_tree(str(data), "nobody")
    given = {str(path.relative_to(data)) for path in [data, *data.rglob("*")] if path.lstat().st_uid != 0}
    assert given == {".", "appendonlydir", "appendonlydir/incr.aof", "linked"}
    assert outside.stat().st_uid == tmp_path.stat().st_uid == 0


def test_what_a_run_left_that_was_ended_while_it_wrote_goes_with_it(redis: Redis) -> None:
    redis.task().ensure(redis.host())
    host = redis.host()
    for path in (redis_config.path(host), secrets.original_path(host, "redis")):
        for name in (f"{path}.part77", f"{path}.new", f"{path}.new.part77"):
            Path(name).write_text("the password")
    redis.task().remove(host)
    left = [path for path in redis.world.root.rglob("*") if path.is_file() and path.parent.name != "data"]
    assert left == []


def test_ending_ray_leaves_it_alone(redis: Redis) -> None:
    """And what Ray's own teardown removes leaves what it needs."""
    redis.task().ensure(redis.host())
    host, pid = redis.host(), redis.pid()
    assert host.own_processes() == []
    ray = service.service_name(host)
    service.write_spec(host, ray, {"argv": ["ray"], "env": {}, "python": "p", "temp_dir": host.path("ray")})
    ray_removal.end_leftovers(host)
    ray_removal.remove_folders(host)
    assert redis.pid() == pid
    assert redis.task().observe(redis.host()) == []
    assert service.read_spec(host, ray) is None


def test_one_that_never_answers_is_told_with_its_log(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisioner.remote.resources.own_server.START_LIMIT", 0.5)
    redis.program.write_text("#!/bin/sh\necho 'Bad directive or wrong number of arguments' >&2\nexit 1\n")
    with pytest.raises(Failure) as caught:
        redis.task().ensure(redis.host())
    assert "Bad directive" in caught.value.message
    assert "redis-lab.log" in caught.value.remedy


def test_an_interrupted_installation_is_gone_through_again(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program is there, and so is the server that the package may have started before we could stop it."""
    installs: list[str] = []

    def install(host: Host) -> list[str]:
        installs.append("once")
        if len(installs) == 1:
            raise KeyboardInterrupt
        return ["redis-server", "redis-tools"]

    found = [None, None]
    monkeypatch.setattr(redis_package, "find", lambda: found.pop() if found else str(redis.program))
    monkeypatch.setattr(redis_package, "wanted", lambda host: "redis-server")
    monkeypatch.setattr(redis_package, "install", install)
    with pytest.raises(KeyboardInterrupt):
        redis.task().ensure(redis.host())
    found.clear()
    assert ("add", "package redis-server", "", "") in shown(redis.task().observe(redis.host()))
    assert "installed redis-server, redis-tools" in redis.task().ensure(redis.host())
    assert redis.task().observe(redis.host()) == []
    entry = redis.host().marker.get("redis_server") or {}
    assert entry["ours"] == ["redis-server", "redis-tools"]


def test_windows_has_none(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    host = redis.host()
    monkeypatch.setattr(type(host.platform), "os", "windows")
    with pytest.raises(Failure, match="no Redis server for Windows"):
        redis.task().observe(host)
