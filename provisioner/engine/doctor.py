"""The examination of a cluster: every host looks at itself, and then tries to reach the others, all at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from provisioner.diagnosis import judge, paths
from provisioner.engine import state
from provisioner.engine.inquiry import Inquiry, each
from provisioner.errors import ProvisionError, Unreachable
from provisioner.inventory.model import Host, Inventory
from provisioner.report.doctor import Diagnosis, Finding
from provisioner.transport.connect import Connector

PATIENCE = 3.0
"""Seconds for a connection between two hosts."""
LIMIT = 60.0
"""Seconds for a host to answer one question."""
T = TypeVar("T")


class Doctor:
    """Examines the hosts of a cluster. Nothing is changed; our listeners are gone with the conversation.

    Args:
        inventory: with the addresses found.
        connector: makes the connections.
        concurrency: hosts that are talked to at once.
    """

    def __init__(self, inventory: Inventory, connector: Connector, concurrency: int) -> None:
        self._inventory = inventory
        self._connector = connector
        self._concurrency = concurrency
        self._talks: dict[str, Inquiry] = {}
        self._findings: list[Finding] = []
        self._members: set[str] = set()

    def examine(self, shown: Sequence[str]) -> Diagnosis:
        """Examine all hosts and return what concerns those that are asked about."""
        begun = time.monotonic()
        try:
            self._connect()
            self._ask_head()
            self._look()
            tried = self._try_ports()
        finally:
            for talk in self._talks.values():
                talk.close()
        hosts = tuple(host.name for host in self._inventory.hosts if host.name in shown)
        return Diagnosis(
            self._inventory.cluster, hosts, tuple(sorted(self._members)), tuple(self._ordered(hosts)), tried,
            round(time.monotonic() - begun, 2),
        )  # fmt: skip

    def _ordered(self, hosts: Sequence[str]) -> list[Finding]:
        """Put causes before what follows from them, host by host; of causes what can be known first comes first."""
        rank = {"cause": 0, "symptom": 1, "note": 2}
        return [
            each
            for host in hosts
            for each in sorted((f for f in self._findings if f.host == host), key=lambda found: rank[found.kind])
        ]

    def _connect(self) -> None:
        def talk(host: Host) -> Inquiry:
            return Inquiry(self._connector, self._inventory, host)

        for name, result in each(self._inventory.hosts, self._concurrency, talk).items():
            if isinstance(result, ProvisionError):
                area = "SSH" if isinstance(result, Unreachable) else "host"
                self._findings.append(Finding(name, "cause", area, result.message, result.remedy))
            else:
                self._talks[name] = result

    def _ask_head(self) -> None:
        """Find out who is in the cluster; a head that can't say is a cause of its own for everybody."""
        head = self._talks.get(self._inventory.head.name)
        if head is None:
            return
        try:
            status = state.fetch(head, self._inventory)
        except ProvisionError as error:
            self._findings.append(Finding(head.host.name, "symptom", "head", error.message, error.remedy))
            return
        self._members = {row.host for row in status.nodes if row.state == "alive"}
        if status.gcs:
            self._findings.append(Finding(head.host.name, "cause", "GCS", f"it does not answer: {status.gcs}"))
        if status.redis:
            remedy = "`provision check` says what differs; see docs/redis.md"
            self._findings.append(Finding(head.host.name, "cause", "Redis", status.redis, remedy))

    def _look(self) -> None:
        head = self._inventory.head.name

        def look(talk: Inquiry) -> tuple[Any, float]:
            asked = time.time()
            facts = talk.ask("examine", {"head": head}, LIMIT)
            return facts, (asked + time.time()) / 2

        for name, (facts, moment) in self._all(look).items():
            host = self._talks[name].host
            offset = float(facts.get("clock") or moment) - moment
            seen = judge.Seen(host, facts, offset, name in self._members)
            self._findings += judge.judge(self._inventory, seen)

    def _try_ports(self) -> int:
        """Have every host listen where Ray does not, and try to reach all others; returns how many connections."""
        hosts = [talk.host for talk in self._talks.values()]
        opened = self._all(lambda talk: talk.ask("ports", {"listen": paths.listened(talk.host)}, LIMIT)["opened"])

        def reach(talk: Inquiry) -> list[tuple[paths.Path, str]]:
            wanted = paths.needed(talk.host, hosts)
            targets = [[path.address, path.port, path.port in opened.get(path.target, ())] for path in wanted]
            told = talk.ask("ports", {"reach": targets, "timeout": PATIENCE}, LIMIT)["results"]
            return list(zip(wanted, map(str, told), strict=True)) if wanted else []

        results = {path: word for pairs in self._all(reach).values() for path, word in pairs}
        self._findings += paths.judge(results, {name: name in opened for name in self._talks})
        return len(results)

    def _all(self, ask: Callable[[Inquiry], T]) -> dict[str, T]:
        """Return what each host that is talked to answers; one that does not is a finding, and asked nothing more."""
        found: dict[str, T] = {}
        hosts = [talk.host for talk in self._talks.values()]
        for name, result in each(hosts, self._concurrency, lambda host: ask(self._talks[host.name])).items():
            if isinstance(result, ProvisionError):
                self._findings.append(Finding(name, "cause", "host", result.message, result.remedy))
                self._talks.pop(name).close()
            else:
                found[name] = result
        return found
