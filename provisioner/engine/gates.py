"""Gates: a play begins when every host is through with the plays it needs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from enum import Enum


class Gate(Enum):
    WAITING = "waiting"
    OPEN = "open"
    SHUT = "shut"


class Gates:
    """Who is through with which play.

    A gate opens when every host of each needed play is through with it, well or not, and stays shut when a needed play
    went well on none of its hosts: one dead worker does not hold up the others, a dead head does. In reverse (teardown)
    a play waits for those that need it, and nothing stays shut.

    Where a play stops what runs, its gate is stricter: it waits for every earlier play of the playbook, and stays shut
    if one of them failed on any host that was reached. So an upgrade is prepared everywhere before anything is
    restarted, and a fresh cluster waits for nobody. A host that could not be reached at all is no reason to stay on the
    old version: it is off, or cut off, and in a room of machines one usually is; the next apply brings it along. One
    that was lost on the way is: it was there a moment ago, and nobody knows how far it came.

    Args:
        hosts: play -> the hosts that have it, in the playbook's order.
        needs: play -> the plays it needs.
        reverse: whether the plays are walked backwards.
    """

    def __init__(self, hosts: Mapping[str, Iterable[str]], needs: Mapping[str, tuple[str, ...]], reverse: bool) -> None:
        self._waiting = {play: set(names) for play, names in hosts.items()}
        self._hosts = {play: tuple(sorted(names)) for play, names in self._waiting.items()}
        self._good: dict[str, set[str]] = {play: set() for play in hosts}
        self._unreached: set[str] = set()
        self._gone: set[str] = set()
        self._refused: dict[str, tuple[str, str]] = {}
        self._needs = _reversed(needs) if reverse else dict(needs)
        self._reverse = reverse
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []

    def listen(self, wake: Callable[[], None]) -> None:
        """Have ``wake`` called whenever a gate may have opened or shut."""
        self._listeners.append(wake)

    def through(self, play: str, host: str, good: bool) -> None:
        """Note that a host is through with a play."""
        with self._lock:
            is_last = self._waiting[play] == {host}
            self._waiting[play].discard(host)
            if good:
                self._good[play].add(host)
        if is_last:  # else no gate moves, and waking everybody for everybody costs the square of the hosts
            for wake in list(self._listeners):
                wake()

    def again(self, host: str) -> None:
        """Note that a host begins anew: what it is through with was decided on what may be true no more."""
        with self._lock:
            for play in self._hosts if host not in self._gone else ():
                if host in self._hosts[play]:
                    self._waiting[play].add(host)
                    self._good[play].discard(host)

    def gone(self, host: str, reached: bool = True) -> None:
        """Note that nothing more will come from a host, and whether it ever was there."""
        with self._lock:
            self._gone.add(host)
            if not reached:
                self._unreached.add(host)
            plays = [play for play, hosts in self._waiting.items() if host in hosts]
        for play in plays:
            self.through(play, host, good=False)

    def state(self, play: str, stops: bool = False) -> Gate:
        """Return whether a play may begin; ``stops``: on this host it stops something that runs."""
        with self._lock:
            needed = self._needed(play)
            if not self._reverse and any(self._is_lost(name) for name in needed):
                return Gate.SHUT
            if stops and not self._reverse:
                needed = self._before(play)
            if any(self._waiting[name] for name in needed):
                return Gate.WAITING
            return Gate.SHUT if stops and any(self._broken(name) for name in needed) else Gate.OPEN

    def refuse(self, play: str) -> tuple[str, str]:
        """Return in words why a gate stays shut for the host that asks, and what to do about it if that needs saying.

        Whoever is kept back by a host that was itself kept back is told the reason of that one.
        """
        lost = next((name for name in self._needed(play) if self._is_lost(name)), None)
        if lost is not None and lost not in self._refused:
            hosts = self._hosts[lost]
            return f"{lost!r} did not succeed on {hosts[0] if len(hosts) == 1 else 'any of its hosts'}", ""
        reason = self._refused[lost] if lost is not None else self._unprepared(play)
        self._refused[play] = reason
        return reason

    def _unprepared(self, play: str) -> tuple[str, str]:
        name = next(name for name in self._before(play) if self._broken(name))
        broken = self._broken(name)
        few = ", ".join(broken[:3]) + (f" and {len(broken) - 3} more" if len(broken) > 3 else "")
        return (
            f"nothing was restarted, because {few} did not get through {name!r}",
            f"what runs goes on as it was; mend {few} and run the same command again, or leave it out with --limit",
        )

    def _needed(self, play: str) -> list[str]:
        return [name for name in self._needs.get(play, ()) if name in self._waiting]

    def _before(self, play: str) -> list[str]:
        plays = list(self._hosts)
        return plays[: plays.index(play)]

    def _broken(self, play: str) -> list[str]:
        """Return the hosts that were reached and did not get through that play."""
        return [host for host in self._hosts[play] if host not in self._good[play] and host not in self._unreached]

    def _is_lost(self, play: str) -> bool:
        return bool(self._hosts[play]) and not self._waiting[play] and not self._good[play]


def _reversed(needs: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    plays = {*needs, *(name for names in needs.values() for name in names)}
    return {play: tuple(other for other in needs if play in needs[other]) for play in plays}
