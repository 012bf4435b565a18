"""A host in a folder: the real Linux platform and real resources, with variables, root and world in a test's folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from provisioner.remote import resource
from provisioner.remote.failure import Failure
from provisioner.remote.host import Host
from provisioner.remote.platforms.base import ServiceManager
from provisioner.remote.platforms.linux import Linux
from provisioner.remote.platforms.variables import VariablesFile
from provisioner.remote.resource import Resource

Snapshot = dict[str, tuple[int, int, bytes]]


class Controller:
    """Stands where the wire is: has files to send and answers to give, and hears everything."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.answers: dict[tuple[str, str], Any] = {}
        self.heard: list[dict[str, Any]] = []
        self.sent: list[tuple[str, int]] = []
        """What was asked for: sha256 and offset."""

    def offer(self, content: bytes) -> str:
        """Have a file to send; returns its sha256."""
        sha256 = hashlib.sha256(content).hexdigest()
        self.files[sha256] = content
        return sha256

    def send(self, message: dict[str, Any]) -> None:
        self.heard.append(message)

    def ask(self, to: str, what: str, args: Any = None, timeout: float = 60.0) -> Any:
        answer = self.answers.get((to, what))
        if answer is None:
            raise Failure(f"no answer from {to}")
        return answer(args) if callable(answer) else answer

    def need(self, sha256: str, offset: int, sink: Callable[[bytes], None]) -> Sent:
        self.sent.append((sha256, offset))
        content = self.files[sha256]
        for start in range(offset, len(content), 1 << 16):
            sink(content[start : start + (1 << 16)])
        return Sent()


class Sent:
    """A file that has come already."""

    def wait(self) -> None: ...

    def cancel(self) -> None: ...


class Service(ServiceManager):
    """A service manager that starts nothing and remembers what it was told."""

    kind = "stand-in"

    def __init__(self) -> None:
        self.defined: str | None = None
        self.active = False
        self.failing = False
        self.stale: str | None = None
        self.refuses = False
        self.done: list[str] = []
        self.on_restart: Callable[[], None] = lambda: None

    def observe(self, host: Host, name: str) -> dict[str, Any]:
        enabled = self.defined is not None
        return {
            "defined": self.defined, "enabled": enabled, "active": self.active, "failing": self.failing, "pid": 0,
            "stale": self.stale,
        }  # fmt: skip

    def definition(self, host: Host, name: str) -> str:
        return f"runs {name}"

    def define(self, host: Host, name: str) -> None:
        self.defined, self.stale = self.definition(host, name), None

    def prepare(self, host: Host, name: str, python: str) -> None:
        if self.refuses:
            raise Failure("the new definition is refused")

    def restart(self, host: Host, name: str) -> None:
        self.done.append("restart")
        self.active = True
        self.on_restart()

    def start_soon(self, host: Host, name: str) -> None:
        self.done.append("start soon")

    def stop(self, host: Host, name: str) -> None:
        self.done.append("stop")
        self.active = False

    def undefine(self, host: Host, name: str) -> None:
        self.defined = None


class Machine(Linux):
    """This machine, but for the file that holds its variables."""

    def __init__(self, variables: VariablesFile, managers: dict[str, ServiceManager]) -> None:
        self._variables = variables
        self._managers = managers

    def variables(self, place: str = "") -> VariablesFile:
        return self._variables

    def choose_manager(self, wanted: str) -> ServiceManager:
        return self._managers[wanted] if wanted in self._managers else super().choose_manager(wanted)


class World:
    """One host and its controller.

    Args:
        folder: everything is in it: the root under ``root``, the rest of the machine under ``world``.
        variables: the kind of file that holds variables.
        service: what ``service:`` says in the inventory.
    """

    def __init__(self, folder: Path, variables: type[VariablesFile] = VariablesFile, service: str = "auto") -> None:
        self.outside = folder / "world"
        self.outside.mkdir(exist_ok=True)
        self.root = folder / "root"
        self.controller = Controller()
        self.service = Service()
        self._platform = Machine(variables(str(self.outside / "environment")), {"auto": self.service})
        self._hello: dict[str, Any] = {
            "cluster": "lab",
            "host": "w1",
            "python": "3.11.9",
            "root": str(self.root),
            "service": service,
        }

    def host(self) -> Host:
        """The host as a new conversation sees it."""
        return Host(self._platform, self.controller, self._hello)  # type: ignore[arg-type]

    def snapshot(self) -> Snapshot:
        """Everything outside the root: mode, owner and content."""
        found = {}
        for path in sorted(self.outside.rglob("*")):
            status = path.lstat()
            content = (
                str(path.readlink()).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
            )
            found[str(path.relative_to(self.outside))] = (status.st_mode, status.st_uid, content)
        return found


def make(kind: str, **params: Any) -> Resource:
    return resource.create(kind, params)


def found(version: str, source: str = "system", match: str = "exact") -> Resource:
    """The ``python`` task for an interpreter that is there already."""
    return make("python", version=version, source=source, match=match, mirror=None)


def shown(differences: list[dict[str, str]]) -> list[tuple[str, str, str, str]]:
    return [(each["action"], each["what"], each["before"], each["after"]) for each in differences]


def file(name: str = "a.conf", content: bytes = b"wanted\n", **params: Any) -> Callable[[World], Resource]:
    """Return what declares a file with that content, outside of our own root."""

    def declare(world: World) -> Resource:
        sha256 = world.controller.offer(content)
        return make("file", path=str(world.outside / name), sha256=sha256, size=len(content), **params)

    return declare


def write(name: str, text: str, mode: int = 0o644) -> Callable[[World], object]:
    def prepare(world: World) -> None:
        path = world.outside / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    return prepare
