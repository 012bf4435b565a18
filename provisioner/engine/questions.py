"""Answers one host's questions, each in a thread of its own: some answers take minutes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from provisioner.errors import HostFailed, ProvisionError, Unreachable
from provisioner.inventory.model import Host

Message = dict[str, Any]
Answer = Callable[[str, str, Any, Host, Callable[[], None]], Any]

MOST = 16
"""Questions that may be open at once: the program on a host asks one after the other, in a few threads."""


class Questions:
    """What one host asks.

    Args:
        answer: returns the answer: to whom, what, arguments, the asking host, and what is called while it gets on.
        asker: the host.
        send: sends it a message.
    """

    def __init__(self, answer: Answer, asker: Host, send: Callable[[Message], None]) -> None:
        self._answer = answer
        self._asker = asker
        self._send = send
        self._room = threading.Semaphore(MOST)
        self._offered: set[str] = set()

    def take(self, message: Message) -> None:
        """Have a question answered; HostFailed if there are too many."""
        if not self._room.acquire(blocking=False):
            raise HostFailed(f"the host was cut off: it asks more than {MOST} questions at once")
        threading.Thread(target=self._reply, args=(message,), daemon=True, name=f"ask {self._asker.name}").start()

    def offered(self, sha256: str) -> bool:
        """Tell whether an answer named that file, so that the host may ask for it."""
        return sha256 in self._offered

    def _reply(self, message: Message) -> None:
        def moving() -> None:
            with suppress(Unreachable):
                self._send({"type": "moving", "id": message["id"]})

        try:
            value = self._answer(message["to"], message["what"], message.get("args"), self._asker, moving)
            if message["to"] == "controller":
                self._offered.update(_files_in(value))
            reply: Message = {"value": value}
        except ProvisionError as error:
            reply = {"error": error.message, "remedy": error.remedy}
        except Exception as error:  # an answer must come whatever happens, or the asker waits in vain
            reply = {"error": f"unexpected {type(error).__name__}: {error}", "remedy": "please report this"}
        finally:
            self._room.release()
        with suppress(Unreachable):
            self._send({"type": "answer", "id": message["id"], **reply})


def _files_in(value: Any) -> set[str]:
    """Return the sha256 of every file that an answer names."""
    if isinstance(value, dict):
        own = {value["sha256"]} if isinstance(value.get("sha256"), str) else set()
        return own.union(*map(_files_in, value.values()))
    return set().union(*map(_files_in, value)) if isinstance(value, list) else set()
