"""A small server in Redis's place that reads its settings, and a host in a folder that runs it under our supervisor."""

from __future__ import annotations

import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote import service
from provisioner.remote.host import Host
from provisioner.remote.platforms.supervised import Supervised
from provisioner.remote.resources import redis_package
from provisioner.remote.resources.redis_server import RedisServer
from tests.unit.remote_host import World

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


def anybody(connection: socket.socket) -> bool:
    """Trust whoever answers."""
    return True


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
