"""macOS: launchd, ps and lsof. Nothing here was ever run on a real Mac: see docs/macos.md."""

from __future__ import annotations

import os
import signal
import sys
import time

from provisioner.remote.failure import Failure
from provisioner.remote.platforms.posix import Posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

    from provisioner.remote.host import Host
    from provisioner.remote.platforms.base import ServiceManager
    from provisioner.remote.platforms.firewall import Firewall
    from provisioner.remote.platforms.macos.processes import Processes
    from provisioner.remote.platforms.variables import VariablesFile


class Macos(Posix):
    os = "macos"
    # what nobody read for three days is swept from /tmp (periodic.conf(5), daily_clean_tmps)
    scratch = "/var/tmp"  # noqa: S108 - what is made there is ours alone

    def facts(self) -> Dict[str, Any]:
        from provisioner.remote.platforms.macos.machine import release

        return {
            "os": "macos",
            "arch": self.processor(),
            "hostname": os.uname().nodename,
            "macos_version": release(),
            "python": "%d.%d.%d" % sys.version_info[:3],
            "privileged": self.privileged(),
            "clock": time.time(),
        }

    def processor(self) -> str:
        """Return the machine's processor, which is not that of a Python for Intel on Apple silicon."""
        from provisioner.remote.platforms.macos.machine import is_translated, processor

        machine = os.uname().machine
        return processor(machine, machine == "x86_64" and is_translated())

    def choose_manager(self, wanted: str) -> ServiceManager:
        if wanted == "process" or (wanted == "auto" and not self.privileged()):
            from provisioner.remote.platforms.supervised import Supervised

            return Supervised()
        if wanted not in ("auto", "launchd"):
            raise Failure("there is no %s on macOS" % wanted, "set `service: launchd` or `process`, or leave it out")
        if not self.privileged():
            raise Failure("a LaunchDaemon needs root", "set `become: true`, or `service: process`")
        from provisioner.remote.platforms.macos.launchd import LaunchDaemon

        return LaunchDaemon()

    def variables(self, place: str = "") -> VariablesFile:
        """Return where variables are kept: for everybody if we are root, in the file that the account's shell reads."""
        import pwd

        from provisioner.remote.platforms.macos.launchctl import Launchctl
        from provisioner.remote.platforms.macos.variables import LoginVariables

        if "PROVISION_SANDBOX" in os.environ:
            return super().variables()  # launchd is the whole machine's
        shell = pwd.getpwnam(self.login_account()).pw_shell
        zsh = os.path.basename(shell) == "zsh"  # reads this file for every command, also over SSH
        if self.privileged():
            path, agents = "/etc/zshenv" if zsh else "/etc/profile", "/Library/LaunchAgents"
        else:
            path = os.path.expanduser("~/.zshenv" if zsh else "~/.profile")
            agents = os.path.expanduser("~/Library/LaunchAgents")
        return LoginVariables(path, agents, Launchctl(self))

    def processes_of(self, root: str) -> List[int]:
        from provisioner.remote.host import marker_variable

        return self._processes().of(root, marker_variable(root))

    def runs(self, pid: int) -> bool:
        return bool(self._processes().living([pid]))

    def command_line(self, pid: int) -> str:
        return self._processes().command(pid)

    def birth(self, pid: int) -> str:
        return self._processes().birth(pid)

    def pulse(self, pid: int) -> str:
        return self._processes().pulse(pid)

    def kill(self, pids: List[int]) -> None:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + 10.0
        while self._processes().living(pids) and time.monotonic() < deadline:
            time.sleep(0.1)

    def port_owner(self, port: int) -> str:
        return self._processes().listener(port)

    def firewall(self) -> Firewall:
        from provisioner.remote.platforms.macos.firewall import ApplicationFirewall

        return ApplicationFirewall(self)

    def findings(self, host: Host) -> List[Dict[str, str]]:
        from provisioner.remote.platforms.macos.findings import findings

        return findings(host)

    def start_hint(self, host: Host, name: str) -> Optional[Tuple[str, str]]:
        from provisioner.remote.platforms.macos.privacy import hint

        return hint(host, name)

    def find_interpreters(self, version: str, minor: bool = False) -> List[str]:
        """See Platform. None that is for the other processor: what is installed for it would not go with the rest."""
        from provisioner.remote.platforms.macos.machine import processors_of

        series, own = version.rpartition(".")[0], self.processor()
        framework = "/Library/Frameworks/Python.framework/Versions/%s/bin/python%s" % (series, series)
        found = super().find_interpreters(version, minor)
        found += [framework] * (os.access(framework, os.X_OK) and framework not in found)
        return [path for path in found if own in (processors_of(path) or (own,))]

    def _processes(self) -> Processes:
        from provisioner.remote.platforms.macos.processes import Processes

        return Processes(self)
