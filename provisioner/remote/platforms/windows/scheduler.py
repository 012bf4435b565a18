r"""Talking with the Task Scheduler about ``\provision\ray-CLUSTER``: by schtasks, and by its objects (COM) for what
that can't do: register a password that stands in no command line, and remove a folder.

What schtasks says is in the system's language, and so is only ever shown. Whether there is a task is known from the
registry, in which the service keeps an entry for each.
"""

from __future__ import annotations

from provisioner.remote.failure import Failure
from provisioner.remote.platforms.windows import calls, com, programs, registry
from provisioner.remote.platforms.windows.taskxml import Registered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Tuple

    from provisioner.remote.host import Host

    Run = Tuple[str, Optional[int]]

FOLDER = "provision"
TREE = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Schedule\TaskCache\Tree"
"""Has a key with values for every task and folder, by path."""
LIMIT = 30.0
"""Seconds for schtasks."""
CREATE_OR_UPDATE, WITH_PASSWORD = 6, 1
"""TASK_CREATE_OR_UPDATE, TASK_LOGON_PASSWORD."""
UNDECIDED = (0, 0x41300, 0x41301, 0x41302, 0x41303, 0x41306, 0x41325, 0x800710E0, 0x8004131F)
"""Results of a task that may still start: ready, running, disabled, not yet run, ended by us, queued; refused, as it is
while the service has not noticed the end of the last run; already running (Microsoft, "Task Scheduler Error and Success
Constants")."""


def path_of(name: str) -> str:
    return "\\%s\\%s" % (FOLDER, name)


def command(verb: List[str], name: str) -> List[str]:
    return [programs.system32("schtasks.exe"), *verb, "/TN", path_of(name)]


def schtasks(host: Host, verb: List[str], name: str) -> None:
    """Have schtasks do something with a task; Failure if it does not."""
    code, output = host.platform.run(command(verb, name), LIMIT)
    if code:
        said = "the Task Scheduler refused (schtasks %s): %s" % (verb[0], _short(output))
        raise Failure(said, _remedy(host))


def query(host: Host, name: str) -> Optional[Registered]:
    """Return a task as it is registered, None if there is none; Failure if that can't be known."""
    code, output = host.platform.run(command(["/Query", "/XML"], name), LIMIT)
    if not code:
        return Registered(output)
    if _is_known(name):
        said = "the Task Scheduler does not tell what the task %s is: %s" % (path_of(name), _short(output))
        raise Failure(said, _remedy(host))
    return None


def _is_known(name: str) -> bool:
    try:
        return bool(registry.values(TREE + path_of(name)))
    except PermissionError:
        return True


def _short(output: str) -> str:
    return " ".join(output.split())[-400:]


def _remedy(host: Host) -> str:
    if host.platform.privileged():
        return "see that the service `Schedule` runs"
    return "log in as an administrator: only they may do that"


def last_run(host: Host, name: str) -> Run:
    """Return when a task was last begun, in words, and with what result (None: not known)."""
    import csv

    _, output = host.platform.run([*command(["/Query", "/V", "/NH"], name), "/FO", "CSV"], LIMIT)
    row = next(csv.reader(output.strip().splitlines()[:1]), [])
    if len(row) < 7 or not row[6].lstrip("-").isdigit():
        return "", None
    return row[5], int(row[6]) & 0xFFFFFFFF


def has_failed(before: Run, now: Run) -> bool:
    """Tell whether a task that was told to run after ``before`` has been begun in vain."""
    return now != before and now[1] is not None and now[1] not in UNDECIDED


def words(result: Optional[int]) -> str:
    """Return the result of a task for a sentence, empty if it is not known."""
    if result is None:
        return ""
    meaning = calls.meaning(result)
    return " (its last result: 0x%08X%s)" % (result, ", " + meaning if meaning else "")


def register(host: Host, name: str, text: str) -> None:
    """Register a task that runs with the account's password.

    Raises:
        Failure: the service refuses, in its own words.
    """
    try:
        service = com.create("Schedule.Service")
        service.call("Connect")
        who = (host.account, host.account_password, WITH_PASSWORD)
        _our_folder(service).call("RegisterTask", name, text, CREATE_OR_UPDATE, *who)
    except com.ComError as error:
        raise Failure(
            "the task can't be registered for the account %s: %s"
            % (host.account, error.message.replace(host.account_password, "***")),
            "see that the account exists, that its password is right, and that it may log on as a batch job",
        ) from None


def _our_folder(service: com.Object) -> com.Object:
    try:
        return service.object("GetFolder", "\\" + FOLDER)
    except com.ComError:
        return service.object("GetFolder", "\\").object("CreateFolder", FOLDER)


def remove_folder() -> None:
    """Remove our folder of the Task Scheduler, unless another cluster's task is in it."""
    try:
        service = com.create("Schedule.Service")
        service.call("Connect")
        service.object("GetFolder", "\\").call("DeleteFolder", FOLDER, 0)
    except com.ComError:
        return
