"""What an editor shows of an inventory, by the YAML language server that VS Code's extension runs."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from tests import debian

VERSION = "1.15.0"
CACHE = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    / "provision-tests"
    / f"yaml-language-server-{VERSION}"
)
SERVER = CACHE / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server"
MODELINE = "# yaml-language-server: $schema=inventory.schema.json\n"
TEXT = (
    MODELINE
    + "cluster: lab\npython: 3.11.9\nray:\n  version: 2.60.0\n  \nhead:\n  h1: {address: 10.0.0.1, os: lunix}\n"
)


class Server:
    """A language server that is talked to as editors do (LSP over stdio)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        self.notes: list[dict[str, Any]] = []
        self._process = subprocess.Popen(
            ["node", str(SERVER), "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder
        )
        self.ask("initialize", {"processId": os.getpid(), "rootUri": folder.as_uri(), "capabilities": {}})
        self._send({"method": "initialized", "params": {}})

    def open(self, name: str, text: str) -> str:
        uri = (self._folder / name).as_uri()
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self._send({"method": "textDocument/didOpen", "params": {"textDocument": document}})
        return uri

    def ask(self, method: str, params: dict[str, Any]) -> Any:
        self._number += 1
        self._send({"id": self._number, "method": method, "params": params})
        while True:
            message = self._hear()
            if message.get("id") == self._number and "method" not in message:
                return message.get("result")

    def at(self, method: str, uri: str, line: int, column: int) -> Any:
        position = {"line": line, "character": column}
        return self.ask(f"textDocument/{method}", {"textDocument": {"uri": uri}, "position": position})

    def problems(self, uri: str) -> list[dict[str, Any]]:
        """Return what it finds wrong, as soon as it says so."""
        while True:
            for note in self.notes:
                if note["method"] == "textDocument/publishDiagnostics" and note["params"]["uri"] == uri:
                    found: list[dict[str, Any]] = note["params"]["diagnostics"]
                    return found
            self._hear()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._process.stdin.flush()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        size = 0
        while line := self._process.stdout.readline().strip():
            name, _, value = line.partition(b":")
            size = int(value) if name.lower() == b"content-length" else size
        assert size, "the language server has ended"
        message: dict[str, Any] = json.loads(self._process.stdout.read(size))
        if "method" in message:
            self.notes.append(message)
        if "method" in message and "id" in message:  # it asks for settings: it gets none
            items = message.get("params", {}).get("items", [])
            self._send({"id": message["id"], "result": [None] * len(items)})
        return message


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    debian.need(node="nodejs", npm="npm")
    if not SERVER.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        words = ["npm", "install", "--silent", "--no-audit", "--no-fund", f"yaml-language-server@{VERSION}"]
        subprocess.run(words, cwd=CACHE, check=True, timeout=500)
    folder = tmp_path_factory.mktemp("editor")
    schema = (resources.files("provisioner.inventory") / "schema.json").read_text(encoding="utf-8")
    (folder / "inventory.schema.json").write_text(schema)
    made = Server(folder)
    yield made
    made.close()


def test_a_value_that_can_not_be_is_underlined(server: Server) -> None:
    (problem,) = server.problems(server.open("wrong.yml", TEXT))
    assert problem["range"]["start"]["line"] == TEXT.splitlines().index("  h1: {address: 10.0.0.1, os: lunix}")
    assert "linux" in problem["message"]


def test_what_is_right_is_not(server: Server) -> None:
    assert server.problems(server.open("right.yml", TEXT.replace("lunix", "linux"))) == []


def test_settings_are_offered_where_they_go(server: Server) -> None:
    uri = server.open("offer.yml", TEXT.replace("lunix", "linux"))
    found = server.at("completion", uri, 5, 2)
    offered = {item["label"] for item in found["items"]}
    assert {"auth", "tls", "num_cpus"} <= offered
    assert "address" not in offered
    described = [item for item in found["items"] if item["label"] == "auth"]
    assert described[0]["documentation"]


def test_a_setting_is_explained_under_the_mouse(server: Server) -> None:
    uri = server.open("hover.yml", TEXT.replace("lunix", "linux"))
    said = server.at("hover", uri, 1, 2)["contents"]
    assert "Name of the cluster" in (said["value"] if isinstance(said, dict) else str(said))
