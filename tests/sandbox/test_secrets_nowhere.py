"""Secrets, given in every way that there is, are looked for in all that a run prints, writes or starts."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from provisioner.inventory.load import load_inventory
from provisioner.ray.start import environment_id
from provisioner.report.redact import forms
from provisioner.sandbox import Sandbox
from tests.unit.test_engine_storage import server

from .conftest import free_ports

Inventory = dict[str, Any]
Spec = dict[str, str]
SERVICE = ("ray-lab.json", "ray-lab.run.json", "ray-lab.history.json", "redis.flags")
MEANT = ("/clusters/lab/secrets/", *(f"/clusters/lab/service/{name}" for name in SERVICE))
"""What a node is started with, and secrets that hosts have: for their administrator and Ray's account alone."""
RAY = {
    "ray/__init__.py": "",
    "ray/scripts/__init__.py": "",
    "ray/_private/__init__.py": "",
    "ray/_private/services.py": """
import os, subprocess, sys
def start_ray_process(command, process_type, **settings):
    env = dict(os.environ, **(settings.get("env_updates") or {}))
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(2)", *command], env=env)
""",
    "ray/scripts/scripts.py": """
import json, os, sys, time
from ray._private import services
def main():
    given = [word.partition("=")[2] for word in sys.argv if word.startswith("--redis-password=")]
    for password in given:
        services.start_ray_process(["gcs_server", "--redis_password=" + password], "gcs_server")
        services.start_ray_process(["raylet", "--cpp=w --ray_redis_password=" + password], "raylet")
        services.start_ray_process(["client"], "ray_client_server", env_updates={"RAY_REDIS_PASSWORD": password})
    with open(os.path.join(os.path.dirname(__file__), "note"), "w") as file:
        json.dump([len(os.environ.get("API_KEY", "")), *map(len, given)], file)
    time.sleep(2)
""",
}
"""Does what `ray start` does with secrets: hands them to its processes."""
PROVISION = [sys.executable, "-m", "provisioner.cli"]


def secret(number: int) -> str:
    """A secret that stands out, with what shells, XML, URLs and YAML care about."""
    return f"s3cr3t-{number:02d}'\"&<%$ü/x{number * 7919}y"


def ways(node: Any, path: str = "") -> Iterator[str]:
    """Every place of the schema that takes a secret."""
    if isinstance(node, dict):
        if node.get("x-secret") or node.get("$ref") == "#/$defs/secret":
            yield path
        for key, inner in node.items():
            yield from ways(inner, f"{path}/{key}")


def _put(inventory: Inventory, *keys: str) -> Callable[[Spec], None]:
    def put(spec: Spec) -> None:
        place = inventory
        for key in keys[:-1]:
            place = place.setdefault(key, {})
        place[keys[-1]] = spec

    return put


def giving(inventory: Inventory) -> dict[str, Callable[[Spec], None]]:
    """How each secret of the schema is given, and used as far as it can be here."""
    return {
        "/properties/become_password": _put(inventory, "become_password"),
        "/$defs/host/properties/become_password": _put(inventory, "workers", "h2", "become_password"),
        "/$defs/index/properties/password": _put(inventory, "artifacts", "index", "password"),
        "/$defs/service/properties/password": _put(inventory, "workers", "h4", "service", "password"),
        "/$defs/ssh/properties/passphrase": _put(inventory, "ssh", "passphrase"),
        "/$defs/ssh/properties/password": _put(inventory, "workers", "h3", "ssh", "password"),
        "/$defs/ray/properties/env/additionalProperties": _put(inventory, "ray", "env", "API_KEY"),
        "/$defs/redis/properties/password": _put(inventory, "redis", "password"),
    }


IN_VARIABLES = "/$defs/ray/properties/env/additionalProperties"
"""What Ray's processes have as a variable, as it was asked for."""


def schema_ways() -> set[str]:
    text = (resources.files("provisioner.inventory") / "schema.json").read_text(encoding="utf-8")
    return {path for path in ways(json.loads(text)) if path != "/$defs/secret"}


def test_every_way_to_give_a_secret_is_tried() -> None:
    assert schema_ways() <= set(giving({})), "give the new one here as well, and use it"


