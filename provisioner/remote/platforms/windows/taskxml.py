"""The definition of a task for the Task Scheduler, and what of it can be recognized when the service tells it.

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

import os
import re

from provisioner.remote.failure import Failure
from provisioner.remote.platforms.windows import access

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List

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


class Registered:
    """What the Task Scheduler says of our task.

    Args:
        text: its XML, as schtasks prints it: declared as UTF-16, and in whatever code page its output has.
    """

    def __init__(self, text: str) -> None:
        plain = self.text = text.replace("\0", "")
        self.fingerprint = _found(r"<Description>[^<]*\[([0-9a-f]{16})\]\s*</Description>", plain)
        self.command = _found(r"<Command>\s*\"?([^<]*?)\"?\s*</Command>", plain)
        self.arguments = _found(r"<Arguments>([^<]*)</Arguments>", plain)
        self.account = _found(r"<UserId>\s*([^<]*?)\s*</UserId>", plain)
        self.logon = _found(r"<LogonType>\s*([^<]*?)\s*</LogonType>", plain)
        self.at_startup = "<BootTrigger" in plain
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
        "command": escaped(argv[0]),
        "arguments": escaped(subprocess.list2cmdline(argv[1:])),
        "folder": escaped(os.path.dirname(argv[0])),
    }
    blank = TASK.format(description="", **fields)
    mark = hashlib.sha256(blank.encode("utf-8")).hexdigest()[:16]
    return TASK.format(
        description="Ray node of the cluster %s (made by provision) [%s]" % (escaped(cluster), mark), **fields
    )


def _principal(account: str, password: bool) -> str:
    """Return who a task runs as. The schema has no logon type for SYSTEM (``ServiceAccount`` is PowerShell's word)."""
    if access.is_system(account):
        return "      <UserId>%s</UserId>\n      <RunLevel>HighestAvailable</RunLevel>\n" % access.SYSTEM
    logon = "Password" if password else "S4U"
    return "      <UserId>%s</UserId>\n      <LogonType>%s</LogonType>\n      <RunLevel>LeastPrivilege</RunLevel>\n" % (
        escaped(account),
        logon,
    )


def escaped(text: str) -> str:
    """Return a text as XML has it.

    Raises:
        Failure: it holds what XML can't say, not even as a number.
    """
    import re
    from html import escape  # xml.sax.saxutils would load urllib, and with it ssl

    if re.search("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", text):
        raise Failure("%r holds a control character, which the Task Scheduler can't take" % text, "choose another name")
    return escape(text, quote=False)
