"""A Mac that only says what real ones were recorded to say. There is no macOS here: what its programs answer is taken
from public reports, named beside each text; what they do between two answers is a small model of launchd.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from provisioner.remote.host import Host
from provisioner.remote.platforms.macos import Macos

from .remote_host import Controller

Answer = tuple[int, str]
Program = Callable[[list[str]], Answer]

NOT_FOUND = 'Bad request.\nCould not find service "%s" in domain for system\n'
"""With code 113: TOSS-Soft/toss-agent-runtime#40, NousResearch/hermes-agent#5536."""
NOT_THERE = "Boot-out failed: 3: No such process\n"
"""With code 3: headroomlabs-ai/headroom#1289."""
IN_PROGRESS = "Boot-out failed: 36: Operation now in progress\n"
"""With code 36: osquery/osquery#5698."""
REFUSED = "Bootstrap failed: 5: Input/output error\nTry re-running the command as root for richer errors.\n"
"""With code 5: pirj/noclamshell#25, headroomlabs-ai/headroom#1289."""
ALREADY = "Bootstrap failed: 37: Operation already in progress\n"
"""With code 37: ancwrd1/snx-rs#241."""
DISABLED = "Bootstrap failed: 119: Service is disabled\n"

MOJAVE = """\
com.wazuh.agent = {
        active count = 1
        path = /Library/LaunchDaemons/com.wazuh.agent.plist
        state = running

        program = /Library/StartupItems/WAZUH/Wazuh-launcher
        arguments = {
                /Library/StartupItems/WAZUH/Wazuh-launcher
        }

        default environment = {
                PATH => /usr/bin:/bin:/usr/sbin:/sbin
        }

        environment = {
                XPC_SERVICE_NAME => com.wazuh.agent
        }

        domain = com.apple.xpc.launchd.domain.system
        minimum runtime = 10
        exit timeout = 5
        runs = 3
        successive crashes = 0
        pid = 1486
        immediate reason = one-shot
        forks = 3
        execs = 1
        initialized = 1
        trampolined = 1
        started suspended = 0
        proxy started suspended = 0
        last exit code = 0

        event triggers = {
        }

        sockets = {
        }
}
"""
"""wazuh/wazuh-packages#2206, macOS 10.14."""
CRASHING = """\
system/com.cellar.daemon = {
\tactive count = 0
\ttype = Submitted
\tmanaged_by = com.apple.xpc.ServiceManagement
\tstate = spawn scheduled
\tprogram identifier = Contents/Library/LaunchDaemons/cellar-daemon (mode: 2)
\truns = 54
\tlast exit code = 78: EX_CONFIG
\tjob state = spawn failed
}
"""
"""A test of a public program, from a real machine with macOS 26."""
FIRST_RUN = """\
system/provision.ray-lab = {
\tactive count = 1
\tpath = /Library/LaunchDaemons/provision.ray-lab.plist
\ttype = LaunchDaemon
\tstate = running
\truns = 1
\tpid = 913
\tlast exit code = (never exited)
\tsemaphores = {
\t\tsuccessful exit => 0
\t}
\tresource coalition = {
\t\tID = 512
\t\tstate = active
\t\tactive count = 1
\t}
\tspawn type = interactive (4)
\tjob state = running
}
"""
"""The lines ``state``, ``runs``, ``pid``, ``last exit code`` and the nested ``state`` as in reports of macOS 15."""
WAITING = FIRST_RUN.replace("state = running", "state = not running").replace("\tpid = 913\n", "")
KILLED = """\
system/provision.ray-lab = {
\tstate = spawn scheduled
\truns = 2380
\tlast exit reason = OS_REASON_CODESIGNING
}
"""
"""The reason of a program whose signature macOS does not accept, as reports quote it."""


class Launchd:
    """A model of launchd with one service: what is measured of it, in the recorded words.

    Args:
        draining: how many times ``print`` still finds the service after ``bootout``.
        refusals: what ``bootstrap`` says before it takes the service.
    """

    def __init__(self, draining: int = 0, refusals: list[Answer] | None = None) -> None:
        self.loaded = False
        self.draining = draining
        self.left = 0
        self.refusals = refusals or []
        self.text = FIRST_RUN
        self.said: list[str] = []
        self.variables: dict[str, str] = {}

    def __call__(self, argv: list[str]) -> Answer:
        self.said.append(" ".join(argv[1:]))
        return getattr(self, argv[1])(*argv[2:])  # type: ignore[no-any-return]

    def print(self, target: str) -> Answer:
        if self.left:
            self.left -= 1
            return 0, self.text
        return (0, self.text) if self.loaded else (113, NOT_FOUND % target.partition("/")[2])

    def bootout(self, target: str) -> Answer:
        if not self.loaded:
            return 3, NOT_THERE
        self.loaded, self.left = False, self.draining
        return (36, IN_PROGRESS) if self.draining else (0, "")

    def bootstrap(self, domain: str, plist: str) -> Answer:
        if self.refusals:
            return self.refusals.pop(0)
        if self.left or self.loaded:
            return 5, REFUSED
        self.loaded = True
        return 0, ""

    def kickstart(self, target: str) -> Answer:
        return (0, "") if self.loaded else (113, NOT_FOUND % target)

    def enable(self, target: str) -> Answer:
        return 0, ""

    def getenv(self, name: str) -> Answer:
        return (0, self.variables[name] + "\n") if name in self.variables else (0, "")

    def setenv(self, name: str, value: str) -> Answer:
        self.variables[name] = value
        return 0, ""

    def unsetenv(self, name: str) -> Answer:
        self.variables.pop(name, None)
        return 0, ""


class Mac(Macos):
    """Answers for every program by its path."""

    def __init__(self, programs: dict[str, Program], privileged: bool = True) -> None:
        self.programs = programs
        self.ran: list[list[str]] = []
        self._privileged = privileged

    def run(
        self, argv: list[str], timeout: float = 60.0, env: dict[str, str] | None = None, cwd: str | None = None
    ) -> Answer:
        self.ran.append(argv)
        return self.programs[argv[0]](argv)

    def privileged(self) -> bool:
        return self._privileged


def always(code: int, output: str) -> Program:
    return lambda argv: (code, output)


def host_of(mac: Macos, root: Path, **more: Any) -> Host:
    hello = {"cluster": "lab", "host": "mac-1", "python": "3.11.9", "root": str(root), "account": "root"}
    return Host(mac, Controller(), {**hello, **more})  # type: ignore[arg-type]
