"""Ray as a systemd unit: of the system when we are root, else of the user, with lingering so that it outlives logins.

Settings and their reasons: ``Type=simple`` returns before the node is up, so the node list decides; SIGTERM drains a
node for up to 30 s and then exits 1 (measured with Ray 2.60.0), hence SuccessExitStatus and TimeoutStopSec; SIGTERM for
the whole group would end the GCS that a head's drain waits for (33 s in place of 3, measured), hence KillMode=mixed; no
ExecStop, since ``ray stop`` ends strangers' clusters too.
"""

from __future__ import annotations

import os

from provisioner.remote.failure import Failure
from provisioner.remote.folders import missing_folders, remove_if_empty
from provisioner.remote.marker import write_atomically
from provisioner.remote.platforms.base import ServiceManager
from provisioner.remote.service import launch_arguments, title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List

    from provisioner.remote.host import Host

UNIT = """\
[Unit]
Description={what} of the cluster {cluster} (made by provision)
{network}StartLimitIntervalSec=0

[Service]
Type=simple
{account}ExecStart={command}
Restart=always
RestartSec=5
SuccessExitStatus=1
KillMode=mixed
TimeoutStopSec=45
LimitNOFILE=65536

[Install]
WantedBy={target}
"""
NETWORK = "Wants=network-online.target\nAfter=network-online.target\n"
WORDS = {"User": "account", "ExecStart": "command"}
"""Settings of a unit by the names that users know."""
PROPERTIES = "ActiveState,SubState,MainPID,NRestarts,UnitFileState,NeedDaemonReload"


class Systemd(ServiceManager):
    def __init__(self, user_unit: bool) -> None:
        self._user = user_unit
        self.kind = "systemd-user" if user_unit else "systemd"

    def runs_as(self, host: Host) -> str:
        return "" if self._user else host.account

    def defined_account(self, host: Host, name: str) -> str:
        try:
            with open(self._path(name), encoding="utf-8") as file:
                return self.parts(host, file.read()).get("account", "")
        except (OSError, ValueError):
            return ""

    def observe(self, host: Host, name: str) -> Dict[str, Any]:
        path = self._path(name)
        if not os.path.exists(path):
            return {"defined": None, "enabled": False, "active": False, "failing": False, "pid": 0}
        with open(path, encoding="utf-8") as file:
            defined = file.read()
        shown = self._systemctl(host, ["show", name + ".service", "--property=" + PROPERTIES], check=False)
        state = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        return {
            "defined": defined,
            "enabled": state.get("UnitFileState") == "enabled",
            "active": state.get("ActiveState") == "active" and state.get("SubState") == "running",
            "failing": state.get("SubState") == "auto-restart" or state.get("ActiveState") == "failed",
            "pid": int(state.get("MainPID", "0") or 0),
            "restarts": int(state.get("NRestarts", "0") or 0),
        }

    def definition(self, host: Host, name: str) -> str:
        """See ServiceManager.

        Raises:
            Failure: something can't be said in a unit file.
        """
        command = launch_arguments(host, name)
        _refuse_unspeakable([host.cluster, host.account, *command], command[0])
        return UNIT.format(
            what=title(host, name),
            cluster=host.cluster,
            network="" if self._user else NETWORK,
            account="" if self._user else "User=%s\n" % host.account,
            command=" ".join(_quote(part) for part in command),
            target="default.target" if self._user else "multi-user.target",
        )

    def parts(self, host: Host, text: str) -> Dict[str, str]:
        settings = [line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith(("#", ";"))]
        return {WORDS.get(name.strip(), name.strip()): value.strip() for name, value in settings}

    def define(self, host: Host, name: str) -> None:
        if self._user:
            self._linger(host)
        path = self._path(name)
        self._note_folders(host, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_atomically(path, self.definition(host, name).encode("utf-8"))
        # `enable` has systemd read every unit again, as `daemon-reload` does: once is enough, it takes 0.1 s.
        self._systemctl(host, ["enable", "--quiet", name + ".service"])

    def restart(self, host: Host, name: str) -> None:
        self._systemctl(host, ["reset-failed", name + ".service"], check=False)
        self._systemctl(host, ["restart", name + ".service"], timeout=90.0)

    def start_soon(self, host: Host, name: str) -> None:
        self._systemctl(host, ["--no-block", "restart", name + ".service"], check=False)

    def stop(self, host: Host, name: str) -> None:
        if os.path.exists(self._path(name)):
            self._systemctl(host, ["stop", name + ".service"], timeout=90.0)

    def undefine(self, host: Host, name: str) -> None:
        path = self._path(name)
        if os.path.exists(path):
            self._systemctl(host, ["disable", "--quiet", name + ".service"], check=False)
            os.unlink(path)
            self._systemctl(host, ["daemon-reload"], check=False)
            self._systemctl(host, ["reset-failed", name + ".service"], check=False)
        self._prune(host)
        self._unlinger(host)

    def _path(self, name: str) -> str:
        if self._user:
            return os.path.expanduser("~/.config/systemd/user/%s.service" % name)
        return "/etc/systemd/system/%s.service" % name

    def _systemctl(self, host: Host, arguments: List[str], check: bool = True, timeout: float = 30.0) -> str:
        argv = ["systemctl", *(["--user"] if self._user else []), *arguments]
        env = {"XDG_RUNTIME_DIR": "/run/user/%d" % os.geteuid()} if self._user else None
        code, output = host.platform.run(argv, timeout, env)
        if check and code:
            raise Failure(
                "systemctl %s failed: %s" % (" ".join(arguments), output.strip()),
                "see `systemctl status` on the host" if not self._user else "see `systemctl --user status` on the host",
            )
        return output

    def _linger(self, host: Host) -> None:
        flag = "/var/lib/systemd/linger/" + host.platform.login_account()
        if os.path.exists(flag):
            return
        host.marker.put("linger", {"account": host.platform.login_account()})
        code, output = host.platform.run(["loginctl", "enable-linger"], 30.0)
        if code:
            raise Failure(
                "the user's services can't outlive the login: %s" % output.strip(),
                "as root on the host: loginctl enable-linger %s; or set `become: true`" % host.account,
            )

    def _unlinger(self, host: Host) -> None:
        if host.marker.get("linger"):
            host.platform.run(["loginctl", "disable-linger"], 30.0)
            host.marker.drop("linger")

    def _note_folders(self, host: Host, path: str) -> None:
        """Note the folders that we and ``enable`` are going to make for a user's unit."""
        link = os.path.join(os.path.dirname(path), "default.target.wants", os.path.basename(path))
        folders = missing_folders(link) if self._user else []
        if folders and not host.marker.get("unit folders"):
            host.marker.put("unit folders", {"folders": folders})

    def _prune(self, host: Host) -> None:
        for folder in (host.marker.get("unit folders") or {"folders": []})["folders"]:
            remove_if_empty(folder)
        host.marker.drop("unit folders")


def _quote(part: str) -> str:
    """Quote one word for ExecStart (systemd.service(5), COMMAND LINES)."""
    import re

    if re.match(r"[A-Za-z0-9_/.,:=+-]+$", part) and part[-1] != "\n":
        return part
    return '"%s"' % part.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")


def _refuse_unspeakable(texts: List[str], program: str) -> None:
    """Refuse what would begin another line of a unit, and a program's path in which systemd would want a variable."""
    for text in texts:
        if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
            raise Failure("%r holds a control character, which no unit file can" % text, "choose another `root:`")
    if "$" in program:
        raise Failure("systemd starts no program with a `$` in its path: %s" % program, "choose another `root:`")
