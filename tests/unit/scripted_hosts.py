"""A run whose hosts are played: what a real program would say is said at once, or when a test wants it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from provisioner.engine import conversation
from provisioner.engine.options import RunOptions
from provisioner.engine.run import Run
from provisioner.errors import ProvisionError
from provisioner.events import Difference, Event, HostFinished, Notice, TaskFinished, Verb
from provisioner.inventory.model import Host, Inventory, RayOptions
from provisioner.playbook.load import load_playbook

Message = dict[str, Any]
FACTS = {"os": "linux", "arch": "x86_64", "libc": "glibc", "libc_version": "2.36", "python": "3.11.9"}


def differs(play: int, task: str, stops: str = "") -> Message:
    """Something to do, as a host tells it."""
    what = {"action": "change", "what": task, "before": "1", "after": "2", "stops": stops}
    return {"play": play, "task": task, "differences": [what]}


class Played:
    """One host: its wire and its session in one.

    Args:
        rows: what differs there, look by look; the last one stays.
    """

    def __init__(self, *rows: list[Message]) -> None:
        self.rows = list(rows) or [[]]
        self.first: Message = {"type": "ready"}
        self.heard: list[Message] = []
        self.looks = threading.Event()
        self.looks.set()
        self.works = threading.Event()
        self.works.set()
        self.reachable = threading.Event()
        self.reachable.set()
        self.turn: list[Message] = [{}]
        self.answers = threading.Event()
        self.answers.set()
        self.again = False
        self.closed = threading.Event()
        self.last_heard = time.monotonic()
        self._working = threading.Lock()
        self._said: queue.Queue[Message | None] = queue.Queue()
        self._hello: Message = {}

    @property
    def wire(self) -> Played:
        return self

    def begin(self, hello: Message) -> Played:
        self.reachable.wait(20)
        self._hello, self.last_heard = hello, time.monotonic()
        self.say(type="facts", facts=FACTS)
        threading.Thread(target=self._look, daemon=True).start()
        return self

    def say(self, **message: Any) -> None:
        self._said.put(message)

    def receive(self) -> Message | None:
        return self._said.get()

    def forgive(self) -> None: ...

    def send(self, message: Message) -> None:
        self.heard.append(message)
        answer = getattr(self, "_on_" + message["type"], None)
        if answer is not None:
            threading.Thread(target=answer, args=(message,), daemon=True).start()

    def close(self) -> None:
        self.closed.set()
        self._said.put(None)

    def told(self, kind: str) -> list[Message]:
        return [message for message in self.heard if message["type"] == kind]

    def _look(self) -> None:
        self.looks.wait(20)
        self.say(type="observed", tasks=self.rows.pop(0) if self.rows[1:] else self.rows[0])

    def _on_observe(self, message: Message) -> None:
        self._look()

    def _on_query(self, message: Message) -> None:
        self.answers.wait(20)
        value = self.turn.pop(0) if self.turn[1:] else self.turn[0]
        self.say(type="reply", id=message["id"], value=value)

    def _on_play(self, message: Message) -> None:
        play = message["index"]
        if self.again:
            self.again = False
            self._look()
            self.say(type="played", index=play, ok=True, again=True)
            return
        with self._working:
            for task in (task["name"] for task in self._hello["plays"][play]["tasks"]):
                self.say(type="task", play=play, task=task, state="started")
                self.works.wait(20)
                self.say(type="task", play=play, task=task, state="changed", seconds=0.0, message="")
            self.say(type="played", index=play, ok=True)

    def _on_stop(self, message: Message) -> None:
        with self._working:  # the step that is being done is finished
            self.say(type="stopped", cut="", ray="")

    def _on_end(self, message: Message) -> None:
        self.say(type="bye")
        self._said.put(None)


class Scene:
    """A run with such hosts; the first is the head."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, playbook: str, **hosts: Played) -> None:
        self.hosts, self.events = hosts, list[Event]()
        self.keeper = ""
        self.take: Callable[[Event], None] = self.events.append
        file = folder / "playbook.yml"
        file.write_text(dedent(playbook))
        self._playbook, self._folder = load_playbook(file), folder
        patch.setattr(conversation, "open_session", self._open)

    def _open(self, connector: Any, target: Any, become: Any, hello: Message, *more: Any) -> Played:
        return self.hosts[target.name].begin(hello)

    def start(
        self, verb: Verb = "apply", confirm: Callable[[tuple[Difference, ...]], bool] | None = None, **options: Any
    ) -> threading.Thread:
        """Start the run; ``code`` is there once the thread has ended."""
        made = tuple(
            Host(name, "worker" if number else "head", f"127.0.0.{number + 1}", "3.11.9", (), RayOptions(),
                 keeps_redis=name == self.keeper)
            for number, name in enumerate(self.hosts)
        )  # fmt: skip
        inventory = Inventory("lab", "2.60.0", made, self._folder / "inventory.yml")
        settings = RunOptions(verb, **{"yes": confirm is None, **options})
        run = Run(inventory, self._playbook, settings, NoPackages(), time.monotonic())

        def hold() -> None:
            self.code = run.execute(self.take, confirm or (lambda stopping: False))

        thread = threading.Thread(target=hold, daemon=True)
        thread.start()
        return thread

    def run(self, verb: Verb = "apply", **options: Any) -> int:
        ended(self.start(verb, **options))
        return self.code

    def finished(self) -> dict[str, HostFinished]:
        return {event.host: event for event in self.events if isinstance(event, HostFinished)}

    def statuses(self) -> dict[str, str]:
        return {name: event.status for name, event in self.finished().items()}

    def notices(self) -> str:
        return "\n".join(event.message for event in self.events if isinstance(event, Notice))

    def done(self) -> list[tuple[str, str]]:
        return sorted((event.host, event.task) for event in self.events if isinstance(event, TaskFinished))


def ended(run: threading.Thread, limit: float = 20.0) -> None:
    run.join(limit)
    assert not run.is_alive(), "the run does not end"


class NoPackages:
    """Nothing to install."""

    fixed = False

    def lock(self, *about: Any, **more: Any) -> Any:
        raise ProvisionError("there are no packages")

    interpreter = open = path = lock
