r"""Ray as a task of the Task Scheduler: ``\provision\ray-CLUSTER``.

Settings and their reasons: triggers at startup and every minute, of which all but the first do nothing while the
launcher runs (IgnoreNew): so a launcher that was ended comes back. RestartOnFailure would not do that, it acts only if
the action could not be started ([MS-TSCH] 2.5.4.2). No time limit: the default ends a task after three days. Priority
5: the default, 7, is below normal for the processor, the disk and memory. S4U: no password is stored, and nobody needs
to be logged on. The XML follows "Task Scheduler Schema"; the file is UTF-16 with a byte order mark, the only form that
every release of schtasks takes.

The service writes a task back in a form of its own, so texts are never compared: what was registered is known by a
fingerprint in its description, and by the command, which anybody may have edited.
"""

from __future__ import annotations

import json
import os
import re
import time

from provisioner.remote.failure import Failure
from provisioner.remote.platforms.base import ServiceManager
from provisioner.remote.platforms.windows import access, calls, programs
from provisioner.remote.service import launch_arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

    from provisioner.remote.host import Host

FOLDER = "provision"
START_LIMIT = 20.0
"""Seconds for a launcher to note its pid."""
AGAIN = 1.5
"""Seconds after which a task is told to run once more: the service may not yet have noticed the end of the last run."""
STOP_LIMIT = 8.0
"""Seconds for a launcher to end Ray and itself."""
TASK = """\
<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>{description}</Description>
  </RegistrationInfo>
  <Triggers>
{triggers}  </Triggers>
  <Principals>
    <Principal id="Author">
{principal}    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <AllowHardTerminate>true</AllowHardTerminate>
    <StartWhenAvailable>true</StartWhenAvailable>
    <RunOnlyIfNetworkAvailable>false</RunOnlyIfNetworkAvailable>
    <AllowStartOnDemand>true</AllowStartOnDemand>
    <Enabled>true</Enabled>
    <Hidden>false</Hidden>
    <RunOnlyIfIdle>false</RunOnlyIfIdle>
    <WakeToRun>false</WakeToRun>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <Priority>5</Priority>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>{command}</Command>
      <Arguments>{arguments}</Arguments>
      <WorkingDirectory>{folder}</WorkingDirectory>
    </Exec>
  </Actions>
</Task>
"""
AT_STARTUP = "    <BootTrigger>\n      <Enabled>true</Enabled>\n    </BootTrigger>\n"
EVERY_MINUTE = """\
    <TimeTrigger>
      <Repetition>
        <Interval>PT1M</Interval>
        <StopAtDurationEnd>false</StopAtDurationEnd>
      </Repetition>
      <StartBoundary>2020-01-01T00:00:00</StartBoundary>
      <Enabled>true</Enabled>
    </TimeTrigger>
"""
REGISTER = (
    "$ErrorActionPreference = 'Stop'; "
    "$x = Get-Content -Raw -LiteralPath $env:PROVISION_XML; "
    "Register-ScheduledTask -Force -TaskPath '\\{folder}\\' -TaskName '{name}' -Xml $x "
    "-User $env:PROVISION_ACCOUNT -Password $env:PROVISION_PASSWORD | Out-Null"
)
"""Registers a task of an account with a password. schtasks takes that on its command line, which others can read."""
REMOVE_FOLDER = (
    "$s = New-Object -ComObject Schedule.Service; $s.Connect(); $s.GetFolder('\\').DeleteFolder('{folder}', 0)"
)
"""Removes our folder of the Task Scheduler if it is empty; schtasks can't."""


class Registered:
    """What the Task Scheduler says of our task.

    Args:
        text: its XML, as schtasks prints it: declared as UTF-16, and in whatever code page its output has.
    """

    def __init__(self, text: str) -> None:
        plain = text.replace("\0", "")
        self.fingerprint = _found(r"<Description>[^<]*\[([0-9a-f]{16})\]\s*</Description>", plain)
        self.command = _found(r"<Command>\s*\"?([^<]*?)\"?\s*</Command>", plain)
        self.arguments = _found(r"<Arguments>([^<]*)</Arguments>", plain)
        settings = _found(r"<Settings>(.*?)</Settings>", plain)
        self.enabled = not re.search(r"<Enabled>\s*(false|0)\s*</Enabled>", settings)


def _found(pattern: str, text: str) -> str:
    from html import unescape

    found = re.search(pattern, text, re.DOTALL)
    return unescape(found[1]) if found else ""


