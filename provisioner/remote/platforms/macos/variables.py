"""Environment variables on macOS: a line for shells, and an agent that tells launchd at every login.

What a shell starts, also for a command over SSH, gets what the shell's file says; what is opened with a click gets what
launchd was told (``launchctl setenv``), which it forgets at the end of the login. There is no file for both, and
``/etc/environment`` is read by nobody.
"""

from __future__ import annotations

import os

from provisioner.remote.folders import missing_folders, remove_if_empty
from provisioner.remote.marker import write_atomically
from provisioner.remote.platforms.macos.launchctl import PROGRAM, Launchctl
from provisioner.remote.platforms.variables import ProfileFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional


class LoginVariables(ProfileFile):
    """Args:
    path: the file that the shell reads.
    agents: the folder of the agents that launchd starts at login.
    launchctl: tells launchd now.
    """

    def __init__(self, path: str, agents: str, launchctl: Launchctl) -> None:
        super().__init__(path)
        self._agents = agents
        self._launchctl = launchctl

    def get(self, name: str) -> Optional[str]:
        """Return the value if the shell's file and the agent agree on one."""
        value = super().get(name)
        return value if value is not None and self._agents_value(name) == value else None

    def set(self, name: str, value: str) -> None:
        super().set(name, value)
        write_atomically(self._agent(name), agent(name, value))
        self._launchctl.setenv(name, value)

    def keep(self, name: str) -> Dict[str, Any]:
        folders = missing_folders(self._agent(name))
        kept = dict(super().keep(name), launchd=self._launchctl.getenv(name), folders=folders)
        os.makedirs(self._agents, mode=0o755, exist_ok=True)
        return kept

    def put_back(self, name: str, kept: Dict[str, Any]) -> None:
        super().put_back(name, kept)
        if os.path.exists(self._agent(name)):
            os.unlink(self._agent(name))
        for folder in kept["folders"]:
            remove_if_empty(folder)
        self._launchctl.setenv(name, kept["launchd"])

    def _agent(self, name: str) -> str:
        return os.path.join(self._agents, label(name) + ".plist")

    def _agents_value(self, name: str) -> Optional[str]:
        import plistlib

        try:
            with open(self._agent(name), "rb") as file:
                words = plistlib.load(file)["ProgramArguments"]
        except (OSError, ValueError, KeyError, TypeError, plistlib.InvalidFileException):
            return None
        return str(words[3]) if words[:3] == [PROGRAM, "setenv", name] and len(words) == 4 else None


def label(name: str) -> str:
    return "provision.variable." + name


def agent(name: str, value: str) -> bytes:
    """Return the property list of an agent that tells launchd of a variable at every login (launchd.plist(5))."""
    import plistlib

    keys = {"Label": label(name), "ProgramArguments": [PROGRAM, "setenv", name, value], "RunAtLoad": True}
    return plistlib.dumps(keys, sort_keys=True)
