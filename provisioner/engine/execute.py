"""One program on many hosts, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from provisioner.engine.inquiry import Inquiry, each
from provisioner.errors import ProvisionError, Unreachable
from provisioner.inventory.model import Host, Inventory
from provisioner.report.executed import Executed
from provisioner.transport.connect import Connector

KEPT = 4 * 1024 * 1024
"""Bytes of the output of one host that are kept where all of it is told at the end."""
GRACE = 30.0
"""Seconds beyond the program's own limit for the host to say what came of it."""


class Listener(Protocol):
    """Takes what is printed, as it comes; called from many threads."""

    def said(self, host: str, data: bytes) -> None: ...


def execute(
    inventory: Inventory,
    connector: Connector,
    hosts: Sequence[Host],
    argv: Sequence[str],
    timeout: float,
    concurrency: int,
    listener: Listener | None,
) -> list[Executed]:
    """Run a program on hosts and return what came of it, in their order.

    Args:
        inventory: with the addresses found.
        argv: the program and its arguments, which no shell sees.
        timeout: seconds that it may take on each host.
        listener: is told what is printed; None: it is kept in the result.
    """

    def work(host: Host) -> Executed:
        kept = bytearray()

        def take(data: bytes) -> None:
            if listener is not None:
                listener.said(host.name, data)
            elif len(kept) < KEPT:
                kept.extend(data[: KEPT - len(kept)])

        with Inquiry(connector, inventory, host, as_login=True) as asked:
            reply = asked.ask("run", {"argv": list(argv), "timeout": timeout}, timeout + GRACE, take)
        code = reply.get("code") if isinstance(reply, dict) else None
        return Executed(host.name, code if isinstance(code, int) else -1, bytes(kept).decode("utf-8", "replace"))

    found = each(hosts, concurrency, work)
    return [_judged(name, result) for name, result in found.items()]


def _judged(name: str, result: Executed | ProvisionError) -> Executed:
    if isinstance(result, Executed):
        return result
    return Executed(name, None, "", result.message, result.remedy, unreachable=isinstance(result, Unreachable))
