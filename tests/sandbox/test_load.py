"""Many hosts in one run, three of which fail in different ways: the others are finished, and the machine bears it.

PROVISION_LOAD says how many hosts (`make load`: 200); the tests take fewer.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioner.sandbox import Sandbox

from .conftest import free_ports

HOSTS = int(os.environ.get("PROVISION_LOAD", "30"))
PER_HOST = 2.0
"""Seconds of the processor for one host and both sides of the conversation, on a busy machine."""
MOST_MEMORY = 400
"""MiB of the controller, whatever the number of hosts."""
PLAYBOOK = """
- play: Files
  hosts: all
  tasks:
    - name: A file
      file: {path: "{{ vars.folder }}/{{ host.name }}/app.conf", content: "of {{ host.name }}"}
- play: Head
  hosts: head
  tasks:
    - name: Begin
      command: {argv: [/bin/touch, "{{ vars.folder }}/begun"], creates: "{{ vars.folder }}/begun"}
- play: Workers
  hosts: workers
  needs: Head
  tasks:
    - name: Work
      command: {argv: [/bin/sh, -c, "! test -e {{ vars.folder }}/{{ host.name }}/trap && touch {{ vars.folder }}/{{ host.name }}/done"],
                creates: "{{ vars.folder }}/{{ host.name }}/done"}
"""  # noqa: E501
STRANGER = """
import json, sys
sys.stdin.readline()
print('{"type":"ready"}\\n{"type":"facts","facts":"none of your business"}', flush=True)
"""


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    made = Sandbox(tmp_path_factory.mktemp("load") / "hosts")
    made.start(HOSTS, free_ports(HOSTS))
    yield made
    made.remove()


class Load:
    """The inventory, and runs of which memory and threads are watched."""

    def __init__(self, box: Sandbox, folder: Path) -> None:
        self.folder = folder
        self.hosts = box.hosts()
        self.unreachable, self.failing, self.stranger = (host.name for host in self.hosts[-3:])
        self.memory = self.threads = 0
        places: dict[str, Any] = {
            host.name: {"address": "127.0.0.1", "ssh": {"port": host.port}} for host in self.hosts
        }
        places[self.unreachable]["ssh"]["port"] = free_ports(1)
        head, *workers = places
        inventory = {
            "cluster": "load", "python": "3.11.9", "ray": {"version": "2.60.0"}, "service": "process",
            "ssh": {"user": box.user, "key": str(box.key), "known_hosts": str(box.known_hosts)},
            "vars": {"folder": str(self.hosts[0].home.parent)}, "head": {head: places[head]},
            "workers": {name: places[name] for name in workers},
        }  # fmt: skip
        (folder / "inventory.yml").write_text(json.dumps(inventory))
        (folder / "playbook.yml").write_text(PLAYBOOK)

    def run(self, *words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "provisioner.cli", *words, "inventory.yml", "--playbook", "playbook.yml"]
        environ = {**os.environ, "PROVISION_STATE": str(self.folder / "state"), "PYTHONPATH": str(Path.cwd())}
        with subprocess.Popen(
            command, cwd=self.folder, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if "--json" in words else subprocess.STDOUT, text=True,
        ) as process:  # fmt: skip
            watch = threading.Thread(target=self._watch, args=(process.pid,), daemon=True)
            watch.start()
            said, aside = process.communicate(timeout=170 + HOSTS)
        print(aside or "")
        return process.returncode, said

    def _watch(self, pid: int) -> None:
        """Keep the largest resident memory (MiB) and number of threads."""
        while True:
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                return
            memory, threads = (re.search(rf"^{name}:\s+(\d+)", status, re.M) for name in ("VmHWM", "Threads"))
            if memory is None or threads is None:
                return
            self.memory = max(self.memory, int(memory[1]) // 1024)
            self.threads = max(self.threads, int(threads[1]))
            time.sleep(0.05)


def test_all_but_three_are_finished(box: Sandbox, tmp_path: Path) -> None:
    load = Load(box, tmp_path)
    home = {host.name: host.home for host in load.hosts}
    load.run("check", "--limit", load.stranger)
    (program,) = home[load.stranger].glob(".provision/program/*/run.py")
    program.write_text(STRANGER)
    (home[load.failing] / "trap").touch()
    begun = time.monotonic()
    code, said = load.run("apply", "--yes")
    seconds = time.monotonic() - begun
    print(f"{HOSTS} hosts: {seconds:.1f} s, {load.memory} MiB, {load.threads} threads")
    assert code == 3, said
    recap = dict(re.findall(r"^(\S+)(?: and \d+ more)? +: .* (\w+)$", said, re.M))
    assert "PLAY RECAP" in said
    for name, status in ((load.unreachable, "unreachable"), (load.failing, "failed"), (load.stranger, "failed")):
        assert recap[name] == status, said[-3000:]
    rows = re.findall(r"^\S+(?: and (\d+) more)? +: +ok=\d+ .* (\w+)$", said, re.M)
    counted = {word: sum(1 + int(more or 0) for more, status in rows if status == word) for _, word in rows}
    assert counted == {"changed": HOSTS - 3, "failed": 2, "unreachable": 1}
    good = [name for name in home if name not in (load.unreachable, load.failing, load.stranger)]
    assert len(good) == HOSTS - 3
    assert all((home[name] / "app.conf").read_text() == f"of {name}" for name in good)
    assert all((home[name] / "done").exists() for name in good[1:])
    assert len(re.findall(r"refused the connection|cut off|ended with exit code 1", said)) >= 3
    assert f"{load.stranger}: failed: the host was cut off" in said
    assert load.memory < MOST_MEMORY
    assert load.threads < 4 * HOSTS + 20, "four for each host that is talked to, and a few of our own"
    assert seconds < 30 + PER_HOST * HOSTS
    load.threads = 0
    code, said = load.run("apply", "--yes", "--json")
    print(f"again, with nothing to do: {load.threads} threads")
    assert load.threads < 2 * HOSTS + 200, "who has nothing to do does not wait for the others"
    assert said.startswith("{"), said
    document = json.loads(said)
    assert sum(host["status"] == "ok" for host in document["hosts"].values()) >= HOSTS - 3
