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

    Args:
        hosts: play -> the hosts that have it.
        needs: play -> the plays it needs.
        reverse: whether the plays are walked backwards.
    """

    def __init__(self, hosts: Mapping[str, Iterable[str]], needs: Mapping[str, tuple[str, ...]], reverse: bool) -> None:
        self._waiting = {play: set(names) for play, names in hosts.items()}
        self._hosts = {play: tuple(sorted(names)) for play, names in self._waiting.items()}
        self._good: dict[str, set[str]] = {play: set() for play in hosts}
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

    def gone(self, host: str) -> None:
        """Note that nothing more will come from a host."""
        with self._lock:
            plays = [play for play, hosts in self._waiting.items() if host in hosts]
        for play in plays:
            self.through(play, host, good=False)

    def state(self, play: str) -> Gate:
        """Return whether a play may begin."""
        with self._lock:
            needed = [name for name in self._needs.get(play, ()) if name in self._waiting]
            if not self._reverse and any(self._is_lost(name) for name in needed):
                return Gate.SHUT
            return Gate.WAITING if any(self._waiting[name] for name in needed) else Gate.OPEN

    def lost(self, play: str) -> str:
        """Return in words which needed play went well nowhere."""
        name = next(name for name in self._needs.get(play, ()) if name in self._waiting and self._is_lost(name))
        hosts = self._hosts[name]
        return f"{name!r} did not succeed on {hosts[0] if len(hosts) == 1 else 'any of its hosts'}"

    def _is_lost(self, play: str) -> bool:
        return bool(self._hosts[play]) and not self._waiting[play] and not self._good[play]


def _reversed(needs: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    plays = {*needs, *(name for names in needs.values() for name in names)}
    return {play: tuple(other for other in needs if play in needs[other]) for play in plays}
