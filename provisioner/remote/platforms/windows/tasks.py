r"""Ray as a task of the Task Scheduler: ``\provision\ray-CLUSTER``. What is in it, and why, says taskxml."""

from __future__ import annotations

import json
import os
import time

from provisioner.remote.failure import Failure
from provisioner.remote.platforms.base import NEEDS_ELEVATION, ServiceManager
from provisioner.remote.platforms.windows import access, calls, passwords, scheduler
from provisioner.remote.platforms.windows.taskxml import Registered, escaped, task_xml
from provisioner.remote.service import launch_arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Tuple

    from provisioner.remote.host import Host

START_LIMIT = 75.0
"""Seconds for a launcher to note its pid: a machine that has just started, or is busy, takes its time to log on."""
AGAIN = 1.5
"""Seconds after which a task is told to run once more: the service may not yet have noticed the end of the last run."""
LOOK = 3.0
"""Seconds between two looks at what has become of a task that does not start."""
STOP_LIMIT = 8.0
"""Seconds for a launcher to end Ray and itself."""


class Tasks(ServiceManager):
    kind = "task"
    launcher = "launch_windows"

    def __init__(self) -> None:
        self._asked: Optional[Tuple[str, Optional[Registered]]] = None
        """What the Task Scheduler has said of which task: it is asked once, and after every change of ours."""
        self._stale: Optional[Tuple[str, Optional[str]]] = None
        """What is known of the password of which task."""

    def observe(self, host: Host, name: str) -> Dict[str, Any]:
        task, state = self._registered(host, name), read_state(host, name)
        alive = bool(self._launcher(host, state))
        return {
            "defined": self._as_defined(host, name, task),
            "enabled": task is not None and task.enabled,
            "stale": self._is_stale(host, name, task),
            "active": alive and not state["waiting"],
            "failing": alive and bool(state["waiting"]),
            "pid": state["pid"] if alive else 0,
            "restarts": state.get("restarts", 0),
        }

    def _as_defined(self, host: Host, name: str, task: Optional[Registered]) -> Optional[str]:
        """Return our own definition if that is what is registered, else what is.

        What an administrator has registered is more than what another session could: it is as good.
        """
        if task is None:
            return None
        wanted = self.definition(host, name)
        if _is(task, wanted) or _is(task, self._definition(host, name, elevated=True)):
            return wanted
        return task.text

    def _is_stale(self, host: Host, name: str, task: Optional[Registered]) -> Optional[str]:
        """Return what is wrong with the password that Windows was told, None if nothing is or there is no password."""
        if task is None or not host.account_password or access.is_system(host.account):
            return None
        if self._stale is None or self._stale[0] != name:
            self._stale = (name, passwords.difference(host, name))
        return self._stale[1]

    def definition(self, host: Host, name: str) -> str:
        """Return the task's XML, with the account's name in place of its SID."""
        return self._definition(host, name, host.platform.privileged())

    def _definition(self, host: Host, name: str, elevated: bool, python: str = "") -> str:
        launcher = launch_arguments(host, name, "supervise", python)
        argv = [*launcher, state_path(host, name), hold_path(host, name)]
        return task_xml(host.cluster, host.account, bool(host.account_password), elevated, argv)

    def parts(self, host: Host, text: str) -> Dict[str, str]:
        task = Registered(text)
        return {
            "account": _named(host, task.account),
            "command": "%s %s" % (task.command, task.arguments),
            "password": "kept by Windows" if task.logon == "Password" else "none",
            "starts with the machine": "yes" if task.at_startup else "no",
        }

    def require(self, host: Host) -> None:
        if host.account_password or access.is_system(host.account):
            return
        if not access.same_account(host.account, host.platform.login_account()):
            raise Failure(
                "Windows runs nothing under the account %s without its password" % host.account,
                "write `service: {account: ..., password: {from_env: NAME}}`, or leave the account out",
            )

    def define(self, host: Host, name: str) -> None:
        self._register(host, name, self.definition(host, name))

    def prepare(self, host: Host, name: str, python: str) -> None:
        """A run of the old definition goes on; the new one begins when Ray is started."""
        self._register(host, name, self._definition(host, name, host.platform.privileged(), python))

    def foresee(self, host: Host, name: str, python: str) -> None:
        task, text = self._registered(host, name), self._definition(host, name, True, python)
        if host.platform.privileged() or (task is not None and _is(task, text)):
            return
        what = "have Ray run as %s" % host.account
        if access.same_account(host.account, host.platform.login_account()):
            what = "have Ray run while nobody is logged on, unless the machine's policy lets %s log on as a batch job"
            what = what % host.account
        missing = host.shared.setdefault(NEEDS_ELEVATION, [])
        if what not in missing:
            missing.append(what)

    def _register(self, host: Host, name: str, text: str) -> None:
        host.platform.make_folder(host.path("run"), host.account)
        task = self._registered(host, name)
        if task is not None and task.enabled and _is(task, text) and not self._is_stale(host, name, task):
            return
        self._asked = self._stale = None
        own = access.same_account(host.account, host.platform.login_account())
        if own:  # names may be those of several accounts, and of any alphabet
            text = text.replace("<UserId>%s<" % escaped(host.account), "<UserId>%s<" % access.own_sid())
        else:
            self.require(host)
        if "<LogonType>Password<" in text:
            scheduler.register(host, name, text)
            passwords.note(host, name)
            return
        path = host.path("service", name + ".xml")
        host.write(path, b"\xff\xfe" + text.encode("utf-16-le"))
        try:
            scheduler.schtasks(host, ["/Create", "/F", "/XML", path], name)
        finally:
            os.unlink(path)

    def restart(self, host: Host, name: str) -> None:
        self.stop(host, name)
        former, before = read_state(host, name), scheduler.last_run(host, name)
        _remove(hold_path(host, name))
        begun = time.monotonic()
        again, look, failed = begun, begun + LOOK, False
        while not self._began(host, name, former):
            now = time.monotonic()
            if now >= again:
                scheduler.schtasks(host, ["/Run"], name)
                again = now + AGAIN
            if now >= look:
                look = now + LOOK
                host.doing("waiting for the Task Scheduler to start Ray")
                last, failed_before = scheduler.last_run(host, name), failed
                failed = scheduler.has_failed(before, last)
                if (failed and failed_before) or now > begun + START_LIMIT:
                    raise _not_started(host, name, now - begun, last[1])
            time.sleep(0.1)

    def _began(self, host: Host, name: str, former: Dict[str, Any]) -> bool:
        state = read_state(host, name)
        fresh = (state.get("pid"), state.get("born")) != (former.get("pid"), former.get("born"))
        return bool(state) and fresh

    def start_soon(self, host: Host, name: str) -> None:
        _remove(hold_path(host, name))  # and if that is all that can be done, the repetition starts it
        host.platform.run(scheduler.command(["/Run"], name), 15.0)

    def stop(self, host: Host, name: str) -> None:
        """Have the launcher end Ray and itself; if it does not, have it ended."""
        if not os.path.isdir(host.path("service")):
            return
        open(hold_path(host, name), "w").close()
        deadline = time.monotonic() + STOP_LIMIT
        pid = self._launcher(host, read_state(host, name))
        while self._launcher(host, read_state(host, name)):
            if time.monotonic() > deadline:
                host.platform.run(scheduler.command(["/End"], name), 15.0)
                host.platform.kill([pid])
                break
            time.sleep(0.1)

    def _launcher(self, host: Host, state: Dict[str, Any]) -> int:
        """Return the pid in a launcher's state if that is our launcher, else 0: pids are used again, and the account
        that Ray runs as could write there the pid of a process that is not ours to end."""
        if not state or calls.born(state["pid"]) != state["born"]:
            return 0
        inside = calls.program_of(state["pid"]).lower().startswith(host.path("").lower())
        return state["pid"] if inside or state["pid"] in host.own_processes() else 0

    def undefine(self, host: Host, name: str) -> None:
        if self._registered(host, name) is not None:
            scheduler.schtasks(host, ["/Delete", "/F"], name)
            self._asked = None
            if self._registered(host, name) is not None:
                raise Failure(
                    "the task %s can't be deleted" % scheduler.path_of(name), "delete it in the Task Scheduler"
                )
        scheduler.remove_folder()  # also where a run was ended between the two
        for path in (state_path(host, name), hold_path(host, name), passwords.path_of(host, name)):
            _remove(path)

    def _registered(self, host: Host, name: str) -> Optional[Registered]:
        if self._asked is None or self._asked[0] != name:
            self._asked = (name, scheduler.query(host, name))
        return self._asked[1]


def state_path(host: Host, name: str) -> str:
    return host.path("run", name + ".state")


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


def _named(host: Host, account: str) -> str:
    """Return an account as it is declared, if it is that one, else by its name."""
    try:
        if access.same_account(account, host.account):
            return host.account
    except Failure:
        return account
    return "SYSTEM" if access.is_system(account) else access.name_of(account) if account[:4] == "S-1-" else account


def _is(task: Registered, text: str) -> bool:
    """Tell whether that definition is what is registered, as far as can be told."""
    ours = Registered(text)
    return (task.fingerprint, task.command, task.arguments) == (ours.fingerprint, ours.command, ours.arguments)


def _not_started(host: Host, name: str, seconds: float, result: Optional[int]) -> Failure:
    """Return the Failure for a task that was told to run and did not, with the scheduler's own result."""
    return Failure(
        "the task %s was told to run and has not started within %d s%s"
        % (scheduler.path_of(name), seconds, scheduler.words(result)),
        "see its history in the Task Scheduler; does the account %s have the right to log on as a batch job?"
        % host.account,
    )


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