def task_xml(cluster: str, account: str, password: bool, elevated: bool, argv: List[str]) -> str:
    """Return the definition of a task.

    Args:
        cluster: names it.
        account: a SID, or a name that Windows knows.
        password: the account's password will be given when the task is registered.
        elevated: the one who registers it is an administrator; nobody else may have a task start with the machine.
        argv: the launcher's command.
    """
    import hashlib
    import subprocess

    fields = {
        "triggers": (AT_STARTUP if elevated else "") + EVERY_MINUTE,
        "principal": _principal(account, password),
        "command": _escaped(argv[0]),
        "arguments": _escaped(subprocess.list2cmdline(argv[1:])),
        "folder": _escaped(os.path.dirname(argv[0])),
    }
    blank = TASK.format(description="", **fields)
    mark = hashlib.sha256(blank.encode("utf-8")).hexdigest()[:16]
    return TASK.format(description="Ray node of the cluster %s (made by provision) [%s]" % (cluster, mark), **fields)


def _principal(account: str, password: bool) -> str:
    """Return who a task runs as. The schema has no logon type for SYSTEM (``ServiceAccount`` is PowerShell's word)."""
    if access.is_system(account):
        return "      <UserId>%s</UserId>\n      <RunLevel>HighestAvailable</RunLevel>\n" % access.SYSTEM
    logon = "Password" if password else "S4U"
    return "      <UserId>%s</UserId>\n      <LogonType>%s</LogonType>\n      <RunLevel>LeastPrivilege</RunLevel>\n" % (
        _escaped(account),
        logon,
    )


class Tasks(ServiceManager):
    kind = "task"
    launcher = "launch_windows"

    def __init__(self) -> None:
        self._asked: Optional[Tuple[str, Optional[Registered]]] = None
        """What the Task Scheduler has said of which task: it is asked once, and after every change of ours."""

    def observe(self, host: Host, name: str) -> Dict[str, Any]:
        task, state = self._registered(host, name), read_state(host, name)
        alive = bool(state) and calls.born(state["pid"]) == state["born"]
        return {
            "defined": self._as_defined(host, name, task),
            "enabled": task is not None and task.enabled,
            "active": alive and not state["waiting"],
            "failing": alive and bool(state["waiting"]),
            "pid": state["pid"] if alive else 0,
            "restarts": state.get("restarts", 0),
        }

    def _as_defined(self, host: Host, name: str, task: Optional[Registered]) -> Optional[str]:
        """Return our own definition if that is what is registered, else what tells it from that."""
        if task is None:
            return None
        wanted = self.definition(host, name)
        ours = Registered(wanted)
        same = (task.fingerprint, task.command, task.arguments) == (ours.fingerprint, ours.command, ours.arguments)
        return wanted if same else "%s %s" % (task.command, task.arguments)

    def definition(self, host: Host, name: str) -> str:
        """Return the task's XML, with the account's name in place of its SID."""
        argv = [*launch_arguments(host, name, "supervise"), state_path(host, name), hold_path(host, name)]
        elevated = host.platform.privileged()
        return task_xml(host.cluster, host.account, bool(host.account_password), elevated, argv)

    def define(self, host: Host, name: str) -> None:
        self._asked = None
        path, text = host.path("service", name + ".xml"), self.definition(host, name)
        if _is_own(host):
            # names may be those of several accounts, and of any alphabet
            text = text.replace("<UserId>%s<" % _escaped(host.account), "<UserId>%s<" % access.own_sid())
        elif not host.account_password and not access.is_system(host.account):
            raise Failure(
                "Windows runs nothing under the account %s without its password" % host.account,
                "write `service: {account: ..., password: {from_env: NAME}}`, or leave the account out",
            )
        host.write(path, b"\xff\xfe" + text.encode("utf-16-le"))
        try:
            if "<LogonType>Password<" in text:
                _register(host, name, path)
            else:
                _schtasks(host, ["/Create", "/F", "/XML", path], name)
        finally:
            os.unlink(path)

    def restart(self, host: Host, name: str) -> None:
        self.stop(host, name)
        former = read_state(host, name)
        _remove(hold_path(host, name))
        deadline = time.monotonic() + START_LIMIT
        again = 0.0
        while not self._began(host, name, former):
            now = time.monotonic()
            if now > deadline:
                raise _not_started(host, name)
            if now > again:
                _schtasks(host, ["/Run"], name)
                again = now + AGAIN
            time.sleep(0.1)

    def _began(self, host: Host, name: str, former: Dict[str, Any]) -> bool:
        state = read_state(host, name)
        fresh = (state.get("pid"), state.get("born")) != (former.get("pid"), former.get("born"))
        return bool(state) and fresh

    def start_soon(self, host: Host, name: str) -> None:
        _remove(hold_path(host, name))  # and if that is all that can be done, the repetition starts it
        host.platform.run(_command(["/Run"], name), 15.0)

    def stop(self, host: Host, name: str) -> None:
        """Have the launcher end Ray and itself; if it does not, have it ended."""
        if not os.path.isdir(host.path("service")):
            return
        open(hold_path(host, name), "w").close()
        deadline = time.monotonic() + STOP_LIMIT
        pid = self._launcher(host, name)
        while self._launcher(host, name):
            if time.monotonic() > deadline:
                host.platform.run(_command(["/End"], name), 15.0)
                host.platform.kill([pid])
                break
            time.sleep(0.1)

    def _launcher(self, host: Host, name: str) -> int:
        state = read_state(host, name)
        return state["pid"] if state and calls.born(state["pid"]) == state["born"] else 0

    def undefine(self, host: Host, name: str) -> None:
        if self._registered(host, name) is not None:
            _schtasks(host, ["/Delete", "/F"], name)
            self._asked = None
            if self._registered(host, name) is not None:
                raise Failure("the task \\%s\\%s can't be deleted" % (FOLDER, name), "delete it in the Task Scheduler")
            _powershell(host, REMOVE_FOLDER.format(folder=FOLDER), {})
        for path in (state_path(host, name), hold_path(host, name)):
            _remove(path)

    def _registered(self, host: Host, name: str) -> Optional[Registered]:
        if self._asked is None or self._asked[0] != name:
            code, text = host.platform.run(_command(["/Query", "/XML"], name), 30.0)
            self._asked = (name, None if code else Registered(text))
        return self._asked[1]


