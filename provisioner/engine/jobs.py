"""Jobs of a cluster, through the head's own Jobs API and our conversation with it: no port, no token, no Ray here."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provisioner.engine.inquiry import LIMIT, Inquiry, dashboard, request
from provisioner.engine.workdir import pack
from provisioner.errors import HostFailed, InputError
from provisioner.inventory.model import Inventory
from provisioner.ray import jobs

PART = 4 * 1024 * 1024
"""Bytes of a package that are sent in one message."""
Take = Callable[[bytes], None]


@dataclass(frozen=True)
class Ended:
    """How a job stands: ``status`` as Ray says it, and what a command that waited for it ends with."""

    id: str
    status: str
    message: str
    exit_code: int


@dataclass(frozen=True)
class Cluster:
    """A head that is asked about jobs.

    Every method raises HostFailed or Unreachable, in the user's words, if the head does not do it.
    """

    head: Inquiry
    inventory: Inventory

    def submit(self, argv: Sequence[str], folder: Path | None, env: Mapping[str, str], name: str = "") -> str:
        """Have a command run as a job; returns its id.

        Args:
            argv: the program and its arguments; no shell of ours sees them.
            folder: the job's working directory, sent if the head does not have it; None: an empty one.
            env: variables of the job.
            name: an id for it; "": Ray makes one.
        """
        try:
            line = jobs.entrypoint(argv, str(self.head.facts.get("os", "")))
        except ValueError as error:
            raise InputError(str(error), remedy="write it into a script of the working directory") from None
        runtime: dict[str, Any] = {"env_vars": dict(env)} if env else {}
        if folder is not None:
            runtime["working_dir"] = self._package(folder)
        told = {"entrypoint": line, "runtime_env": runtime, **({"submission_id": name} if name else {})}
        answer = self._json("POST", jobs.JOBS, json.dumps(told).encode())
        return str(answer.get("submission_id") or answer.get("job_id"))

    def list(self) -> list[Mapping[str, Any]]:
        """Return the jobs, the newest first."""
        answer = self._json("GET", jobs.JOBS)
        rows = [row for row in answer if isinstance(row, dict)] if isinstance(answer, list) else []
        return sorted(rows, key=lambda row: row.get("start_time") or 0, reverse=True)

    def follow(self, name: str, take: Take, lines: int | None = None, to_the_end: bool = True) -> Ended:
        """Hand on what a job prints, from its beginning or its last lines on, and return how it stands then.

        Args:
            to_the_end: wait until it has ended.
        """
        asked = {"id": name, "dashboard": dashboard(self.inventory), "follow": to_the_end, "lines": lines}
        told = self.head.ask("job", asked, None if to_the_end else LIMIT, take)
        if not isinstance(told, dict):
            raise HostFailed("what it says of the job is no answer", host=self.head.host.name)
        status, driver = str(told.get("status") or ""), told.get("driver_exit_code")
        code = jobs.exit_code(status, driver if isinstance(driver, int) else None)
        why = str(told.get("message") or "").partition(", last available logs")[0]  # these were just shown
        return Ended(name, status, why, code)

    def stop(self, name: str) -> bool:
        """Have a job stopped; returns whether it still ran."""
        answer = self._json("POST", f"{jobs.JOBS}{_plain(name)}/stop")
        return bool(answer.get("stopped")) if isinstance(answer, dict) else False

    def _package(self, folder: Path) -> str:
        with tempfile.TemporaryDirectory(prefix="provision-") as place:
            archive = Path(place, "package.zip")
            name = jobs.PACKAGE.format(digest=pack(folder, archive))
            status, _ = request(self.head, self.inventory, jobs.PACKAGES + name)
            if status != 200:
                self._send(archive, jobs.PACKAGES + name)
        return f"gcs://{name}"

    def _send(self, archive: Path, path: str) -> None:
        with archive.open("rb") as file:
            while part := file.read(PART):
                self.head.ask("http", {"put": base64.b64encode(part).decode("ascii")}, 600)
        asked = {"dashboard": dashboard(self.inventory), "method": "PUT", "path": path, "kind": "bytes", "timeout": 60}
        pieces: list[bytes] = []
        self._good(self.head.ask("http", asked, 300, pieces.append)["status"], b"".join(pieces))

    def _json(self, method: str, path: str, body: bytes = b"") -> Any:
        status, told = request(self.head, self.inventory, path, method, body, timeout=30)
        self._good(status, told)
        try:
            return json.loads(told)
        except ValueError:
            raise HostFailed("what Ray's dashboard answers is no JSON", host=self.head.host.name) from None

    def _good(self, status: int, body: bytes) -> None:
        if status == 200:
            return
        lines = body.decode("utf-8", "replace").strip().splitlines()
        if status == 404:
            raise HostFailed("there is no such job", remedy="`provision jobs` lists them", host=self.head.host.name)
        why = lines[-1][:500] if lines else f"HTTP {status}"  # Ray answers with a traceback: its last line says it
        raise HostFailed(f"Ray does not do it: {why}", host=self.head.host.name)


def _plain(name: str) -> str:
    if not name or not all(letter.isalnum() or letter in "_.-" for letter in name) or not name.isascii():
        raise InputError(f"no job has the name {name[:60]!r}", remedy="`provision jobs` lists them")
    return name
