"""What the head knows of its cluster, held against the inventory."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from provisioner.engine.inquiry import Inquiry, dashboard
from provisioner.errors import HostFailed
from provisioner.inventory.model import Host, Inventory
from provisioner.ray import start
from provisioner.report.status import JobRow, NodeRow, NodeState, Status

Row = Mapping[str, Any]
JOBS = 8
"""Jobs that are shown: those that run, and the newest of the others."""


def fetch(head: Inquiry, inventory: Inventory) -> Status:
    """Return the cluster's state.

    Raises:
        HostFailed, Unreachable: the head does not answer, or no dashboard there.
    """
    address = start.redis_address(inventory)
    told = head.ask("state", {"dashboard": dashboard(inventory), "redis": list(address) if address else None})
    try:
        return judge(inventory, told)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise HostFailed("what it says of the cluster is not as it should be", host=head.host.name) from None


def judge(inventory: Inventory, told: Row) -> Status:
    """Return the state that an answer of remote/inquiries/state.py means for an inventory."""
    now = float(told["clock"])
    return Status(
        cluster=inventory.cluster,
        head=inventory.head.name,
        ray=str(told.get("ray") or ""),
        nodes=tuple(_nodes(inventory, told["nodes"], now)),
        resources=_resources(told.get("resources"), told["nodes"]),
        jobs=tuple(_jobs(told.get("jobs") or (), now)),
        gcs=_said(told.get("gcs")),
        redis=_said(told.get("redis")) if inventory.redis else None,
        restarts=int(told["service"].get("restarts") or 0),
    )


def _said(value: object) -> str | None:
    return None if value is None else str(value)


def _nodes(inventory: Inventory, rows: Sequence[Row], now: float) -> list[NodeRow]:
    """Return a row for each host, and one for each living node that is none of theirs."""
    newest = sorted(rows, key=lambda row: (bool(row["alive"]), float(row["start"])), reverse=True)
    taken: set[str] = set()
    found = []
    for host in inventory.hosts:
        mine = [row for row in newest if _is_of(row, host) and row["id"] not in taken]
        if mine:
            taken.add(str(mine[0]["id"]))
        found.append(_row(host, mine[0] if mine else None, now))
    strangers = [row for row in newest if row["alive"] and row["id"] not in taken]
    return found + [_stranger(row, now) for row in strangers]


def _is_of(row: Row, host: Host) -> bool:
    """Tell whether a node is a host's: it bears its name, at its address."""
    ip = start.node_ip(host)
    with suppress(ValueError):
        if ipaddress.ip_address(ip).is_loopback:  # Ray puts another address in its place
            return bool(row["host"] == host.name)
        return row["host"] == host.name and ipaddress.ip_address(str(row["ip"])) == ipaddress.ip_address(ip)
    return bool(row["host"] == host.name)


def _row(host: Host, row: Row | None, now: float) -> NodeRow:
    if row is None:
        return NodeRow(host.name, host.role, host.os or "", start.node_ip(host), "missing")
    state: NodeState = "alive" if row["alive"] else "dead"
    return NodeRow(
        host.name, host.role, host.os or _system(row), str(row["ip"]), state, _since(row, now),
        "" if row["alive"] else str(row.get("why") or ""), _numbers(row.get("resources") or {}),
    )  # fmt: skip


def _stranger(row: Row, now: float) -> NodeRow:
    name = str(row["host"] or row.get("name") or row["ip"])
    role = "head" if row["head"] else "worker"
    return NodeRow(
        name, role, _system(row), str(row["ip"]), "strange", _since(row, now),
        resources=_numbers(row.get("resources") or {}),
    )  # fmt: skip


def _system(row: Row) -> str:
    return str(row.get("os") or "")


def _since(row: Row, now: float) -> float | None:
    moment = float(row["start"] if row["alive"] else row.get("end") or 0)
    return max(0.0, now - moment / 1000) if moment else None


def _resources(usage: Any, rows: Sequence[Row]) -> dict[str, tuple[float | None, float]]:
    """Return (used, total) of each resource; what is used is not known before the head's monitor has reported it."""
    total: dict[str, float] = {}
    for row in rows:
        for name, value in _numbers(row.get("resources") or {}).items() if row["alive"] else ():
            total[name] = total.get(name, 0.0) + value
    if not isinstance(usage, dict):
        return {name: (None, value) for name, value in total.items()}
    used = {str(name): float(pair[0]) for name, pair in usage.items()}
    return {name: (used.get(name, 0.0), value) for name, value in total.items()}


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {str(name): float(value) for name, value in values.items()}


def _jobs(rows: Sequence[Row], now: float) -> list[JobRow]:
    """Return what runs, and the newest submissions; drivers that have ended are no jobs that anybody looks for."""
    running = [row for row in rows if row["status"] in ("RUNNING", "PENDING")]
    others = [row for row in rows if row not in running and row.get("submission_id")]
    return [
        JobRow(
            str(row.get("submission_id") or row.get("job_id") or ""), str(row["status"]), str(row["entrypoint"] or ""),
            _took(row, now),
        )
        for row in (running + others)[:JOBS]
    ]  # fmt: skip


def _took(row: Row, now: float) -> float | None:
    begun = row.get("start_time")
    if not begun:
        return None
    ended = row.get("end_time")
    return max(0.0, (float(ended) / 1000 if ended else now) - float(begun) / 1000)
