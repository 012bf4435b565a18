"""One conversation: hear the declaration, observe everything, say what differs, then play by play do as told."""

from __future__ import annotations

import os
import sys
import threading
import time

from provisioner.remote import turn
from provisioner.remote.ending import Steps, break_off, heed_signals, lost, ray_state
from provisioner.remote.failure import Failure, from_exception
from provisioner.remote.hello import AGAIN, check_hello
from provisioner.remote.host import Host
from provisioner.remote.platforms import current
from provisioner.remote.platforms.base import PASSING
from provisioner.remote.task import Task
from provisioner.remote.wire import Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional

    from provisioner.remote.pieces import Pieces

    Message = Dict[str, Any]

PROTOCOL = 1
OLDEST = 60.0
"""Seconds that a list of nodes may be old for whoever asks."""
ANSWER_WAIT = 30.0
"""Seconds for the controller to say which cluster this is about, before another host can be answered."""


class Conversation:
    """Answers one controller, once."""

    def __init__(self) -> None:
        self._steps = Steps()
        self.wire = Wire(self.answer, lost, self.stop, self._steps.pause, self._steps.cut)
        self.plays: List[List[Task]] = []
        self.mode = "check"
        self._looked = time.monotonic()
        self._outdated = False
        self._turn = turn.Turn(lambda: self.wire.heard)
        self._locking = threading.Lock()
        self._greeted = threading.Event()
        self._observed = threading.Event()

    def run(self) -> None:
        self.wire.start()
        self.wire.send({"type": "ready"})
        hello = self.wire.receive()
        if hello.get("type") != "hello" or hello.get("protocol") != PROTOCOL:
            raise Failure("the controller speaks another protocol", AGAIN)
        check_hello(hello)
        self.mode = hello["mode"]
        operator = hello.get("operator")
        self._turn.operator = operator if isinstance(operator, dict) else {}
        self.host = Host(current(), self.wire, hello)
        self._greeted.set()
        self.facts = dict(self.host.platform.facts(), root=self.host.root, manager=self.host.service_manager.kind)
        self.wire.send({"type": "facts", "facts": self.facts})
        if self.mode == "ask":
            self._hear_out()
            return
        self._hello = hello
        self._tell(self.observe())
        self._observed.set()
        self.obey()

    def _hear_out(self) -> None:
        """Answer questions (see answers.py), and do nothing else, until the controller has no more of them."""
        while self.wire.receive()["type"] != "end":
            continue
        break_off()
        self.wire.send({"type": "bye"})

    def observe(self) -> List[Message]:
        """Look at every task at once, and return what differs; one that can't be observed ends the conversation."""
        self._looked = time.monotonic()
        self.plays = [[Task(task) for task in play["tasks"]] for play in self._hello["plays"]]
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
        return rows

    def _tell(self, rows: List[Message]) -> None:
        self._told, shared = rows, self.host.shared
        told = {"type": "observed", "tasks": rows, "dropped": shared.get("dropped"), "cannot": shared.get("cannot")}
        self.wire.send(dict(told, findings=self._findings(), purged=self._purged(), untidy=self._is_untidy()))

    def _observe_again(self) -> List[Message]:
        """Look as if for the first time: another run has worked here meanwhile."""
        self._outdated = False
        fresh = Host(self.host.platform, self.wire, self._hello)
        if "handout" in self.host.shared:
            fresh.shared["handout"] = self.host.shared["handout"]
        self.host = fresh
        return self.observe()

    def _is_untidy(self) -> bool:
        """Tell whether a teardown would tidy up here, even where no task has anything to undo."""
        names = (*PASSING, "store", "secrets")
        left = self.host.purge or any(os.path.exists(self.host.path(name)) for name in names)
        return self.mode == "teardown" and left

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
                self._steps.begin("", breaks_off=bool(message.get("purge")), last=True)
                self._finish(message)
                return
            if message["type"] == "observe":
                self._tell(self._observe_again())
                continue
            if message["type"] != "play":
                raise Failure("the controller wants %r, which this program does not know" % str(message["type"])[:40])
            index = message.get("index")
            if type(index) is not int or not 0 <= index < len(self.plays):
                raise Failure("the controller wants play %s, of which it said nothing" % str(index)[:40], AGAIN)
            self._lock(turn.LOCK_WAIT)
            if self._is_as_told():
                self.play(index, bool(message.get("changed")))
            else:
                self.wire.send({"type": "played", "index": index, "ok": True, "again": True})

    def _is_as_told(self) -> bool:
        """Tell whether the controller decided on what is true; if another run came in between, it is told anew."""
        if not self._outdated:
            return True
        before, now = self._told, self._observe_again()
        if now != before:
            self._tell(now)
        return now == before

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
        self._steps.begin(task.name, task.resource.breaks_off)
        self.wire.send(dict(message, state="started"))
        begun = time.monotonic()
        try:
            done = self._guarded(task, self._act(task))
        except Failure as failure:
            good, report = False, {"state": "failed", "message": failure.message, "remedy": failure.remedy}
        else:
            good, report = True, {"state": "changed", "message": done}
        seconds = round(time.monotonic() - begun, 3)
        self._steps.end(lambda: self.wire.send(dict(message, seconds=seconds, **report)))
        return good

    def _guarded(self, task: Task, act: Callable[[Host], Any]) -> Any:
        """Do it; whatever goes wrong is a Failure with a sentence, never a traceback."""
        try:
            return act(self.host)
        except Exception as error:
            failure = from_exception(error)
            failure.task = task.name
            raise failure from None

    def _lock(self, wait: float) -> Any:
        """Let no two runs work on this host's cluster at once, and see what the one before has made.

        Returns what the other run noted there last.
        """
        with self._locking:
            if self._turn.held:
                return None
            before = self._turn.take(self.host, wait)
            self.host.marker.load()
            own = time.monotonic() - self._looked
            self._outdated = self._turn.waited or turn.is_stale(before, own, own, slack=0.0)
            return before

    def _take_turn(self, args: Message) -> Message:
        """Have the whole run's turn on the cluster, or say who has it; see engine/turn.py."""
        came = time.monotonic()
        if not self._observed.wait(ANSWER_WAIT):
            return {"looking": True}
        if "asks" in args:
            self._turn.tell(bool(args["asks"]))
        if self._turn.held:
            return {"stale": self._outdated}
        try:
            before = self._lock(float(args["wait"]))
        except turn.Busy as busy:
            return {"holder": turn.told(busy.note)}
        now = time.monotonic()
        age = float(args["age"]) + now - came
        self._outdated = self._outdated or turn.is_stale(before, age, now - self._looked)
        return {"stale": self._outdated}

    def stop(self, halt: bool) -> None:
        """End in good order, as soon as what is being done now is done, or undone; ``halt``: only begin nothing more,
        for other hosts may still ask something."""
        if halt:
            self._steps.halt()
            return
        ray = ""

        def look() -> None:
            nonlocal ray
            ray = ray_state(self.host) if self._greeted.is_set() else ""

        cut = self._steps.stop(look)
        if not cut:
            look()
        if self._greeted.is_set() and "handout" in self.host.shared and not cut:
            self.host.shared["handout"].close()
        if self._greeted.is_set():
            self._turn.end(self.host)
        self.wire.send({"type": "stopped", "cut": cut, "ray": ray})
        os._exit(0)

    def _finish(self, message: Message) -> None:
        left: List[str] = []
        if "handout" in self.host.shared:
            self.host.shared["handout"].close()
        if message.get("clean") and self.mode == "teardown":
            if os.path.isdir(self.host.root):
                self._lock(turn.LOCK_WAIT)
                if self._outdated and self._observe_again() != self._told:
                    raise Failure("another run has worked here meanwhile", "run the same command again")
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
        self._turn.end(self.host)
        self.wire.send(dict({"type": "bye"}, **({"left": left} if left else {})))

    def refuse(self, failure: Failure) -> None:
        """Say why the conversation ends here."""
        self.wire.send({"type": "error", "message": failure.message, "remedy": failure.remedy, "task": failure.task})

    def answer(self, what: str, args: Any, pieces: Optional[Pieces] = None) -> Any:
        """Answer the user's question, or another host's about this one."""
        if pieces is not None and self.mode == "ask" and what != "secret":
            from provisioner.remote import answers

            self._wait_for_hello()
            return answers.answer(self.host, what, args, pieces)
        if what == "nodes":
            self._wait_for_hello()
            return self._members(args)
        if what == "destination":
            from provisioner.remote.resources import ray_history

            self._wait_for_hello()
            return ray_history.told(self.host, self.mode == "rollback")
        if what in ("secret", "compared"):
            from provisioner.remote import secrets

            self._wait_for_hello()
            return secrets.lend(self.host, args) if what == "secret" else secrets.compared(self.host, args)
        if what in ("authority", "keep authority"):
            from provisioner.remote import tls

            self._wait_for_hello()
            return tls.authority_id(self.host) if what == "authority" else self._keep_authority(args)
        if what == "hold":
            from provisioner.remote import handout

            self._wait_for_hello()
            self._observed.wait(ANSWER_WAIT)  # nothing is made before everything was looked at
            self._lock(turn.LOCK_WAIT)
            return handout.hold(self.host, args)
        if what == "turn":
            self._wait_for_hello()
            return self._take_turn(args)
        raise Failure("this host knows nothing of %r" % what)

    def _keep_authority(self, value: Any) -> None:
        """Keep the authority that the controller has made, unless this host is only looked at."""
        from provisioner.remote import tls

        if self.mode != "apply":
            raise Failure(
                "the cluster has no certificate authority, and %s takes no part in this run" % self.host.name,
                "apply without --limit: it is kept there",
            )
        self._lock(turn.LOCK_WAIT)
        tls.keep_authority(self.host, str(value))

    def _members(self, args: Any) -> Dict[str, Any]:
        """Return who is in the cluster, and the fingerprint of the token by which its nodes know each other."""
        from provisioner.remote import service
        from provisioner.remote.resources import ray_token
        from provisioner.remote.resources.ray_state import of_this_host

        spec = service.read_spec(self.host, service.service_name(self.host))
        age = min(float(args["max_age"]), OLDEST)
        where = (spec or {}).get("dashboard") or self._dashboard()
        nodes = of_this_host(self.host, where, age) if where else None
        return {"nodes": nodes, "token": ray_token.told(self.host, spec)}

    def _dashboard(self) -> Any:
        """Return where this head's dashboard is to be: whoever asks is not believed, for it is shown the token."""
        tasks = (task for play in self.plays for task in play if task.resource.kind == "ray_head")
        return next((task.resource.params.get("dashboard") for task in tasks), None)

    def _wait_for_hello(self) -> None:
        if not self._greeted.wait(ANSWER_WAIT):
            raise Failure(
                "this host was not told within %d s which cluster this is about" % ANSWER_WAIT,
                "run the command again; if that repeats, look at the connection to this host",
            )


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
