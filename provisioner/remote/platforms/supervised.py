"""Ray under a small supervisor of our own, for hosts without a service manager. It does not survive a reboot."""

from __future__ import annotations

import json
import os
import signal
import time

from provisioner.remote.failure import Failure
from provisioner.remote.host import MARK
from provisioner.remote.platforms.base import ServiceManager
from provisioner.remote.service import launch_arguments, mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from typing import Any, Dict

    from provisioner.remote.host import Host

START_LIMIT = 10.0
"""Seconds for a supervisor to note its pid."""
STOP_LIMIT = 45.0
"""Seconds to wait for a node to drain and end (Ray takes up to 30)."""


class Supervised(ServiceManager):
    kind = "process"

    def runs_as(self, host: Host) -> str:
        return ""

    def observe(self, host: Host, name: str) -> Dict[str, Any]:
        state = _state(host, name)
        pid = int(state.get("pid", 0))
        alive = bool(pid) and _is_ours(host, pid)
        defined = state.get("definition") if state else None
        return {
            "defined": defined,
            "enabled": defined is not None,
            "active": alive and not state.get("waiting"),
            "failing": alive and bool(state.get("waiting")),
            "pid": pid if alive else 0,
            "restarts": int(state.get("restarts", 0)),
        }

    def definition(self, host: Host, name: str) -> str:
        return " ".join(launch_arguments(host, name, "supervise"))

    def parts(self, host: Host, text: str) -> Dict[str, str]:
        return {"command": text}

    def define(self, host: Host, name: str) -> None:
        """Nothing to do: the supervisor writes its own state when it starts."""

    def restart(self, host: Host, name: str) -> None:
        self.stop(host, name)
        child = _launch(host, name)
        deadline = time.monotonic() + START_LIMIT
        while _state(host, name).get("pid") != child.pid and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)  # until it is known, it can't be stopped

    def start_soon(self, host: Host, name: str) -> None:
        _launch(host, name, "after", str(self.observe(host, name)["pid"]))

    def stop(self, host: Host, name: str) -> None:
        pid = self.observe(host, name)["pid"]
        if not pid:
            return
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_LIMIT
        while _is_ours(host, pid):
            if time.monotonic() > deadline:
                raise Failure("the supervisor (pid %d) did not end within %d s" % (pid, STOP_LIMIT))
            time.sleep(0.1)

    def undefine(self, host: Host, name: str) -> None:
        path = _state_file(host, name)
        if os.path.exists(path):
            os.unlink(path)


def _launch(host: Host, name: str, *more: str) -> subprocess.Popen[bytes]:
    """Start a supervisor."""
    import subprocess

    return subprocess.Popen(
        [*launch_arguments(host, name, "supervise"), _state_file(host, name), *more],
        env=dict(os.environ, **{MARK: mark(host, name)}),  # found among our own even if its state file is gone
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
        close_fds=True,
    )


def _state_file(host: Host, name: str) -> str:
    return host.path("service", name + ".state")


def _state(host: Host, name: str) -> Dict[str, Any]:
    try:
        with open(_state_file(host, name), encoding="utf-8") as file:
            state = json.load(file)
            return state if isinstance(state, dict) else {}
    except (OSError, ValueError):
        return {}


def _is_ours(host: Host, pid: int) -> bool:
    """Tell whether that pid still is our supervisor: pids are used again."""
    return host.path("service") in host.platform.command_line(pid)
