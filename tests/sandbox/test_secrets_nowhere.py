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
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from provisioner.report.redact import forms
from provisioner.sandbox import Sandbox

from .conftest import free_ports

Inventory = dict[str, Any]
Spec = dict[str, str]
MEANT = ("/clusters/lab/service/", "/clusters/lab/secrets/")
"""What a node is started with, and secrets that hosts have: for their administrator and Ray's account alone."""
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
        "/$defs/ray/properties/redis_password": _put(inventory, "ray", "redis_password"),
        "/$defs/redis/properties/password": _put(inventory, "redis", "password"),
    }


def schema_ways() -> set[str]:
    text = (resources.files("provisioner.inventory") / "schema.json").read_text(encoding="utf-8")
    return {path for path in ways(json.loads(text)) if path != "/$defs/secret"}


def test_every_way_to_give_a_secret_is_tried() -> None:
    assert schema_ways() <= set(giving({})), "give the new one here as well, and use it"


WITHOUT = {"from_env": "/$defs/ray/properties/redis_password", "from_file": "/$defs/redis/properties/password"}
"""Two that exclude each other."""


class Room:
    """A cluster in a sandbox, with everything that `provision` writes in one folder."""

    def __init__(self, box: Sandbox, folder: Path, how: str) -> None:
        self.box, self.folder = box, folder
        self.files = folder / "secrets"
        self.files.mkdir()
        self.secrets: list[str] = []
        self.environ = {
            **os.environ, "HOME": str(folder), "PROVISION_STATE": str(folder / "state"), "PYTHONPATH": str(Path.cwd()),
            "XDG_CACHE_HOME": str(folder / "cache"), "UV_CACHE_DIR": str(folder / "uv"),
        }  # fmt: skip
        self.inventory = self._inventory()
        without = WITHOUT[how] if set(WITHOUT.values()) <= schema_ways() else ""
        tried = schema_ways() - {without}
        if "/$defs/redis/properties/password" in tried:
            self.inventory["redis"] = {"external": "127.0.0.1:9"}
        for number, (way, give) in enumerate(sorted(giving(self.inventory).items())):
            if way not in tried:
                continue
            value = secret(number).replace("ü", "u" if "redis" in way else "ü")  # Redis takes ASCII alone
            self.secrets.append(value)
            give(self._kept(value, number, how))
            if way.endswith("/passphrase"):
                self._encrypt(value)
        (folder / "inventory.yml").write_text(json.dumps(self.inventory))
        self.seen: list[str] = []
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
            "head": {"h1": {"address": "127.0.0.1", "ssh": {"port": ports["h1"]}}},
            "workers": {
                "h2": {"address": "127.0.0.1", "become": True, "ssh": {"port": ports["h2"]}},
                "h3": {"address": "127.0.0.1", "ssh": {"port": ports["h3"], "user": "nobody-here"}},
                "h4": {
                    "address": "127.0.0.1", "os": "windows", "ssh": {"port": free_ports(1)},
                    "service": {"manager": "task", "account": "LAB\\ray"},
                },
            },
        }  # fmt: skip

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
                try:
                    self.seen.append(file.read_bytes().decode("utf-8", "replace"))
                except OSError:
                    continue

    def search(self, *allowed: str) -> None:
        """Look for every form of every secret in all that was said, seen and written."""
        every = sorted({form for value in self.secrets for form in forms(value) if len(form) >= 6}, key=len)
        pattern = re.compile("|".join(map(re.escape, every)))
        assert not pattern.search(self.told), pattern.findall(self.told)[:3]
        shown = "\n".join(set(self.seen))
        assert not pattern.search(shown), pattern.findall(shown)[:3]
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


@pytest.mark.parametrize("how", ["from_env", "from_file"])
def test_a_secret_is_nowhere(how: str, box: Sandbox, tmp_path: Path) -> None:
    room = Room(box, tmp_path, how)
    (tmp_path / "nodes.yml").write_text(NODES.replace("FOLDER", str(tmp_path)))
    said = room.run("check", "inventory.yml", "-v")
    assert "h1: " in said and re.search("h4: unreachable", said), said
    room.run("check", "inventory.yml", "--json", "--playbook", "nodes.yml")
    room.run("apply", "inventory.yml", "-v", "--yes")
    room.run("apply", "inventory.yml", "-v", "--yes", "--playbook", "nodes.yml")
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
