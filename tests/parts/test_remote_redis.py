"""The cluster's own Redis under our supervisor, for real, with a small server in its place that reads its settings.

The server of Debian's packages is in tests/lab/test_redis.py.
"""

from __future__ import annotations

import os
import signal
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote import secrets, service
from provisioner.remote.failure import Failure
from provisioner.remote.host import Host
from provisioner.remote.platforms.supervised import Supervised
from provisioner.remote.resources import (
    old_environments,
    ray_redis,
    ray_removal,
    redis_config,
    redis_package,
    redis_talk,
)
from provisioner.remote.resources.redis_server import RedisServer
from tests import waiting
from tests.unit.remote_host import World, shown

SERVER = f"""\
#!{sys.executable}
import os, shlex, socketserver, sys
lines = [shlex.split(line) for line in open(sys.argv[1]) if line.strip() and not line.startswith("#")]
told = {{line[0]: line[1:] for line in lines}}
print("begun", flush=True)
open(os.path.join(told["dir"][0], "kept"), "ab").write(b"x")

class Talk(socketserver.StreamRequestHandler):
    def handle(self):
        known = False
        while True:
            line = self.rfile.readline()
            if not line:
                return
            words = []
            for _ in range(int(line[1:])):
                words.append(self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2].decode())
            if words[0] == "AUTH":
                known = words[1] == told["requirepass"][0]
                self.wfile.write(b"+OK\\r\\n" if known else b"-WRONGPASS no\\r\\n")
            else:
                self.wfile.write(b"+PONG\\r\\n" if known else b"-NOAUTH Authentication required.\\r\\n")

socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer.daemon_threads = True
socketserver.ThreadingTCPServer((told["bind"][0], int(told["port"][0])), Talk).serve_forever()
"""


class Redis:
    """A host in a folder on which the program is found."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.program = folder / "world" / "redis-server"
        self.program.write_text(SERVER)
        self.program.chmod(0o755)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    def host(self) -> Host:
        host = self.world.host()
        host.service_manager = Supervised()
        host.shared["interpreter"] = sys.executable
        return host

    def task(self, **params: Any) -> RedisServer:
        return RedisServer({"port": self.port, "bind": ["127.0.0.1"], **params})

    def pid(self) -> int:
        pid: int = Supervised().observe(self.host(), "redis-lab")["pid"]
        return pid


@pytest.fixture
def redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Redis]:
    made = Redis(tmp_path)
    monkeypatch.setattr(redis_package, "find", lambda: str(made.program))
    yield made
    host = made.host()
    Supervised().stop(host, "redis-lab")
    host.platform.kill(host.platform.processes_of(service.mark(host, "redis-lab")))


def mode(path: str) -> str:
    return f"{stat.S_IMODE(Path(path).lstat().st_mode):o}"


def test_it_comes_stays_and_goes(redis: Redis) -> None:
    host, task = redis.host(), redis.task()
    assert shown(task.observe(host)) == [
        ("add", "Redis's password", "", "made on this host"),
        ("add", "Redis", "", f"service redis-lab, port {redis.port}"),
    ]
    assert task.ensure(host).startswith("answers after")
    password = secrets.original(host, "redis") or ""
    assert len(password) == 64
    assert redis_talk.problem(redis.port, password) == ""
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
    assert redis_talk.problem(redis.port, password) != ""
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
    monkeypatch.setattr("provisioner.remote.resources.redis_server.START_LIMIT", 0.5)
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


def test_a_head_reads_the_password_from_a_private_file(redis: Redis) -> None:
    told = {"address": ["127.0.0.1", redis.port], "host": "w1", "password": None}
    assert ray_redis.differences(redis.host(), told, "") == []
    with pytest.raises(Failure, match="no password yet"):
        ray_redis.prepare(redis.host(), told)
    redis.task().ensure(redis.host())
    host = redis.host()
    ray_redis.prepare(host, told)
    path = secrets.copy_path(host, ray_redis.FLAGS)
    assert mode(path) == "600"
    assert Path(path).read_text() == f"--redis_password={secrets.original(host, 'redis')}"
    assert ray_redis.differences(host, told, "Ray on w1") == []
    redis.task(password="another-1").ensure(redis.host())
    (found,) = ray_redis.differences(redis.host(), told, "Ray on w1")
    assert (found["what"], found["stops"]) == ("the head's password of Redis", "Ray on w1")


def test_a_head_elsewhere_asks_for_it_and_does_without_if_nobody_answers(redis: Redis) -> None:
    told = {"address": ["10.0.0.9", redis.port], "host": "other", "password": None}
    with pytest.raises(Failure, match="no answer from other"):
        ray_redis.prepare(redis.host(), told)
    redis.world.controller.answers["other", "secret"] = "made-there"
    ray_redis.prepare(redis.host(), told)
    redis.world.controller.answers.clear()
    assert ray_redis.differences(redis.host(), told, "") == []
    ray_redis.prepare(redis.host(), told)
    redis.world.controller.answers["other", "secret"] = "made-anew"
    assert len(ray_redis.differences(redis.host(), told, "")) == 1


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
