"""Ray as a LaunchDaemon: of the system, as the account that runs Ray, from boot on, whoever is logged in.

Settings and their reasons (launchd.plist(5)): ``ExitTimeOut`` because a node drains for up to 30 s after SIGTERM and
launchd kills after 20 unless told otherwise; ``ThrottleInterval`` 5 in place of 10 seconds between two starts;
``ProcessType`` Interactive because every other one lets the system slow it down; both limits of open files because the
soft one can't be above the hard one. ``StandardErrorPath`` only holds what comes before the launcher opens its own log,
and lies where launchd finds the folder: a path that is missing has the start fail with 78. An agent of the user
(``gui/UID``) is none for us: it runs while that user is logged in at the screen.
"""

from __future__ import annotations

import os

from provisioner.remote.failure import Failure
from provisioner.remote.marker import write_atomically
from provisioner.remote.platforms.base import ServiceManager
from provisioner.remote.platforms.macos.launchctl import Launchctl
from provisioner.remote.service import launch_arguments, log_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict

    from provisioner.remote.host import Host

FOLDER = "/Library/LaunchDaemons"
FILES = 65536
"""Open files that Ray may have."""
DRAIN = 45
"""Seconds that launchd gives a node to end by itself."""
END_LIMIT = DRAIN + 15.0
"""Seconds for a node that is told to end to be gone."""
WORDS = {"UserName": "account", "ProgramArguments": "command"}
"""Keys of a property list by the names that users know."""
PATIENCE = "i=0; while [ $i -lt 60 ]; do %s bootstrap system %s && exit; i=$((i+1)); sleep 1; done"
"""A service that still ends is refused: asked again until it is taken."""


class LaunchDaemon(ServiceManager):
    """Args:
    folder: where launchd looks for the daemons of the system.
    """

    kind = "launchd"

    def __init__(self, folder: str = FOLDER) -> None:
        self._folder = folder

    def observe(self, host: Host, name: str) -> Dict[str, Any]:
        """See ServiceManager. A daemon that was disabled while it runs shows only after the next boot."""
        try:
            with open(self._path(name), encoding="utf-8") as file:
                defined = file.read()
        except FileNotFoundError:
            return {"defined": None, "enabled": False, "active": False, "failing": False, "pid": 0}
        job = Launchctl(host.platform).job(_label(name))
        running = job is not None and job.state == "running" and job.pid > 0
        return {
            "defined": defined,
            "enabled": True,
            "active": running,
            "failing": job is not None and not running and bool(job.ended),
            "pid": job.pid if job is not None and running else 0,
            "restarts": max(0, job.runs - 1) if job is not None else 0,
        }

    def definition(self, host: Host, name: str) -> str:
        import plistlib

        return plistlib.dumps(self._keys(host, name), sort_keys=True).decode("utf-8")

    def parts(self, host: Host, text: str) -> Dict[str, str]:
        import plistlib
        from xml.parsers.expat import ExpatError

        try:
            keys = plistlib.loads(text.encode("utf-8"))
        except (ValueError, ExpatError, plistlib.InvalidFileException):
            return {}
        found: Dict[str, Any] = keys if isinstance(keys, dict) else {}
        return {WORDS.get(key, key): _shown(value) for key, value in found.items()}

    def _keys(self, host: Host, name: str) -> Dict[str, Any]:
        early = os.path.join(os.path.dirname(log_path(host, name)), name + ".launchd.log")
        return {
            "Label": _label(name),
            "ProgramArguments": launch_arguments(host, name),
            "UserName": host.account,
            "EnvironmentVariables": _of_the_account(host.account),
            "WorkingDirectory": host.root,
            "RunAtLoad": True,
            "KeepAlive": True,
            "ThrottleInterval": 5,
            "ExitTimeOut": DRAIN,
            "ProcessType": "Interactive",
            "SoftResourceLimits": {"NumberOfFiles": FILES},
            "HardResourceLimits": {"NumberOfFiles": FILES},
            "StandardOutPath": early,
            "StandardErrorPath": early,
        }

    def define(self, host: Host, name: str) -> None:
        """Write the property list. launchd reads it when the service is loaded, which ``restart`` and every boot do."""
        write_atomically(self._path(name), self.definition(host, name).encode("utf-8"))

    def restart(self, host: Host, name: str) -> None:
        launchctl, label = Launchctl(host.platform), _label(name)
        launchctl.bootout(label, END_LIMIT)
        launchctl.bootstrap(self._path(name), label)
        job = launchctl.job(label)
        if job is None:
            raise Failure("launchd took %s, and does not know it" % self._path(name), "run the same command again")
        if not job.pid and not job.runs:
            launchctl.kickstart(label)

    def start_soon(self, host: Host, name: str) -> None:
        """Leave a shell behind that loads the service as soon as launchd takes it."""
        import shlex
        import subprocess

        from provisioner.remote.platforms.macos.launchctl import PROGRAM

        subprocess.Popen(
            ["/bin/sh", "-c", PATIENCE % (PROGRAM, shlex.quote(self._path(name)))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def stop(self, host: Host, name: str) -> None:
        """Take the service out of launchd until the next boot, or until it is started again."""
        if os.path.exists(self._path(name)):
            Launchctl(host.platform).bootout(_label(name), END_LIMIT)

    def undefine(self, host: Host, name: str) -> None:
        if os.path.exists(self._path(name)):
            os.unlink(self._path(name))

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, _label(name) + ".plist")


def _label(name: str) -> str:
    return "provision." + name


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join("%s=%s" % pair for pair in sorted(value.items()))
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _of_the_account(account: str) -> Dict[str, str]:
    """Return what a login would set and launchd may not; everything else is in the specification."""
    import pwd

    try:
        entry = pwd.getpwnam(account)
    except KeyError:
        return {}
    return {"HOME": entry.pw_dir, "LOGNAME": account, "USER": account}
