"""A conversation with the remote program as hosts run it: unpacked, its own process, JSON lines over pipes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from provisioner.transport import program
from tests import waiting

LIMIT = 60.0
"""Seconds; a busy machine takes many for the start of a process."""


Message = dict[str, Any]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program's folder."""
    archive = tmp_path_factory.mktemp("program") / "abc.zip"
    archive.write_bytes(program.archive())
    subprocess.run([sys.executable, "-I", "-S", archive], input=b"", stdout=subprocess.PIPE, timeout=LIMIT, check=False)
    return archive.with_suffix("")


class Talk:
    """A conversation with the program.

    Args:
        folder: holds the host's home and root.
    """

    def __init__(self, unpacked: Path, folder: Path, python: str = sys.executable) -> None:
        self.folder = folder
        environ = {**os.environ, "HOME": str(folder), "PROVISION_SANDBOX": "1", "PROVISION_TEST": str(folder)}
        self.process = subprocess.Popen(
            [python, "-I", "-S", unpacked / "run.py"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ, cwd=folder,
        )  # fmt: skip

    def send(self, message: Any) -> None:
        self.raw(json.dumps(message).encode() + b"\n")

    def raw(self, data: bytes) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(data)
            self.process.stdin.flush()

    def blob(self, number: int, content: bytes, last: bool = True) -> None:
        """Send a slice of a file."""
        self.send({"type": "blob", "id": number, "size": len(content), "last": last})
        self.raw(content)

    def hear(self, kind: str) -> Message:
        """Return the next message of that kind; no error may come before it."""
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            message: Message = json.loads(line)
            if message["type"] == kind:
                return message
            assert message["type"] != "error", message
        raise AssertionError(f"the program ended without {kind!r}: {self.end()}")

    def hello(self, *tasks: Message, mode: str = "apply", **changes: Any) -> None:
        message = {
            "type": "hello", "protocol": 1, "mode": mode, "cluster": "lab", "host": "w1", "service": "process",
            "root": str(self.folder / "root"), "account": None,
            "plays": [{"name": "Play", "tasks": list(tasks)}] if tasks else [],
        }  # fmt: skip
        self.send({**message, **changes})

    def end(self) -> tuple[int, list[Message], str]:
        """Close stdin and return exit code, remaining messages and errors."""
        out, err = self.process.communicate(timeout=LIMIT)
        return self.process.returncode, [json.loads(line) for line in out.splitlines()], err.decode()


@pytest.fixture
def talk(unpacked: Path, tmp_path: Path) -> Iterator[Talk]:
    made = Talk(unpacked, tmp_path)
    yield made
    made.process.kill()
    made.process.communicate()


def task(kind: str, task: str = "T", when: Message | None = None, /, **params: Any) -> Message:
    return {"name": task, "resource": kind, "params": params, "when": when or {}}


def touch(path: Path, name: str = "T", when: Message | None = None) -> Message:
    undo = ["/bin/rm", str(path)]
    return task("command", name, when, argv=["/bin/touch", str(path)], creates=str(path), undo=undo)


CONTENT = b"x" * 3_000_000


SHA256 = hashlib.sha256(CONTENT).hexdigest()


def lay(path: Path) -> Message:
    return task("file", path=str(path), sha256=SHA256, size=len(CONTENT))


soon = partial(waiting.soon, limit=5.0)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


kinds = st.sampled_from(["hello", "play", "end", "blob", "answer", "query", "beat", "broken", "x"])


fields = st.sampled_from(["id", "sha256", "size", "index", "changed", "protocol", "mode", "plays", "what", "args"])


messages = st.builds(lambda kind, rest: {**rest, "type": kind}, kinds, st.dictionaries(fields, json_values, max_size=5))
