"""One conversation: hear the declaration, observe everything, say what differs, then play by play do as told."""

from __future__ import annotations

import os
import re
import sys
import threading
import time

from provisioner.remote import resource
from provisioner.remote.failure import Failure, from_exception
from provisioner.remote.host import Host
from provisioner.remote.platforms import current
from provisioner.remote.wire import Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List

    Message = Dict[str, Any]

PROTOCOL = 1
AGAIN = "run the same version of provision again"
LEAVE = 300.0
"""Seconds to end what runs for us when the controller is gone; a node that was stopped is started meanwhile."""
LOCK_WAIT = 30.0
"""Seconds to wait for another run that works on this host."""
ANSWER_WAIT = 30.0
"""Seconds for the controller to say which cluster this is about, before another host can be answered."""


class Task:
    """A task of the declaration on this host, with what was observed for it."""

    def __init__(self, declared: Message) -> None:
        self.name: str = declared["name"]
        self.when: Message = declared.get("when") or {}
        self.resource = resource.create(declared["resource"], declared["params"])
        self.differences: List[Dict[str, str]] = []
        self.orphan = bool(declared.get("orphan"))

    def applies(self, facts: Message) -> bool:
        """Tell whether the conditions on the machine hold (``changed`` is judged when the task's turn comes)."""
        return all(
            facts.get(name) in (wanted if isinstance(wanted, list) else [wanted])
            for name, wanted in self.when.items()
            if name != "changed"
        )


