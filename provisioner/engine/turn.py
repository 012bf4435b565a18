"""One operator at a time: the run's turn on the cluster, held on the head's host (remote/turn.py) until the run ends.

No host is changed before the run has it: all are looked at meanwhile, and wait where they would begin to work. A run
that changes nothing never asks for it. Whoever had to wait looks again, for what was seen before may be true no more.
The turn lasts as long as the run: where the head is lost while others work, nothing more is begun on them.
What first contact brings, our program and the interpreter it runs on, needs no turn: it is known by its hash and put
into its place in one step. Where the head can't be reached nobody can hold it: each host's own lock remains.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from provisioner.errors import HostFailed, NoTurn, ProvisionError, SaysNothing, Unreachable

Message = dict[str, Any]

CERTAIN = 20.0
"""Seconds after the head's last sign of life in which it certainly still holds the turn: it gives up after 30 without
one of ours, which is sent every 5."""
ASK_WAIT = 2.0
"""Seconds that the head tries before it says who has the turn."""
ANSWER_LIMIT = 60.0
"""Seconds for the head to say anything at all; one that lives is asked again as long as another run is waited for."""
LOOK_LIMIT = 180.0
"""Seconds for the head to look at itself, from when it is asked: the conversation with it ends after 120."""
LOOK_PAUSE = 1.0
"""Seconds until it is asked again."""
CONNECT_LIMIT = 1800.0
"""Seconds without progress to wait for the head's conversation; it ends by itself much earlier."""
TAKE_LIMIT = 3 * CONNECT_LIMIT
"""Seconds, beside those for another run, in which it is known for certain whether the run gets its turn."""
NOTHING = "it has nothing of this cluster"
"""What is told of a head that can't hold a turn, and needs not."""
HANGS = 120.0
"""Seconds without a sign of life after which a holder should have been ended by the head (remote/turn.py)."""


