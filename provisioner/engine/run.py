"""A run over all hosts: starts the conversations, carries what they share, and judges the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from provisioner import portable
from provisioner.declaration import Declaration, Declarer
from provisioner.engine.addresses import locate
from provisioner.engine.authority import Authority
from provisioner.engine.between import Between
from provisioner.engine.census import Census
from provisioner.engine.consent import Consent
from provisioner.engine.conversation import Conversation
from provisioner.engine.dropped import dropped_host
from provisioner.engine.gates import Gates
from provisioner.engine.mirror import Mirror
from provisioner.engine.options import RunOptions
from provisioner.engine.outcome import exit_code
from provisioner.engine.pythons import Pythons
from provisioner.engine.reached import reached
from provisioner.engine.shared import Packages
from provisioner.engine.stop import INTERRUPTED, Stop
from provisioner.engine.storage import Storage
from provisioner.engine.supplies import Supplies
from provisioner.engine.switchboard import Switchboard
from provisioner.engine.turn import Turn
from provisioner.errors import HostFailed
from provisioner.events import Difference, Doing, Event, Notice, Verb
from provisioner.inventory.model import Host, Inventory
from provisioner.playbook.model import Playbook
from provisioner.ray import start
from provisioner.transport.choice import Choice
from provisioner.transport.connect import Connector
from provisioner.transport.session import Session
from provisioner.transport.starter import Become
from provisioner.transport.target import Target

UNDROPPED_LIMIT = 580.0
"""Seconds for a host that was dropped from the inventory to be taken down; the head, which asks, waits for 600."""
OPEN_FILES = 256
"""Files and connections of our own, beside two for each host."""


class Run:
    """One apply, check, rollback or teardown.

    Args:
        inventory: the cluster.
        playbook: the declaration.
        options: what the user set.
        artifacts: locks and files for the hosts.
        begun: ``time.monotonic()`` when the program was started.

    Raises:
        InputError: the playbook does not fit the inventory; no host was contacted.
    """

    def __init__(
        self,
        inventory: Inventory,
        playbook: Playbook,
        options: RunOptions,
        artifacts: Packages,
        begun: float,
    ) -> None:
        self.options = options
        self.number = int(time.time())
        self.artifacts = artifacts
        self.connector = Connector(options.connect_timeout, options.accept_new_host_keys)
        self._inventory = locate(inventory, lambda host: self.connector.real_name(host.address, host.ssh.config))
        self._declarer = Declarer(self._inventory, playbook)
        self._order = [play.name for play in playbook.plays]
        self.census = Census(self._inventory)
        self._begun = begun
        self.names = frozenset(host.name for host in inventory.hosts)
        self.slots = threading.Semaphore(max(1, options.concurrency))
        self.switchboard = Switchboard()
        self.changed = threading.Event()
        self.stopping = threading.Event()
        self.why_stopping = ""
        self.who = portable.operator()
        self._lock = threading.Lock()
        self._dropped: dict[str, tuple[dict[str, Any], Conversation]] = {}
        told = self._declarations()
        self.turn = self._turn([declaration.host.name for declaration, _ in told])
        self.mirror = self._mirror(told)
        self._pythons = Pythons(self._inventory, options, artifacts, self.census, self.mirror)
        self._supplies = Supplies(self._inventory, artifacts, self.mirror, self._doing, self.notice)
        self.consent = Consent({declaration.host.name for declaration, _ in told}, given=options.yes)
        gates = self._gates([declaration for declaration, _ in told], options.verb)
        self._conversations = [
            Conversation(self, declaration, options.verb, gates, observer) for declaration, observer in told
        ]
        self._head = next((talk for talk in self._conversations if talk.host.role == "head"), None)
        for talk in self._conversations:
            self._introduce(talk)

    def execute(
        self,
        emit: Callable[[Event], None],
        confirm: Callable[[tuple[Difference, ...]], bool],
        hide: Callable[[list[str]], None] = lambda secrets: None,
        interruptions: Callable[[], int] = lambda: 0,
    ) -> int:
        """Hold all conversations and return the exit code.

        Args:
            emit: takes every event; called from many threads.
            confirm: asked before something that runs is stopped, with all of it; returns the user's decision.
            hide: takes secrets that only hosts knew until now, before any event can speak of them.
            interruptions: returns how often the user wanted the run ended: once in good order, twice at once.
        """
        self._emit = emit
        self._storage = Storage(self._inventory)
        self._between = Between(self._inventory.hosts, self.switchboard.ask, hide, self.options.verb)
        self._authority = Authority(self._inventory, self.switchboard.ask, hide)
        portable.allow_open_files(OPEN_FILES + 2 * len(self._conversations))
        stop = Stop(self, interruptions)
        for talk in self._conversations:
            self._start(talk)
        if self.options.verb != "check" and self.consent.decision is None:
            stop.wait(self.consent.ready)
            stopping = () if self.stopping.is_set() else self.consent.question()
            granted = self._ask_user(confirm, stopping) if stopping else True
            stop.look()
            if granted and stopping and self.why_stopping and not stop.begun:
                self.tell_now(f"nothing more was done{self.why_stopping}", "run the same command again")
            self.consent.decide(granted and not stop.begun)
        stop.wait_for_all()
        self.connector.close()
        return INTERRUPTED if stop.begun else exit_code([talk.outcome for talk in self.all()])

    def _ask_user(self, confirm: Callable[[tuple[Difference, ...]], bool], stopping: tuple[Difference, ...]) -> bool:
        self.turn.tell(asks=True)
        try:
            return confirm(stopping)
        finally:
            self.turn.tell(asks=False)

    def emit(self, event: Event) -> None:
        self._emit(event)

    def now(self) -> float:
        """Return seconds since the run began."""
        return time.monotonic() - self._begun

    def target(self, host: Host) -> tuple[Target, Become | None]:
        """Return how a host is reached."""
        return reached(host)

    def choice(self, host: Host, doing: Callable[[str], None]) -> Choice:
        return self._pythons.choice(host, doing)

    def head_is_well(self) -> bool:
        """Tell whether the head took part and nothing went wrong there."""
        return any(talk.host.role == "head" and talk.outcome.trouble is None for talk in self._conversations)

    def may_be_repeated(self) -> bool:
        """Tell whether the same command may do more another time: not if a host has nothing that it could do."""
        return not any(talk.cannot for talk in self._conversations)

    def opened(self, name: str, session: Session, send: Callable[[dict[str, Any]], None]) -> None:
        """Note the connection to a host, through which tunnels go, and how it is asked others' questions."""
        self._storage.opened(name, session)
        self.switchboard.connect(name, send)

    def wake_all(self) -> None:
        for talk in self.all():
            talk.wake()

    def begin_to_stop(self) -> None:
        """Have nothing more begun on any host."""
        self.stopping.set()
        self.wake_all()

    def stopped_rays(self) -> tuple[list[str], list[str]]:
        """Return the hosts whose Ray is stopped after a run that was ended before its time, and those of which that is
        not known."""
        rays = {talk.name: talk.ray for talk in self.all()}
        return [name for name in rays if rays[name] == "stopped"], [name for name in rays if rays[name] == "unknown"]

    def is_stopped(self, host: Host) -> bool:
        """Tell whether the user wants the run ended and a host is needed by no other one any more."""
        others = (talk for talk in self.all() if talk.name != host.name)
        needed = host.role == "head" and any(talk.reached and not talk.finished.is_set() for talk in others)
        return self.stopping.is_set() and not needed

    def notice(self, host: str, message: str, remedy: str) -> None:
        """Tell the user something that is no failure."""
        self._emit(Notice(self.now(), host, message, remedy))

    def tell_now(self, message: str, remedy: str) -> None:
        """Tell the user something about the run that can't wait."""
        self._emit(Notice(self.now(), "", message, remedy, urgent=True))

    def may_begin(self) -> bool:
        """Tell whether it is certain that this run still has the turn."""
        return self.turn.is_certain(self._head.silence if self._head else 0.0)

    def others_finished(self, name: str) -> bool:
        return all(talk.finished.is_set() for talk in self.all() if talk.name != name)

    def head_is_through(self) -> bool:
        return self._head is None or self._head.through.is_set()

    def others_through(self, name: str) -> bool:
        return all(talk.through.is_set() for talk in self.all() if talk.name != name)

    def answer(self, to: str, what: str, args: Any, asker: Host, moving: Callable[[], None]) -> Any:
        """Answer a host's question, or have another host answer it.

        Args:
            moving: called now and then while it takes long and gets on.

        Raises:
            HostFailed: nobody can.
        """
        if to != "controller":
            return self._between.carry(to, what, args, asker)
        if what == "lock":
            return self._supplies.lock(args, asker, moving)
        if what == "interpreter":
            return self._supplies.interpreter(args, asker, moving)
        if what == "source":
            return self._supplies.source(args, asker)
        if what == "certificate":
            if self.options.verb != "apply":  # whoever asks now wants it for something else
                raise HostFailed(f"{asker.name} gets no certificate: nothing is applied")
            return self._authority.certificate(asker)
        if what == "redis":
            return self._storage.look(asker, self._between.carry)
        if what == "undropped":
            return self._undropped()
        if what == "limit":
            return sorted(self.options.limit)
        if what == "finished":
            return [talk.name for talk in self.all() if talk.outcome.trouble is None]
        raise HostFailed(f"the controller knows nothing of {what!r}")

    def found_dropped(self, hosts: dict[str, dict[str, Any]]) -> None:
        """Take down hosts that belong to the cluster and are no longer in the inventory.

        A host that only has another name now is still there under its address, and nothing of it is taken down.
        """
        if self.options.verb == "check" or self.options.limit:
            return
        declared = {_place(host.address, host.ssh.port, host.ssh.jump) for host in self._inventory.hosts}
        for name, how in hosts.items():
            if _place(str(how["address"]), how.get("port"), how.get("jump")) in declared:
                continue
            with self._lock:
                if name in self._dropped:
                    continue
                host = dropped_host(self._inventory, name, how)
                declaration = self._declarer.declare(host, "teardown")
                talk = Conversation(self, declaration, "teardown", self._gates([declaration], "teardown"))
                self._dropped[name] = (how, talk)
            self.consent.expect(name)
            self._introduce(talk)
            self._start(talk)

    def _declarations(self) -> list[tuple[Declaration, bool]]:
        """Return what every host of the run is told, and whether it is only asked (the head of a limited run)."""
        verb, limit = self.options.verb, set(self.options.limit)
        found = []
        for host in self._inventory.hosts:
            if not limit or host.name in limit:
                found.append((self._declarer.declare(host, verb), False))
            elif host.role == "head":
                found.append((self._declarer.declare(host, "check"), True))
        return found

    def _mirror(self, told: list[tuple[Declaration, bool]]) -> Mirror:
        """Return who hands out files: nobody, if that host takes no part or nothing is installed."""
        options = self._inventory.artifacts
        wanted = self._inventory.head.name if options.mirror == "head" else options.mirror
        working = {declaration.host.name: start.node_ip(declaration.host) for declaration, idle in told if not idle}
        name = wanted if wanted in working and self.options.verb == "apply" and len(working) > 1 else None
        return Mirror(name, working, options.port, self._ask_in_turn, self.notice)

    def _ask_in_turn(self, host: str, what: str, args: Any, limit: float, connect: float) -> Any:
        """Have a host do something for others that may still be without a program."""
        self.turn.take()
        return self.switchboard.ask(host, what, args, limit, connect)

    def _doing(self, host: str, text: str) -> None:
        self._emit(Doing(self.now(), host, text))

    def _turn(self, hosts: list[str]) -> Turn:
        head = self._inventory.head.name if self.options.verb != "check" else None
        timeout, ask = self.options.lock_timeout, self.switchboard.ask
        return Turn(head, hosts, timeout, ask, self.tell_now, self.wake_all, self._lose_turn, self._begin_anew)

    def _begin_anew(self, hosts: set[str]) -> None:
        """Have hosts that will be looked at again waited for at every gate."""
        for talk in self._conversations:
            if talk.name in hosts:
                talk.gates.again(talk.name)

    def _lose_turn(self, reason: str) -> None:
        """Begin nothing more now that nobody keeps other runs out, unless all is done anyway."""
        head = self._inventory.head.name
        if self.stopping.is_set() or self.others_finished(head):
            return
        self.why_stopping = f": {head}, which kept other runs out, was lost"
        self.begin_to_stop()
        told = f"stopping: {head}, which keeps other runs out, is lost ({reason}): each host finishes or undoes"
        self.tell_now(f"{told} its current step, no other is begun", "run the same command again")

    def _gates(self, told: list[Declaration], verb: Verb) -> Gates:
        hosts: dict[str, set[str]] = {play: set() for play in self._order}
        needs: dict[str, tuple[str, ...]] = {}
        for declaration in told:
            for play in declaration.plays:
                hosts[play].add(declaration.host.name)
                needs[play] = declaration.needs[play]
        return Gates({play: names for play, names in hosts.items() if names}, needs, reverse=verb == "teardown")

    def _introduce(self, talk: Conversation) -> None:
        self.switchboard.expect(talk.name)
        talk.gates.listen(talk.wake)
        self.consent.listen(talk.wake)

    def _start(self, talk: Conversation) -> threading.Thread:
        thread = threading.Thread(target=talk.hold, name=f"talk {talk.name}", daemon=True)
        thread.start()
        return thread

    def all(self) -> list[Conversation]:
        """Return every conversation that was begun."""
        return [*self._conversations, *(talk for _, talk in list(self._dropped.values()))]

    def _undropped(self) -> dict[str, dict[str, Any]]:
        """Return the dropped hosts that still are what they were, once it is known for all of them."""
        kept = {}
        for name, (how, talk) in list(self._dropped.items()):
            talk.finished.wait(UNDROPPED_LIMIT)
            if talk.outcome.trouble or not talk.finished.is_set():
                kept[name] = how
        return kept


def _place(address: str, port: int | None, jump: str | None) -> tuple[str, int, str]:
    """Return what tells one machine from another."""
    return address, port or 22, jump or ""
