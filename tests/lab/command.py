"""The project's command line, run as its users run it: a process of its own, measured."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Result:
    """How a command ended. ``cpu`` is user and system time of it and of the processes it waited for."""

    code: int
    out: str
    err: str
    seconds: float
    cpu: float


class ProvisionTimeout(AssertionError):
    """The command did not end in time; it was killed."""


class Running:
    """A command that has been started; `wait` must be called in the end."""

    def __init__(self, argv: list[str], env: dict[str, str]) -> None:
        self.argv = argv
        self._started = time.monotonic()
        self._out: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by wait
        self._err: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by wait
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            env=env,
            cwd=PROJECT,
            start_new_session=True,
        )

    @property
    def out(self) -> str:
        """What it has written to stdout so far."""
        return _text(self._out)

    @property
    def err(self) -> str:
        """What it has written to stderr so far."""
        return _text(self._err)

    @property
    def running(self) -> bool:
        """Whether nobody has waited for its end yet."""
        return self._process.returncode is None

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself; `wait` must be called all the same."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def signal(self, number: int = signal.SIGINT) -> None:
        """Send a signal to the command only, not to what it has started."""
        os.kill(self._process.pid, number)

    def wait(self, timeout: float = 300) -> Result:
        """Wait for the end; at the limit, kill the command and all it started and show what it wrote."""
        end = self._started + timeout
        while True:
            pid, status, used = os.wait4(self._process.pid, os.WNOHANG)
            seconds = time.monotonic() - self._started
            if pid:
                break
            if time.monotonic() > end:
                self._kill()
                raise ProvisionTimeout(f"no end after {seconds:.0f} s: {self.argv}\n{self.out}\n{self.err}")
            time.sleep(0.005)
        code = os.waitstatus_to_exitcode(status)
        self._process.returncode = code
        result = Result(code, self.out, self.err, seconds, used.ru_utime + used.ru_stime)
        self._out.close()
        self._err.close()
        return result

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # its own session: the group is ours
        self._process.wait(10)


@dataclass(frozen=True)
class Provision:
    """``provision("apply", "inventory.yml")`` runs ``python -m provisioner.cli``; `start` leaves it running."""

    cache: Path

    def __call__(self, *args: str | Path, env: Mapping[str, str] | None = None, timeout: float = 300) -> Result:
        return self.start(*args, env=env).wait(timeout)

    def start(self, *args: str | Path, env: Mapping[str, str] | None = None) -> Running:
        """Start the command and return at once."""
        full = {**os.environ, "PROVISION_CACHE": str(self.cache), "PYTHONUNBUFFERED": "1", **(env or {})}
        return Running([sys.executable, "-m", "provisioner.cli", *map(str, args)], full)


def _text(stream: IO[bytes]) -> str:
    # pread: the command shares this file's position
    return os.pread(stream.fileno(), os.fstat(stream.fileno()).st_size, 0).decode(errors="replace")
