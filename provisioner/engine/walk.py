"""One host's way through the plays: each behind its gate, and only those with something to do are done."""

from __future__ import annotations

import threading

from provisioner.declaration import Declaration
from provisioner.engine.ear import Ear
from provisioner.engine.gates import Gate, Gates
from provisioner.engine.outcome import Outcome
from provisioner.engine.seen import Seen
from provisioner.engine.shared import Shared
from provisioner.errors import NotDone
from provisioner.events import Verb

HOUSEKEEPING = {"old_environments"}
"""Resources that wait for others without being part of the outcome: nobody is told that their turn did not come."""


class LookedAgain(NotDone):
    """What the host was to do was decided on what is true no more; once, that is no failure."""


class Walk:
    """The plays of one host.

    Args:
        run: what all conversations share.
        declaration: what this host is told.
        verb: what is done with this host.
        gates: what its plays wait for.
        ear: talks with the host.
        outcome: what becomes of it.
        slot: held while it works.
    """

    def __init__(
        self,
        run: Shared,
        declaration: Declaration,
        verb: Verb,
        gates: Gates,
        ear: Ear,
        outcome: Outcome,
        slot: threading.Semaphore,
    ) -> None:
        self._run = run
        self._declaration = declaration
        self._verb = verb
        self._gates = gates
        self._ear = ear
        self._outcome = outcome
        self._slot = slot
        self._name = declaration.host.name
        self.seen = Seen(self._name)
        self._counted = 0

    def passes_idle(self) -> bool:
        """Pass gates that have opened, as long as there is nothing to do behind them; tells whether that is all."""
        for index, play in enumerate(self._declaration.plays):
            if self._follows(index):
                return False
            if not self._is_housekeeping(index) and self._gates.state(play) is not Gate.OPEN:
                return False
            self._gates.through(play, self._name, good=True)
        return True

    def walk(self) -> None:
        """Go through the plays in order; once more from the beginning if another run came in between."""
        try:
            self._go_through()
        except LookedAgain:
            self._gates.again(self._name)
            self._go_through()

    def _go_through(self) -> None:
        """Go through the plays in order, each behind its gate."""
        plays = list(enumerate(self._declaration.plays))
        for index, play in reversed(plays) if self._verb == "teardown" else plays:
            housekeeping = self._is_housekeeping(index)
            if housekeeping and not self._is_due(index):
                self._gates.through(play, self._name, good=True)
                continue
            gate = self._gate(index, play)
            if self._run.stopping.is_set():
                return
            if gate is Gate.SHUT:
                for _ in range(self.seen.count(index)):
                    self._outcome.count("skipped")
                self._counted += self.seen.count(index)
                if not housekeeping:
                    self._outcome.skip(*self._gates.refuse(play))
                return
            good = not self._is_due(index) or self._work(index)
            self._gates.through(play, self._name, good)
            if not good and self._verb != "teardown":
                return

    def _gate(self, index: int, play: str) -> Gate:
        """Wait until the play's gate has opened, or is known to stay shut, or nothing more is begun."""
        stops, stopping = self.seen.stops_in(index), self._run.stopping
        if self._gates.state(play, stops) is Gate.WAITING:
            self._ear.doing(f"waiting for its turn: {play}")
            self._ear.line.wait(lambda: stopping.is_set() or self._gates.state(play, stops) is not Gate.WAITING)
        return self._gates.state(play, stops)

    def _is_due(self, index: int) -> bool:
        return self.seen.is_due(index) or (self._follows(index) and self._run.changed.is_set())

    def _follows(self, index: int) -> bool:
        """Tell whether a play does something when anything was changed before, on any host."""
        tasks = self._declaration.hello["plays"][index]["tasks"]
        return self._verb in ("apply", "rollback") and any(task["when"].get("changed") for task in tasks)

    def _is_housekeeping(self, index: int) -> bool:
        """Tell whether a play does nothing that anybody would miss."""
        tasks = self._declaration.hello["plays"][index]["tasks"]
        return all(task["resource"] in HOUSEKEEPING for task in tasks)

    def _work(self, index: int) -> bool:
        self._ear.line.wait(lambda: self._run.may_begin() and self._slot.acquire(blocking=False))
        try:
            self._ear.work(self._declaration.plays[index])
            self._ear.line.send({"type": "play", "index": index, "changed": self._run.changed.is_set()})
            played = self._ear.line.expect("played", None)
            if played.get("again"):
                raise LookedAgain("the host was changed by others again and again", remedy="run the same command again")
            return bool(played["ok"])
        finally:
            self._ear.work("")
            self._slot.release()
            self._run.wake_all()

    def undone(self) -> list[str]:
        """Return the tasks that had something to do and have not ended."""
        return self.seen.undone(self._ear.done)

    def note_undone(self) -> None:
        """Count what was to be done and is not."""
        undone, why = self.undone(), self._run.why_stopping
        remedy = "run the same command again" if why else ""
        for _ in undone[self._counted :]:
            self._outcome.count("skipped")
        if undone and self._verb != "check":
            more = f" and {len(undone) - 1} more" if undone[1:] else ""
            self._outcome.skip(f"stopped before {undone[0]!r}{more} was done{why}", remedy)
        elif not self.seen:
            self._outcome.skip(f"stopped before it was looked at{why}", remedy)
