"""What a host may say: a message of another shape, out of its turn or about others never reaches the conversation.

A host is no more to be trusted than what it runs: it may be somebody else's by now. Whatever breaks these rules ends
its own conversation with one sentence, and nobody else's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from provisioner.errors import HostFailed
from provisioner.inventory.values import BadValue, address

Message = dict[str, Any]
Check = Callable[[Any], bool]

LONGEST = 64 * 1024
"""Characters of a text that is shown."""
MOST = 10_000
"""Rows of anything."""
MOST_VALUES = 200_000
DEEPEST = 12
"""Values inside of what is handed on as it is, and how deep they may lie in each other."""
LATEST = 1e11
"""Seconds: no clock and no task is beyond that."""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST


def _word(value: Any) -> bool:
    """A name, a path, an address: one short line."""
    return isinstance(value, str) and len(value) <= 4096 and not _CONTROLS.search(value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _seconds(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= LATEST


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _sha256(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch("[0-9a-f]{64}", value))


def _address(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(address(value))
    except BadValue:
        return False


def _one_of(*words: str) -> Check:
    return lambda value: isinstance(value, str) and value in words


def _maybe(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _list(check: Check, most: int = MOST) -> Check:
    return lambda value: isinstance(value, list) and len(value) <= most and all(map(check, value))


def _fields(exact: bool = False, /, **checks: Check) -> Check:
    """A mapping whose named values are as they should be; what may be missing is allowed to be None."""

    def fits(value: Any) -> bool:
        if not isinstance(value, dict) or (exact and set(value) != set(checks)):
            return False
        return all(check(value.get(name)) for name, check in checks.items())

    return fits


def _mapping(key: Check, value: Check) -> Check:
    return lambda found: (
        isinstance(found, dict) and len(found) <= MOST and all(key(k) and value(v) for k, v in found.items())
    )


def _data(value: Any) -> bool:
    """JSON that is handed on as it is: not too much of it, and not too deep."""
    left, level = [value], 0
    count = 0
    while left and level <= DEEPEST:
        count += len(left)
        if count > MOST_VALUES:
            return False
        inner = [each.values() if isinstance(each, dict) else each for each in left if isinstance(each, (dict, list))]
        left = [each for group in inner for each in group]
        level += 1
    return not left


def _facts(value: Any) -> bool:
    if not (isinstance(value, dict) and len(value) <= 100 and _data(value)):
        return False
    plain = (each for each in value.values() if not isinstance(each, (dict, list)))
    return _seconds(value.get("clock", 0)) and all(not isinstance(each, str) or _word(each) for each in plain)


_DIFFERENCE = _fields(
    True, action=_one_of("add", "change", "remove"), what=_text, before=_text, after=_text, stops=_text
)
_FINDING = _fields(message=_text, remedy=_text, severity=_one_of("fine", "notice", "needs elevation"))
_MEMBER = _fields(
    address=_address, port=_maybe(_whole), user=_maybe(_word), jump=_maybe(_word), root=_maybe(_word),
    account=_maybe(_word), service=_maybe(_word), become=_maybe(_flag),
)  # fmt: skip
_ROW = _fields(play=_whole, task=_text, differences=_list(_DIFFERENCE))

FIELDS: Mapping[str, Mapping[str, Check]] = {
    "ready": {},
    "beat": {},
    "facts": {"facts": _facts},
    "observed": {
        "tasks": _list(_ROW), "dropped": _maybe(_mapping(_word, _MEMBER)), "findings": _maybe(_list(_FINDING, 500)),
        "purged": _maybe(_list(_DIFFERENCE, 500)),
        "untidy": _maybe(_flag),
        "cannot": _maybe(lambda value: _list(_text, 2)(value) and len(value) in (0, 2)),
    },
    "doing": {"text": _text},
    "task": {
        "play": _whole, "task": _text, "state": _one_of("started", "changed", "failed", "skipped"),
        "seconds": _maybe(_seconds), "message": _maybe(_text), "remedy": _maybe(_text),
    },
    "played": {"index": _whole, "ok": _flag, "again": _maybe(_flag)},
    "proven": {
        "host": _word, "error": _maybe(_text), "hostname": _maybe(_text), "os": _maybe(_text), "ray": _maybe(_text),
        "python": _maybe(_text), "seconds": _maybe(_seconds),
    },
    "ask": {"id": _whole, "to": _word, "what": _word, "args": _data},
    "reply": {"id": _whole, "value": _data, "error": _maybe(_text), "remedy": _maybe(_text)},
    "piece": {"id": _whole, "data": _text},
    "need": {"id": _whole, "sha256": _sha256, "offset": _whole},
    "enough": {"id": _whole},
    "detour": {"reason": _text},
    "error": {"message": _text, "remedy": _maybe(_text), "task": _maybe(_text)},
    "bye": {"left": _maybe(_list(_word, 100))},
    "stopped": {"cut": _text, "ray": _one_of("", "runs", "stopped")},
}  # fmt: skip
"""Every message that the program on a host sends, and what its fields hold; others are passed over."""


class Manners:
    """Judges what one host says.

    Args:
        role: of the host: only a head speaks about others.
        hosts: the names of all hosts of the cluster.
        plays: how many plays it was told.
    """

    def __init__(self, role: str, hosts: Collection[str], plays: int) -> None:
        self._role = role
        self._hosts = hosts
        self._plays = plays
        self._asked: set[int] = set()
        self._play: int | None = None
        self._task: str | None = None
        self._proven: set[str] = set()
        self._ends = False
        self._stops = False

    def sent(self, message: Message) -> None:
        """Note what we say, before it is said: what the host may say next depends on it."""
        if message["type"] == "query":
            self._asked.add(message["id"])
        elif message["type"] == "play":
            self._play = message["index"]
        elif message["type"] == "end":
            self._ends = True
        elif message["type"] == "stop":
            self._stops = True

    def check(self, message: Message) -> Message:
        """Return a message that may be believed as far as its shape goes.

        Raises:
            HostFailed: it may not be said, or not now, or not like this.
        """
        kind = message["type"]
        fields = FIELDS.get(kind)
        if fields is None:
            raise _broken(f"a message that we don't know: {kind[:40]!r}")
        for name, fits in fields.items():
            if not fits(message.get(name)):
                raise _broken(f"a message of the kind {kind!r} whose {name!r} is not as it should be")
        turn = getattr(self, "_check_" + kind, None)
        if turn is not None:
            turn(message)
        return message

    def _check_observed(self, message: Message) -> None:
        if any(row["play"] >= self._plays for row in message["tasks"]):
            raise _broken("of a play that it was not told")
        if message.get("dropped") and self._role != "head":
            raise _broken("who was dropped from the inventory, which only the head knows")

    def _check_task(self, message: Message) -> None:
        name, state = message["task"], message["state"]
        if message["play"] != self._play:
            raise _broken("of a play that is not its turn")
        if state == "started" and self._task is None:
            self._task = name
            self._proven.clear()
        elif state == "skipped" and self._task is None and message.get("seconds") is not None:
            return
        elif state in ("changed", "failed") and self._task == name and message.get("seconds") is not None:
            self._task = None
        else:
            raise _broken(f"that task {name[:60]!r} is {state}, out of its turn")

    def _check_played(self, message: Message) -> None:
        if message["index"] != self._play or self._task is not None:
            raise _broken("that a play has ended, out of its turn")
        self._play = None

    def _check_proven(self, message: Message) -> None:
        host = message["host"]
        if self._role != "head" or host not in self._hosts or host in self._proven:
            raise _broken(f"what ran on {host[:60]!r}, of which it can't know")
        told = ("hostname", "os", "ray", "python", "seconds")
        if message.get("error") is None and any(message.get(name) is None for name in told):
            raise _broken("of a node that is proven, without saying how")
        self._proven.add(host)

    def _check_reply(self, message: Message) -> None:
        if message["id"] not in self._asked:
            raise _broken("an answer to what it was not asked")
        self._asked.discard(message["id"])

    def _check_piece(self, message: Message) -> None:
        if message["id"] not in self._asked:
            raise _broken("a piece of an answer to what it was not asked")

    def _check_stopped(self, message: Message) -> None:
        if not self._stops:
            raise _broken("that it has stopped, and nobody wanted that")

    def _check_bye(self, message: Message) -> None:
        if not self._ends:
            raise _broken("goodbye before its time")


def _broken(what: str) -> HostFailed:
    return HostFailed(
        f"the host was cut off: it told us {what}",
        remedy="is it the machine you mean, and its program nobody else's? Look at it before the next run",
    )