class Turn:
    """Asks for the run's turn when the first host has something to do.

    Args:
        head: the host that holds it; None: nobody asks (`check`).
        hosts: every host of the run.
        timeout: seconds to wait for another run.
        ask: asks the head: name, what, arguments, limit in seconds, and another for it to connect.
        tell: tells the user something: message, remedy.
        wake: called when something may have been decided.
        lost: called when the head that held the turn is gone: why.
        anew: called with hosts that will be looked at again, before anybody may begin.
    """

    def __init__(
        self,
        head: str | None,
        hosts: Iterable[str],
        timeout: float,
        ask: Callable[[str, str, Any, float, float], Any],
        tell: Callable[[str, str], None],
        wake: Callable[[], None],
        lost: Callable[[str], None] = lambda reason: None,
        anew: Callable[[set[str]], None] = lambda hosts: None,
    ) -> None:
        self._head = head
        self._timeout = timeout
        self._ask = ask
        self._tell = tell
        self._wake = wake
        self._lost = lost
        self._anew = anew
        self._lock = threading.Lock()
        self._unseen = set(hosts)
        self._looking: set[str] = set()
        self._left: set[str] = set()
        self._outdated: set[str] = set()
        self._asked = False
        self._decided = threading.Event()
        self._head_gone = ""
        self._head_has_nothing = False
        self._held = False
        self._began = 0.0
        self._telling = threading.Lock()
        self._asks = False
        self.refusal: tuple[str, str] | None = None
        """Why this run may do nothing, and what to do about it."""
        self.busy = False
        """Whether it is another run that is in the way."""

    def looking(self, host: str) -> None:
        """Note that a host is going to be looked at."""
        with self._lock:
            if not self._decided.is_set():
                self._looking.add(host)

    def looks(self) -> None:
        """Note that a host is looked at now."""
        self._began = self._began or time.monotonic()

    def observed(self, host: str, wants: bool) -> None:
        """Note that a host was looked at, and whether there is something to do."""
        with self._lock:
            self._unseen.discard(host)
            done, asks = not self._unseen, wants and self._is_first()
        if asks:
            self._begin_to_ask()
        elif done and not wants:
            self._wake()

    @property
    def is_wanted(self) -> bool:
        """Whether any host has something to do."""
        return self._asked

    def may_leave(self, host: str) -> bool:
        """Tell whether a host with nothing to do needs not wait for the others: as long as nobody wants the turn."""
        with self._lock:
            if not self._asked:
                self._left.add(host)
            return not self._asked

    def gone(self, host: str, reason: str) -> None:
        """Note that nothing more will come from a host; ``reason`` if that is a misfortune."""
        with self._lock:
            self._unseen.discard(host)
            if host == self._head:
                self._head_gone, self._head_has_nothing = reason or NOTHING, not reason
            lost = host == self._head and self._held
            done = not self._unseen
        if done:
            self._wake()
        if lost:
            self._lost(self._head_gone)

    def is_settled(self) -> bool:
        """Tell whether it is known that the run has its turn, needs none, or gets none."""
        with self._lock:
            return self._head is None or self._decided.is_set() or not (self._asked or self._unseen)

    @property
    def is_ours(self) -> bool:
        """Whether the run may change something."""
        return self._decided.is_set() and self.refusal is None

    def is_certain(self, silence: float) -> bool:
        """Tell whether something may be begun, where the head was last heard ``silence`` seconds ago."""
        return not self._held or silence < CERTAIN

    def is_outdated(self, host: str) -> bool:
        """Tell, once, whether a host was looked at before the run had its turn, and may have been changed since."""
        with self._lock:
            outdated = host in self._outdated
            self._outdated.discard(host)
            return outdated

    def take(self) -> None:
        """Have the turn, for what must be done on a host before it was looked at.

        Raises:
            NoTurn: the run gets none.
        """
        with self._lock:
            asks = self._is_first()
        if asks:
            self._begin_to_ask()
        limit = self._timeout + TAKE_LIMIT
        if self._head is not None and not self._decided.wait(limit):
            raise NoTurn(f"it is not known after {limit:.0f} s whose turn it is", remedy="run the same command again")
        if self.refusal is not None:
            raise NoTurn(self.refusal[0], remedy=self.refusal[1])

    def tell(self, asks: bool) -> None:
        """Let other runs know whether this one waits for its user's answer; nobody waits for that."""
        self._asks = asks
        if self._held:
            threading.Thread(target=self._tell_head, daemon=True, name="turn").start()

    def _tell_head(self) -> None:
        assert self._head is not None
        with self._telling, suppress(ProvisionError):
            self._ask(self._head, "turn", {"wait": 0.0, "age": 0.0, "asks": self._asks}, ANSWER_LIMIT, 0.0)

    def _is_first(self) -> bool:
        """Tell, once, whether the head must be asked now; the lock is held."""
        first = not self._asked and self._head is not None
        self._asked = self._asked or first
        return first

    def _begin_to_ask(self) -> None:
        threading.Thread(target=self._obtain, daemon=True, name="turn").start()

    def _obtain(self) -> None:
        stale = held = False
        try:
            stale = self._wait_for_it()
            held = self.refusal is None
        except ProvisionError as failure:
            if isinstance(failure, Unreachable):  # its link broke while it was asked
                self._head_gone = self._head_gone or failure.message
            if self._head_gone:
                self._go_without()
            else:
                self.refusal = f"{self._head} can't keep other runs out: {failure.message}", failure.remedy
        except Exception as error:
            self.refusal = f"unexpected {type(error).__name__}: {error}", "please report this"
        finally:  # whoever waits has no other limit
            lost = self._decide(stale, held)
        if stale and self._left and held:
            self._tell_of_those_that_left()
        if lost:
            self._lost(lost)

    def _decide(self, stale: bool, held: bool) -> str:
        """Note whether the turn is ours; returns why the head that held it is gone, if it is."""
        try:
            with self._lock:
                self._outdated = self._looking - self._left if stale else set()
            if self._outdated:
                self._anew(set(self._outdated))
        finally:
            with self._lock:
                self._held = held
                lost = self._head_gone if held else ""
                self._decided.set()
        self._wake()
        return lost

    def _wait_for_it(self) -> bool:
        """Return once the turn is ours, or will not be (``refusal``); tells whether what was seen may be outdated."""
        assert self._head is not None
        begun, waited = 0.0, False
        while True:
            left = begun + self._timeout - time.monotonic() if begun else self._timeout
            wait = max(0.0, min(ASK_WAIT, left))
            reply = self._answer(wait)
            if "holder" not in reply:
                return waited or bool(reply.get("stale"))
            begun = begun or time.monotonic() - wait  # not before the head could be asked
            if begun + self._timeout <= time.monotonic():
                self.busy = True
                self.refusal = self._refused(reply["holder"])
                return False
            if not waited:
                waited = True
                self._tell_who(reply["holder"])

    def _answer(self, wait: float) -> Message:
        """Return what the head says that has looked at itself; one that is slow is asked again."""
        assert self._head is not None

        def args() -> Message:  # when it can be asked: until then what was seen gets older
            return {"wait": wait, "age": time.monotonic() - self._began if self._began else 0.0}

        slow_since = looks_since = 0.0
        while True:
            begun = time.monotonic()
            try:
                reply: Message = self._ask(self._head, "turn", args, ANSWER_LIMIT, CONNECT_LIMIT)
            except SaysNothing:
                slow_since = slow_since or begun
                if time.monotonic() - slow_since >= self._timeout:
                    raise
            else:
                if not reply.get("looking"):
                    return reply
                looks_since = looks_since or time.monotonic()
                if time.monotonic() - looks_since > LOOK_LIMIT:
                    raise HostFailed(f"it looked at itself for more than {LOOK_LIMIT:.0f} s", remedy="look at its load")
            time.sleep(LOOK_PAUSE)

    def _refused(self, holder: Message) -> tuple[str, str]:
        message = f"nothing was done: it is the turn of {described(holder)}"
        if holder.get("silent", 0.0) > HANGS:
            hangs = f"end process {holder.get('pid')} on {self._head}, which hangs, if that run is gone"
            return message, f"{hangs}; then run the same command again"
        longer = f"--lock-timeout waits longer than {self._timeout:.0f} s"
        return message, f"run the same command again when it has ended; {longer}"

    def _tell_of_those_that_left(self) -> None:
        hosts = sorted(self._left)
        names = ", ".join(hosts[:3]) + (f" and {len(hosts) - 3} more" if hosts[3:] else "")
        told = f"the other run may have changed {names} after it was seen that there is nothing to do"
        self._tell(told, "run the same command again to be sure")

    def _tell_who(self, holder: Message) -> None:
        message = f"waiting for the turn of {described(holder)}"
        self._tell(message, f"goes on by itself; gives up after {self._timeout:.0f} s (--lock-timeout)")

    def _go_without(self) -> None:
        if not self._head_has_nothing:
            told = f"no other run is kept out meanwhile: {self._head} can't hold the turn ({self._head_gone})"
            self._tell(told, "see to it that nobody else works on this cluster until this run has ended")


def described(holder: Message) -> str:
    """Return who has the turn: who, from where, what, since when, and when it was last heard of."""
    who = holder.get("who") or "another run"
    whence = f" (from {holder['from']})" if holder.get("from") else ""
    if "age" not in holder:
        return f"{who}{whence}"
    since = time.strftime("%H:%M:%S", time.localtime(time.time() - float(holder["age"])))
    verb = f"`{holder['verb']}`" if holder.get("verb") else "a run"
    asks = " and waits for its user's answer" if holder.get("asks") else ""
    return (
        f"{who}{whence}: {verb} since {since} ({lasting(holder['age'])}){asks}, "
        f"last sign of life {lasting(holder['silent'])} ago"
    )


def lasting(seconds: float) -> str:
    """Return a time as people say it."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