class Conversation:
    """Answers one controller, once."""

    def __init__(self) -> None:
        self.wire = Wire(self.answer, lost)
        self.plays: List[List[Task]] = []
        self.mode = "check"
        self._lock_file: object = None
        self._locking = threading.Lock()
        self._greeted = threading.Event()
        self._observed = threading.Event()

    def run(self) -> None:
        self.wire.start()
        self.wire.send({"type": "ready"})
        hello = self.wire.receive()
        if hello.get("type") != "hello" or hello.get("protocol") != PROTOCOL:
            raise Failure("the controller speaks another protocol", AGAIN)
        _check_hello(hello)
        self.mode = hello["mode"]
        self.host = Host(current(), self.wire, hello)
        self._greeted.set()
        self.facts = dict(self.host.platform.facts(), root=self.host.root, manager=self.host.service_manager.kind)
        self.wire.send({"type": "facts", "facts": self.facts})
        self.plays = [[Task(task) for task in play["tasks"]] for play in hello["plays"]]
        self.observe()
        self._observed.set()
        self.obey()

    def observe(self) -> None:
        """Look at every task at once; one that can't be observed ends the conversation."""
        self._adopt_orphans()
        rows = []
        for number, play in enumerate(self.plays):
            for task in play:
                if not task.applies(self.facts):
                    continue
                if self.mode == "rollback" and not task.resource.goes_back:
                    continue
                task.differences = self._guarded(task, self._look(task))
                if "changed" in task.when and self.mode != "teardown":
                    task.differences = []  # what only follows another change is no difference by itself
                rows.append({"play": number, "task": task.name, "differences": task.differences})
        shared = self.host.shared
        told = {"type": "observed", "tasks": rows, "dropped": shared.get("dropped"), "cannot": shared.get("cannot")}
        self.wire.send(dict(told, findings=self._findings(), purged=self._purged()))

    def _purged(self) -> List[Dict[str, str]]:
        """Return what goes at the very end, when every task is undone."""
        if self.mode != "teardown" or not self.host.purge:
            return []
        from provisioner.remote.resources.old_environments import all_that_is_kept

        return all_that_is_kept(self.host)

    def _findings(self) -> List[Dict[str, str]]:
        """Return what the user should know of this machine; that it can't be found out is no reason to do nothing."""
        try:
            return [*self.host.platform.findings(self.host), *self.host.shared.get("findings", [])]
        except Exception as error:
            told = "what may be amiss on this machine could not be looked at: %s" % from_exception(error).message
            return [{"severity": "notice", "message": told, "remedy": ""}]

    def _look(self, task: Task) -> Callable[[Host], List[Dict[str, str]]]:
        if self.mode == "teardown" or task.orphan:
            return task.resource.traces
        return task.resource.former if self.mode == "rollback" else task.resource.observe

    def _act(self, task: Task) -> Callable[[Host], str]:
        if self.mode == "teardown" or task.orphan:
            return task.resource.remove
        return task.resource.revert if self.mode == "rollback" else task.resource.ensure

    def _adopt_orphans(self) -> None:
        """Have what we made, and what no task declares any more, removed: in the play that comes last."""
        if self.mode == "rollback":
            return
        declared = {task.resource.key for play in self.plays for task in play}
        for key, entry in sorted(self.host.marker.entries.items()):
            if "kind" in entry and key not in declared and self.plays:
                task = {
                    "name": "Remove what is no longer declared",
                    "resource": entry["kind"],
                    "params": entry["params"],
                }
                self.plays[-1].append(Task(dict(task, orphan=True)))

    def obey(self) -> None:
        """Work play by play when the controller says so, until it says it was the last."""
        while True:
            message = self.wire.receive()
            if message["type"] == "end":
                self._finish(message)
                return
            if message["type"] != "play":
                raise Failure("the controller wants %r, which this program does not know" % str(message["type"])[:40])
            index = message.get("index")
            if type(index) is not int or not 0 <= index < len(self.plays):
                raise Failure("the controller wants play %s, of which it said nothing" % str(index)[:40], AGAIN)
            self._lock()
            self.play(index, bool(message.get("changed")))

    def play(self, index: int, changed: bool) -> None:
        tasks = self.plays[index]
        good = True
        for task in reversed(tasks) if self.mode == "teardown" else tasks:
            if not task.applies(self.facts) or not self._due(task, changed):
                continue
            if good:
                good = self._work(index, task)
                changed = True
            else:
                self.wire.send({"type": "task", "play": index, "task": task.name, "state": "skipped", "seconds": 0.0})
        self.wire.send({"type": "played", "index": index, "ok": good})

    def _due(self, task: Task, changed: bool) -> bool:
        if self.mode == "rollback" and not task.resource.goes_back:
            return False
        if "changed" in task.when and self.mode != "teardown":
            return bool(changed == task.when["changed"])
        return bool(task.differences)

    def _work(self, index: int, task: Task) -> bool:
        message = {"type": "task", "play": index, "task": task.name}
        self.wire.send(dict(message, state="started"))
        begun = time.monotonic()
        try:
            done = self._guarded(task, self._act(task))
        except Failure as failure:
            good, report = False, {"state": "failed", "message": failure.message, "remedy": failure.remedy}
        else:
            good, report = True, {"state": "changed", "message": done}
        self.wire.send(dict(message, seconds=round(time.monotonic() - begun, 3), **report))
        return good

    def _guarded(self, task: Task, act: Callable[[Host], Any]) -> Any:
        """Do it; whatever goes wrong is a Failure with a sentence, never a traceback."""
        try:
            return act(self.host)
        except Exception as error:
            failure = from_exception(error)
            failure.task = task.name
            raise failure from None

    def _lock(self) -> None:
        """Let no two runs work on this host's cluster at once, and see what the one before has made."""
        with self._locking:
            if self._lock_file is None:
                self.host.folder()
                self._lock_file = self.host.platform.lock(self.host.path("lock"), LOCK_WAIT)
                self.host.marker.load()

    def _finish(self, message: Message) -> None:
        left: List[str] = []
        if "handout" in self.host.shared:
            self.host.shared["handout"].close()
        if message.get("clean") and self.mode == "teardown":
            if os.path.isdir(self.host.root):
                self._lock()
                self.host.marker.forget()
            purge = bool(message.get("purge"))
            if purge and self.host.own_processes():
                raise Failure(
                    "Ray still runs out of %s, which therefore stays" % self.host.root,
                    "tear down with the playbook it was applied with",
                )
            if purge:
                self.host.doing("removing environments and files that were sent")
            left = self.host.platform.clean(self.host.root, purge)
        self.wire.send(dict({"type": "bye"}, **({"left": left} if left else {})))

    def refuse(self, failure: Failure) -> None:
        """Say why the conversation ends here."""
        self.wire.send({"type": "error", "message": failure.message, "remedy": failure.remedy, "task": failure.task})

    def answer(self, what: str, args: Any) -> Any:
        """Answer another host's question about this one."""
        if what == "nodes":
            self._wait_for_hello()
            return self._members(args)
        if what == "destination":
            from provisioner.remote.resources import ray_history

            self._wait_for_hello()
            return ray_history.told(self.host, self.mode == "rollback")
        if what == "secret":
            from provisioner.remote import secrets

            self._wait_for_hello()
            return secrets.lend(self.host, args)
        if what in ("authority", "keep authority"):
            from provisioner.remote import tls

            self._wait_for_hello()
            return tls.authority_id(self.host) if what == "authority" else self._keep_authority(args)
        if what == "hold":
            from provisioner.remote import handout

            self._wait_for_hello()
            self._observed.wait(ANSWER_WAIT)  # nothing is made before everything was looked at
            self._lock()
            return handout.hold(self.host, args)
        raise Failure("this host knows nothing of %r" % what)

    def _keep_authority(self, value: Any) -> None:
        """Keep the authority that the controller has made, unless this host is only looked at."""
        from provisioner.remote import secrets, tls

        if self.mode != "apply":
            raise Failure(
                "the cluster has no certificate authority, and %s takes no part in this run" % self.host.name,
                "apply without --limit: it is kept there",
            )
        self._lock()
        secrets.keep(self.host, tls.AUTHORITY, str(value))

    def _members(self, args: Any) -> Dict[str, Any]:
        """Return who is in the cluster, and the fingerprint of the token by which its nodes know each other."""
        from provisioner.remote import service
        from provisioner.remote.resources import ray_token
        from provisioner.remote.resources.ray_state import fetch_nodes

        spec = service.read_spec(self.host, service.service_name(self.host))
        nodes = fetch_nodes(args["dashboard"], args["max_age"], tokens=ray_token.shown_to_ray(self.host))
        return {"nodes": nodes, "token": ray_token.told(self.host, spec)}

    def _wait_for_hello(self) -> None:
        if not self._greeted.wait(ANSWER_WAIT):
            raise Failure(
                "this host was not told within %d s which cluster this is about" % ANSWER_WAIT,
                "run the command again; if that repeats, look at the connection to this host",
            )