def state_path(host: Host, name: str) -> str:
    return host.path("service", name + ".state")


def hold_path(host: Host, name: str) -> str:
    return host.path("service", name + ".hold")


def read_state(host: Host, name: str) -> Dict[str, Any]:
    """Return what the launcher has noted of itself; nothing if that is missing or damaged."""
    try:
        with open(state_path(host, name), encoding="utf-8") as file:
            state = json.load(file)
        return {key: int(state[key]) for key in ("pid", "born", "waiting", "restarts")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _command(verb: List[str], name: str) -> List[str]:
    return [programs.system32("schtasks.exe"), *verb, "/TN", "\\%s\\%s" % (FOLDER, name)]


def _schtasks(host: Host, verb: List[str], name: str) -> None:
    code, output = host.platform.run(_command(verb, name), 30.0)
    if code:
        raise _refused(host, verb[0], " ".join(output.split()))


def _refused(host: Host, verb: str, said: str) -> Failure:
    elevated = host.platform.privileged()
    return Failure(
        "the Task Scheduler refused (schtasks %s): %s" % (verb, said[-400:]),
        "see that the service `Schedule` runs" if elevated else "log in as an administrator: only they may do that",
    )


def _register(host: Host, name: str, path: str) -> None:
    told = {
        "PROVISION_XML": path,
        "PROVISION_ACCOUNT": host.account,
        "PROVISION_PASSWORD": host.account_password,
    }
    code, output = _powershell(host, REGISTER.format(folder=FOLDER, name=name), told)
    if code:
        said = " ".join(output.split()).replace(host.account_password, "***")
        raise Failure(
            "the task can't be registered for the account %s: %s" % (host.account, said[:400]),
            "see that the account exists, that its password is right, and that it may log on as a batch job",
        )


def _powershell(host: Host, script: str, variables: Dict[str, str]) -> Tuple[int, str]:
    """Run a script; what is secret travels in variables, which only the account itself and administrators can read."""
    import base64

    encoded = base64.b64encode(script.encode("utf-16-le")).decode("ascii")
    program = programs.system32("WindowsPowerShell", "v1.0", "powershell.exe")
    return host.platform.run([program, "-NoProfile", "-NonInteractive", "-EncodedCommand", encoded], 60.0, variables)


def _not_started(host: Host, name: str) -> Failure:
    """Return the Failure for a task that was told to run and did not, with the scheduler's own result."""
    import csv

    _, output = host.platform.run([*_command(["/Query", "/V", "/NH"], name), "/FO", "CSV"], 30.0)
    row = next(csv.reader(output.strip().splitlines()[:1]), [])
    result = int(row[6]) & 0xFFFFFFFF if len(row) > 6 and row[6].lstrip("-").isdigit() else None
    told = " (its last result: 0x%08X)" % result if result is not None else ""
    return Failure(
        "the task \\%s\\%s was told to run and has not started within %d s%s" % (FOLDER, name, START_LIMIT, told),
        "see its history in the Task Scheduler; does the account %s have the right to log on as a batch job?"
        % host.account,
    )


def _is_own(host: Host) -> bool:
    """Tell whether Ray runs under the account that logged in; a name without a domain is of this machine."""
    names = [host.account.lower(), host.platform.login_account().lower()]
    if any("\\" not in name for name in names):
        names = [name.rpartition("\\")[2] for name in names]
    return names[0] == names[1]


def _escaped(text: str) -> str:
    from html import escape  # xml.sax.saxutils would load urllib, and with it ssl

    return escape(text, quote=False)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
