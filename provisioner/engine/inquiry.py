"""Questions to hosts that are no part of a run: what the head knows, what a node has said, a program of the user's.

A conversation like any other, in which nothing is declared and nothing changed (see remote/answers.py). An answer may
come in pieces, as many as we take, while it is still being found.
"""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from provisioner.declaration import greeting
from provisioner.engine.addresses import locate
from provisioner.engine.line import Line
from provisioner.engine.manners import Manners
from provisioner.engine.reached import reached
from provisioner.errors import HostFailed, ProvisionError, Unreachable
from provisioner.inventory.model import Host, Inventory
from provisioner.ray import start
from provisioner.transport.choice import Choice, NothingThere, Ours
from provisioner.transport.connect import Connector
from provisioner.transport.session import open_session

Message = dict[str, Any]
Take = Callable[[bytes], None]
T = TypeVar("T")

LIMIT = 30.0
"""Seconds for a host to answer what takes it no time."""


class Inquiry:
    """A conversation with one host, in which it is asked and does nothing else. A context manager.

    Args:
        connector: makes the connection.
        inventory: with the addresses found (see ``found``).
        host: one of its hosts.
        as_login: have the program run with the rights of the account that logs in, whatever ``become`` says.

    Raises:
        Unreachable: the host does not let us in.
        HostFailed: it has nothing of the cluster, or does not answer as it should.
    """

    def __init__(self, connector: Connector, inventory: Inventory, host: Host, as_login: bool = False) -> None:
        self.host = host
        self._number = 0
        self._take: Take | None = None
        hello = dict(greeting(replace(host, account_password=None), inventory, "ask"), plays=[])
        target, become = reached(host)
        choice = Choice(host.python, leave=Ours(inventory.cluster, host.root))
        try:
            session = open_session(connector, target, None if as_login else become, hello, choice, lambda doing: None)
        except NothingThere:
            raise HostFailed(
                f"{host.name} has nothing of this cluster", remedy="`provision apply` makes it", host=host.name
            ) from None
        self._line = Line(host.name, Manners(host.role, [host.name], 0), self._hear, lambda now: None)
        self._line.connect(session)
        self.session = session
        try:
            self.facts: Message = self._line.expect("facts", LIMIT)["facts"]
        except ProvisionError as error:
            self.close()
            raise _named(error, host) from None

    def __enter__(self) -> Inquiry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, what: str, args: Any, limit: float | None = LIMIT, take: Take | None = None) -> Any:
        """Return the answer to a question.

        Args:
            what: its kind, a file in remote/inquiries.
            args: what that wants to know, as JSON.
            limit: seconds for all of it; None: as long as it takes, while the host gives signs of life.
            take: called with each piece of the answer, in this thread.

        Raises:
            HostFailed, Unreachable: there is no answer; in the user's words, with the host's name.
        """
        self._number += 1
        self._take = take
        try:
            self._line.send({"type": "query", "id": self._number, "what": what, "args": args})
            reply = self._line.expect("reply", limit)
        except ProvisionError as error:
            raise _named(error, self.host) from None
        finally:
            self._take = None
        if reply.get("error") is not None:
            raise HostFailed(str(reply["error"]), remedy=str(reply.get("remedy") or ""), host=self.host.name)
        return reply.get("value")

    def enough(self) -> None:
        """Have no more pieces sent of the answer that comes now; any thread may say so."""
        with suppress(Unreachable):
            self._line.send({"type": "enough", "id": self._number})

    def close(self) -> None:
        """End the conversation; what still runs on the host for it is ended there."""
        with suppress(Unreachable):
            self._line.send({"type": "end"})
        self._line.close()

    def _hear(self, message: Message) -> None:
        """Take what is no reply; HostFailed or Unreachable if there will be none."""
        if message["type"] == "error":
            raise HostFailed(str(message["message"]), remedy=str(message.get("remedy") or ""))
        if message["type"] == "closed":
            raise Unreachable("the connection broke off", remedy="run the same command again")
        if message["type"] == "piece":
            try:
                data = base64.b64decode(message["data"], validate=True)
            except binascii.Error:
                raise HostFailed("the host was cut off: a piece of its answer is no base64") from None
            if self._take is not None:
                self._take(data)
            self._line.send({"type": "more", "id": message["id"]})


def found(inventory: Inventory, connector: Connector) -> Inventory:
    """Return an inventory with the addresses under which its hosts are known to each other, as far as they are found:
    a name that leads nowhere keeps nobody from asking the others."""
    return locate(inventory, lambda host: connector.real_name(host.address, host.ssh.config), strict=False)


def ask_head(inventory: Inventory, connector: Connector) -> Inquiry:
    """Return the conversation with the head; see ``Inquiry``."""
    inventory = found(inventory, connector)
    return Inquiry(connector, inventory, inventory.head)


def dashboard(inventory: Inventory) -> list[Any]:
    """Return address and port of the dashboard as the head itself reaches it."""
    address, port = start.dashboard(inventory)
    return [address, port]


def request(
    head: Inquiry, inventory: Inventory, path: str, method: str = "GET", body: bytes = b"", timeout: float = 10.0
) -> tuple[int, bytes]:
    """Return status and body of the dashboard's answer to a request; see remote/inquiries/http.py.

    Raises:
        HostFailed, Unreachable: nobody answers there.
    """
    pieces: list[bytes] = []
    asked = {"dashboard": dashboard(inventory), "method": method, "path": path, "timeout": timeout}
    asked["body"] = base64.b64encode(body).decode("ascii")
    reply = head.ask("http", asked, LIMIT + 4 * timeout, pieces.append)
    status = reply.get("status") if isinstance(reply, dict) else None
    if not isinstance(status, int):
        raise HostFailed("what it says of the dashboard is no answer", host=head.host.name)
    return status, b"".join(pieces)


def each(hosts: Iterable[Host], concurrency: int, work: Callable[[Host], T]) -> dict[str, T | ProvisionError]:
    """Return what came of the same work with each host, or why nothing did, in the order of the hosts."""
    chosen = list(hosts)
    slots, came = threading.Semaphore(max(1, concurrency)), threading.Event()
    done: dict[str, T | ProvisionError | BaseException] = {}

    def guarded(host: Host) -> None:
        with slots:
            try:
                done[host.name] = work(host)
            except BaseException as error:
                done[host.name] = error
            came.set()

    for host in chosen:  # no pool: its threads would be waited for, however long, after Ctrl-C
        threading.Thread(target=guarded, args=(host,), daemon=True, name=f"ask {host.name}").start()
    while len(done) < len(chosen):
        came.wait(1.0)
        came.clear()
    results: dict[str, T | ProvisionError] = {}
    for host in chosen:
        result = done[host.name]
        if isinstance(result, BaseException) and not isinstance(result, ProvisionError):
            raise result
        results[host.name] = result
    return results


def _named(error: ProvisionError, host: Host) -> ProvisionError:
    error.host = error.host or host.name
    return error