class Room:
    """A cluster in a sandbox, with everything that `provision` writes in one folder.

    Args:
        box: the hosts.
        folder: for all of it.
        how: ``from_env`` or ``from_file``.
        redis: a port on which one answers.
    """

    def __init__(self, box: Sandbox, folder: Path, how: str, redis: int = 9) -> None:
        self.box, self.folder = box, folder
        self.files = folder / "secrets"
        self.files.mkdir()
        self.secrets: list[str] = []
        self.by_way: dict[str, str] = {}
        self.environ = {
            **os.environ, "HOME": str(folder), "PROVISION_STATE": str(folder / "state"), "PYTHONPATH": str(Path.cwd()),
            "XDG_CACHE_HOME": str(folder / "cache"), "UV_CACHE_DIR": str(folder / "uv"),
        }  # fmt: skip
        self.inventory = self._inventory()
        self.inventory["redis"] = {"external": f"127.0.0.1:{redis}"}
        for number, (way, give) in enumerate(sorted(giving(self.inventory).items())):
            value = secret(number).replace("ü", "u" if "redis" in way else "ü")  # Redis takes ASCII alone
            self.secrets.append(value)
            self.by_way[way] = value
            give(self._kept(value, number, how))
            if way.endswith("/passphrase"):
                self._encrypt(value)
        (folder / "inventory.yml").write_text(json.dumps(self.inventory))
        self.seen: list[str] = []
        self.variables: list[str] = []
        self.told = ""

    def _inventory(self) -> Inventory:
        ports = {host.name: host.port for host in self.box.hosts()}
        return {
            "cluster": "lab",
            "python": {"version": platform.python_version(), "source": sys.executable},
            "ray": {"version": "2.60.0"},
            "service": "process",
            "artifacts": {"index": {"url": "http://127.0.0.1:9/simple", "username": "kim"}},
            "ssh": {"user": self.box.user, "key": str(self.folder / "key"), "known_hosts": str(self.box.known_hosts)},
            "head": {"h1": {"address": "127.0.0.1", "ssh": {"port": ports["h1"]}, "ray": self._ray_ports()}},
            "workers": {
                "h2": {"address": "127.0.0.1", "become": True, "ssh": {"port": ports["h2"]}},
                "h3": {"address": "127.0.0.1", "ssh": {"port": ports["h3"], "user": "nobody-here"}},
                "h4": {
                    "address": "127.0.0.1", "os": "windows", "ssh": {"port": free_ports(1)},
                    "service": {"manager": "task", "account": "LAB\\ray"},
                },
            },
        }  # fmt: skip

    @staticmethod
    def _ray_ports() -> dict[str, int]:
        first = free_ports(9)
        return {
            "port": first,
            "dashboard_port": first + 1,
            "ray_client_server_port": first + 2,
            "first_port": first + 3,
        }

    def lay_ray(self) -> Path:
        """Have a stand-in for Ray where the head's environment is expected; returns where it notes what it got."""
        inventory = load_inventory(self.folder / "inventory.yml", self.environ)
        (home,) = [host.home for host in self.box.hosts() if host.name == "h1"]
        identity = f"{inventory.head.python}-{environment_id(inventory.head, inventory)}"
        environment = home / ".provision" / "clusters" / "lab" / "env" / identity
        for name, content in RAY.items():
            file = environment / "stand-in" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        python = environment / "bin" / "python"
        python.parent.mkdir()
        python.write_text(f'#!/bin/sh\nPYTHONPATH={environment}/stand-in exec {sys.executable} "$@"\n')
        python.chmod(0o755)
        return environment / "stand-in" / "ray" / "scripts" / "note"

    def _kept(self, value: str, number: int, how: str) -> Spec:
        if how == "from_env":
            self.environ[f"SECRET_{number}"] = value
            return {"from_env": f"SECRET_{number}"}
        file = self.files / str(number)
        file.write_text(value, encoding="utf-8")
        return {"from_file": str(file)}

    def _encrypt(self, passphrase: str) -> None:
        key = self.folder / "key"
        key.write_bytes(self.box.key.read_bytes())
        key.chmod(0o600)
        subprocess.run(
            ["ssh-keygen", "-q", "-p", "-P", "", "-N", passphrase, "-f", key], check=True, capture_output=True
        )

    def run(self, *words: str) -> str:
        """Run a command; keeps what it said, and the command lines of all processes meanwhile."""
        ended = threading.Event()
        watch = threading.Thread(target=self._watch, args=(ended,))
        watch.start()
        done = subprocess.run(
            [*PROVISION, *words], cwd=self.folder, env=self.environ, capture_output=True, timeout=120, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        ended.set()
        watch.join()
        said = (done.stdout + done.stderr).decode("utf-8", "replace")
        assert "Traceback" not in said, said
        self.told += said
        return said

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(0.02):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    self.seen.append(file.read_bytes().decode("utf-8", "replace"))
                    variables = (file.parent / "environ").read_bytes().decode("utf-8", "replace")
                    if "PROVISION_STATE=" not in variables:  # of the command itself, which is given some that way
                        self.variables.append(variables)

    def search(self, *allowed: str) -> None:
        """Look for every form of every secret in all that was said, seen and written."""
        every = sorted({form for value in self.secrets for form in forms(value) if len(form) >= 6}, key=len)
        pattern = re.compile("|".join(map(re.escape, every)))
        assert not pattern.search(self.told), pattern.findall(self.told)[:3]
        shown = "\n".join(set(self.seen))
        assert not pattern.search(shown), pattern.findall(shown)[:3]
        given = "\n".join(set(self.variables)).replace(self.by_way[IN_VARIABLES], "")
        assert not pattern.search(given), pattern.findall(given)[:3]
        looked = 0
        for place in (self.folder, self.box.folder):
            for file in place.rglob("*"):
                if file.is_symlink() or not file.is_file() or self.files in file.parents:
                    continue
                looked += 1
                found = pattern.search(file.read_bytes().decode("utf-8", "replace"))
                may = any(part in str(file) for part in allowed)
                assert not found or may, f"{file}: {found[0] if found else ''}"
                assert not found or not file.stat().st_mode & 0o077, f"{file} is open to others"
        assert looked > 20


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    made = Sandbox(tmp_path_factory.mktemp("box") / "hosts")
    made.start(3, free_ports(3))
    yield made
    made.remove()


NODES = """
- play: A node without an environment
  hosts: all
  tasks:
    - name: A file
      file: {path: "FOLDER/laid/{{ host.name }}", content: "x"}
    - name: Run the head
      ray_head: {}
      when: {role: head}
    - name: Run a worker
      ray_worker: {}
      when: {role: worker}
"""
CRASHES = """
import sys
hello = sys.stdin.readline()
{}
"""
TELLS = """
import json, time
def say(**message): print(json.dumps(message), flush=True)
say(type="facts", facts={"os": "linux", "arch": "x86_64", "python": "3.11.9", "clock": time.time(), "x": hello[:4000]})
say(type="doing", text=hello)
say(type="observed", tasks=[], findings=[{"message": hello, "remedy": hello, "severity": "notice"}])
say(type="error", message="unexpected KeyError: " + repr(hello), remedy=hello[:9000], task="")
"""


@pytest.fixture
def redis() -> Iterator[int]:
    """The port of one that lets everybody in."""
    with server() as (opened, _):
        with opened() as connection:
            port: int = connection.getpeername()[1]
        yield port


@pytest.mark.parametrize("how", ["from_env", "from_file"])
def test_a_secret_is_nowhere(how: str, box: Sandbox, redis: int, tmp_path: Path) -> None:
    room = Room(box, tmp_path, how, redis)
    (tmp_path / "nodes.yml").write_text(NODES.replace("FOLDER", str(tmp_path)))
    said = room.run("check", "inventory.yml", "-v")
    assert "h1: " in said and re.search("h4: unreachable", said), said
    room.run("check", "inventory.yml", "--json", "--playbook", "nodes.yml")
    room.run("apply", "inventory.yml", "-v", "--yes")
    note = room.lay_ray()
    said = room.run("apply", "inventory.yml", "-v", "--yes", "--playbook", "nodes.yml")
    key, password = room.by_way[IN_VARIABLES], room.by_way["/$defs/redis/properties/password"]
    assert note.exists(), said
    assert json.loads(note.read_text()) == [len(key), len(password)], "Ray was started with both"
    assert any("gcs_server" in line for line in room.seen), "and its processes were seen"
    for words in (["versions"], ["lock"], ["bundle", "-o", "x.bundle"], ["rollback", "--yes"], ["schema", "inventory"]):
        room.run(words[0], *([] if words[0] == "schema" else ["inventory.yml"]), *words[1:])
    room.search(*MEANT)
    crash(room, "sys.exit(hello)")
    crash(room, "raise KeyError(hello)")
    crash(room, TELLS)
    room.run("teardown", "inventory.yml", "--yes", "--purge", "--json")
    room.search(*MEANT)


def crash(room: Room, how: str) -> None:
    """Have the program on the hosts say what it was told."""
    programs = list(room.box.folder.glob("**/.provision/program/*/run.py"))
    assert programs
    kept = {program: program.read_bytes() for program in programs}
    for program in programs:
        program.write_text(CRASHES.format("") + how)
    try:
        room.run("check", "inventory.yml", "-v")
        room.run("check", "inventory.yml", "--json")
    finally:
        for program, content in kept.items():
            program.write_bytes(content)


def test_the_search_finds_what_there_is(box: Sandbox, tmp_path: Path) -> None:
    room = Room(box, tmp_path, "from_env")
    for number in range(25):
        (tmp_path / f"file{number}").write_text("innocent")
    room.search(*MEANT)
    (tmp_path / "leak").write_text(f"password={room.secrets[3]}")
    with pytest.raises(AssertionError, match="leak"):
        room.search(*MEANT)
    with pytest.raises(AssertionError, match="open to others"):
        room.search("leak", *MEANT)
    (tmp_path / "leak").unlink()
    room.told = json.dumps(room.secrets[2])
    with pytest.raises(AssertionError):
        room.search(*MEANT)