def _check_hello(hello: Message) -> None:
    """Refuse a first message that says less, or something else, than all the rest relies on."""

    def is_task(task: Any) -> bool:
        return (
            isinstance(task, dict)
            and all(isinstance(task.get(name), str) for name in ("name", "resource"))
            and isinstance(task.get("params"), dict)
            and isinstance(task.get("when") or {}, dict)
        )

    plays = hello.get("plays")
    right = {
        "mode": hello.get("mode") in ("apply", "check", "rollback", "teardown"),
        "plays": isinstance(plays, list)
        and all(isinstance(play, dict) and isinstance(play.get("tasks"), list) for play in plays)
        and all(is_task(task) for play in plays for task in play["tasks"]),
    }
    right.update({name: isinstance(hello.get(name), str) for name in ("cluster", "host")})
    right.update({name: isinstance(hello.get(name) or "", str) for name in ("root", "account", "service", "python")})
    wrong = sorted(name for name in right if not right[name])
    if wrong:
        raise Failure("what the controller says first is not as it should be: %s" % ", ".join(wrong), AGAIN)
    if not re.match(r"[A-Za-z0-9][A-Za-z0-9_.-]*$", hello["cluster"]):
        raise Failure("no cluster has the name %r" % hello["cluster"][:40], AGAIN)


def lost() -> None:
    """The controller is gone: end what runs for us and leave. Everything is safe to interrupt.

    Whatever happens meanwhile, such as an import that another thread is in the middle of: it ends.
    """
    late = threading.Timer(LEAVE, os._exit, (1,))
    late.daemon = True
    late.start()
    try:
        from provisioner.remote.platforms import end_children
        from provisioner.remote.service import finish

        finish()
        end_children()
    finally:
        os._exit(1)


def heed_signals() -> None:
    """Take the signal that an SSH server may send when it hangs up for what it is, or it would end us and leave our
    children behind.

    In a thread, because it comes in the middle of anything, such as the start of a program that is not known yet.
    """
    import signal

    for name in ("SIGHUP", "SIGTERM"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: threading.Thread(target=lost).start())


def main() -> None:
    """Hold the conversation; the exit code says nothing, the last message does."""
    heed_signals()
    os.umask(0o022)  # under a hardened host's 077 the account that runs Ray could not read what root lays out for it
    conversation = Conversation()
    try:
        conversation.run()
    except Exception as error:
        conversation.refuse(from_exception(error))
    sys.stdout.flush()
    os._exit(0)
