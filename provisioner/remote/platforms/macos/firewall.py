"""The application firewall of macOS: it knows programs, no ports and no addresses, and is off unless turned on.

``socketfilterfw`` reads and changes it (its manual page; macOS 15 took away the property list that held the rules). A
program is known by its real path; one that was never asked about is shut for a daemon, since nobody sees the question.
"""

from __future__ import annotations

import os
import re

from provisioner.remote.failure import Failure
from provisioner.remote.platforms.firewall import Firewall
from provisioner.remote.resource import difference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List

    from provisioner.remote.host import Host
    from provisioner.remote.platforms.base import Platform
    from provisioner.remote.platforms.firewall import Opening
    from provisioner.remote.resource import Difference

PROGRAM = "/usr/libexec/ApplicationFirewall/socketfilterfw"
LOOK = ["--getglobalstate", "--getblockall", "--listapps"]
"""Several questions are answered at once, in their order."""
LISTENERS = ("raylet/raylet", "gcs/gcs_server")
"""Programs below ``ray/core/src/ray`` that others connect to; workers and agents are Python."""
KEY = "firewall programs"
"""The marker's entry with the programs that we made known, the system's interpreter among them."""
SHUT = "shut firewall"
"""Where it is left for the findings that nobody is let in, in ``host.shared``."""


class State:
    """What the firewall says of itself.

    Args:
        on: it looks at connections.
        shut: it lets nobody in, whatever else it holds.
        programs: by path, whether others may connect to them.
    """

    def __init__(self, on: bool, shut: bool, programs: Dict[str, bool]) -> None:
        self.on = on
        self.shut = shut
        self.programs = programs


class ApplicationFirewall(Firewall):
    """Args:
    platform: runs programs.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def listeners(self, environment: str, interpreter: str) -> List[str]:
        minor = os.path.basename(environment).partition("-")[0].rpartition(".")[0]
        packages = os.path.join(environment, "lib", "python" + minor, "site-packages", "ray", "core", "src", "ray")
        own = [os.path.realpath(interpreter)] if interpreter else []
        return own + [os.path.join(packages, program) for program in LISTENERS]

    def differences(self, host: Host, opening: Opening) -> List[Difference]:
        state = self._look()
        if not state.on:
            return []
        if state.shut:
            host.shared[SHUT] = True
        return [
            difference("change", "firewall: %s" % path, "others are kept out", "others may connect")
            if path in state.programs
            else difference("add", "firewall: %s" % path, after="others may connect")
            for path in opening["programs"]
            if not state.programs.get(path)
        ]

    def open(self, host: Host, opening: Opening) -> str:
        state, wanted = self._look(), opening["programs"]
        if not state.on:
            return "it is off"
        missing = [path for path in wanted if not state.programs.get(path)]
        self._note(host, [path for path in missing if path not in state.programs])
        for path in missing:
            if path not in state.programs:
                self._change("--add", path)
            self._change("--unblockapp", path)
        known = self._look().programs
        refused = [path for path in missing if not known.get(path)]
        if refused:
            raise Failure(
                "the firewall does not take %s" % ", ".join(refused),
                "at that Mac: System Settings > Network > Firewall > Options, add it there, or switch the firewall off",
            )
        return "%d programs" % len(wanted)

    def traces(self, host: Host) -> List[Difference]:
        if not host.marker.get(KEY):
            return []
        return [difference("remove", "firewall: %s" % path, before="others may connect") for path in self._ours(host)]

    def close(self, host: Host) -> str:
        ours = self._ours(host) if host.marker.get(KEY) else []
        for path in ours:
            self._change("--remove", path)
        host.marker.drop(KEY)
        return "%d programs removed" % len(ours) if ours else ""

    def _ours(self, host: Host) -> List[str]:
        noted = (host.marker.get(KEY) or {"programs": []})["programs"]
        return [path for path in self._look().programs if path in noted or path.startswith(host.root + "/")]

    def _note(self, host: Host, added: List[str]) -> None:
        noted = (host.marker.get(KEY) or {"programs": []})["programs"]
        host.marker.put(KEY, {"programs": sorted({*noted, *added})})

    def _look(self) -> State:
        return look(self._platform)

    def _change(self, verb: str, path: str) -> None:
        """Change one thing; whether it was done shows the list, for the code is 0 in any case."""
        self._platform.run([PROGRAM, verb, path])


def look(platform: Platform) -> State:
    """Return what the firewall says of itself."""
    output = platform.run([PROGRAM, *LOOK])[1]
    if "number of apps" not in output:
        output += "\n" + platform.run([PROGRAM, "--listapps"])[1]
    return parse(output)


def parse(output: str) -> State:
    """Return what ``socketfilterfw`` says, in the forms of macOS 10.14 to 26.

    "Firewall is enabled. (State = 1)"; State = 2, or "block all state set to enabled": nobody is let in. Programs come
    as "1 : PATH", each with "(Allow incoming connections)" or "( Block incoming connections )" in the line below.
    """
    state = re.search(r"\(State = (\d)\)", output)
    number = state.group(1) if state else "0"
    shut = number == "2" or bool(re.search(r"[Bb]lock all (state set to enabled|ENABLED)", output))
    programs: Dict[str, bool] = {}
    last = ""
    for line in output.splitlines():
        named = re.match(r"\s*\d+\s*:\s*(/.*?)\s*(\(.*\))?\s*$", line)
        if named:
            last = named.group(1)
            programs[last] = "Block" not in (named.group(2) or "")
        elif last and "Block incoming" in line:
            programs[last] = False
    return State(number != "0", shut, programs)
