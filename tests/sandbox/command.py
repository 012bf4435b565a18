"""`provision` as a process of its own, on hosts of the sandbox: for what can only be done to a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from typing import Any

from provisioner.sandbox import Sandbox

LIMIT = 120.0
PYTHON = ".".join(map(str, sys.version_info[:3]))


class Room:
    """Hosts with an inventory and a playbook in a folder of their own."""

    def __init__(self, box: Sandbox, count: int, folder: Path) -> None:
        self.homes = {host.name: host.home for host in box.hosts()[:count]}
        self.folder = folder
        ssh = f"user: {box.user}, key: {box.key}, known_hosts: {box.known_hosts}"
        places = [
            f"{host.name}: {{address: 127.0.0.1, ssh: {{port: {host.port}, {ssh}}}, vars: {{home: {host.home}}}}}"
            for host in box.hosts()[:count]
        ]
        workers = "".join(f"  {place}\n" for place in places[1:])
        self.inventory = folder / "inventory.yml"
        self.inventory.write_text(
            f"cluster: lab\npython: {{version: {PYTHON}, source: system}}\nray: {{version: 2.60.0}}\nservice: process\n"
            f"head:\n  {places[0]}\nworkers:\n{workers}"
        )

    def start(self, verb: str, playbook: str, *flags: str) -> Run:
        """Start a command; what it prints is gathered meanwhile."""
        file = self.folder / "playbook.yml"
        file.write_text(dedent(playbook))
        words = [sys.executable, "-m", "provisioner.cli", verb, str(self.inventory), "--playbook", str(file), *flags]
        if verb != "check":
            words.append("--yes")
        return Run(words, self.folder)

    def at_terminal(self, verb: str, playbook: str) -> Run:
        """Start a command at a terminal, where it may ask."""
        file = self.folder / "playbook.yml"
        file.write_text(dedent(playbook))
        words = [sys.executable, "-m", "provisioner.cli", verb, str(self.inventory), "--playbook", str(file)]
        return Run(words, self.folder, terminal=True)

    def close(self, playbook: str) -> None:
        self.start("teardown", playbook, "--purge").end()


class Run:
    """A command that runs."""

    def __init__(self, words: list[str], folder: Path, terminal: bool = False) -> None:
        env = dict(os.environ, XDG_STATE_HOME=str(folder / "state"), PYTHONUNBUFFERED="1", TERM="dumb")
        self._threads: list[threading.Thread] = []
        if terminal:
            self._terminal, theirs = os.openpty()
            self.process = subprocess.Popen(
                words, stdin=theirs, stdout=theirs, stderr=theirs, env=env, cwd=folder, start_new_session=True
            )
            os.close(theirs)
            self.out, self.err = self._gather(os.fdopen(self._terminal, "rb", closefd=False)), []
            return
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, cwd=folder)
        self.out = self._gather(self.process.stdout)
        self.err = self._gather(self.process.stderr)

    def answer(self, text: str) -> None:
        """Type something at the terminal."""
        os.write(self._terminal, text.encode())

    def _gather(self, stream: Any) -> list[str]:
        lines: list[str] = []

        def read() -> None:
            with suppress(OSError):  # what is left of a terminal whose program has ended
                while piece := stream.read1(65536):
                    lines.append(piece.decode(errors="replace"))

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        self._threads.append(thread)
        return lines

    @property
    def said(self) -> str:
        """Everything it has printed until now."""
        return "".join(self.out) + "".join(self.err)

    def signal(self, number: int = signal.SIGINT) -> None:
        self.process.send_signal(number)

    def end(self, limit: float = LIMIT) -> int:
        """Wait for its end; returns the exit code."""
        code = self.process.wait(limit)
        for thread in self._threads:
            thread.join(5)
        assert "Traceback" not in self.said and "unexpected" not in self.said, self.said
        return code

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads("".join(self.out))
        return found
