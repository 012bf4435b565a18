"""What the head knows of its cluster, by its own HTTP API, all asked at once."""

from __future__ import annotations

import threading
import time

from provisioner.remote import service
from provisioner.remote.dashboard import REFUSED, Request, of_this_host, parsed, reason
from provisioner.remote.failure import Failure
from provisioner.remote.inquiries.http import silent
from provisioner.remote.resources.ray_state import HOST_LABEL, PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List

    from provisioner.remote.host import Host
    from provisioner.remote.pieces import Pieces

JOBS = 50
"""The newest jobs that are told."""
LIMIT = 8.0
"""Seconds for the dashboard to answer all of it."""


def answer(host: Host, args: Dict[str, Any], pieces: Pieces) -> Dict[str, Any]:
    """Return ``nodes``, ``resources`` (name -> [used, total]), ``jobs``, ``ray``, ``gcs`` and ``redis`` ("": well, else
    why not; None: not known), ``service``, ``clock`` (seconds).

    Raises:
        Failure: no dashboard answers, or it does not take our token.
    """
    where = args["dashboard"]
    questions: Dict[str, Callable[[], Any]] = {
        "nodes": lambda: [_node(row) for row in _get(host, where, PATH)["data"]["result"]["result"]],
        "resources": lambda: _resources(_get(host, where, "/api/cluster_status")),
        "jobs": lambda: _jobs(_get(host, where, "/api/jobs/")),
        "ray": lambda: str(_get(host, where, "/api/version").get("ray_version", "")),
        "gcs": lambda: _gcs(host, where),
    }
    if args.get("redis"):
        questions["redis"] = lambda: _redis(host, args["redis"])
    found, failures = _all_at_once(questions)
    if "nodes" in failures:
        error = failures["nodes"]
        raise error if isinstance(error, Failure) else silent(error, where)
    told = {name: found.get(name) for name in ("nodes", "resources", "jobs", "ray", "gcs", "redis")}
    unit = host.service_manager.observe(host, service.service_name(host))
    return dict(told, clock=time.time(), service={"active": unit["active"], "restarts": unit.get("restarts", 0)})


def _all_at_once(questions: Dict[str, Callable[[], Any]]) -> Any:
    found: Dict[str, Any] = {}
    failures: Dict[str, Exception] = {}

    def ask(name: str) -> None:
        try:
            found[name] = questions[name]()
        except Exception as error:
            failures[name] = error

    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in questions]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + LIMIT
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    if "nodes" not in found and "nodes" not in failures:
        failures["nodes"] = OSError("it did not answer within %d s" % LIMIT)
    return dict(found), failures


def _get(host: Host, where: List[Any], path: str) -> Dict[str, Any]:
    status, body = of_this_host(host, where, Request(path, timeout=LIMIT))
    if status in REFUSED:
        raise Failure(reason(status, body), "`provision check` says what differs, `provision apply` puts it right")
    return parsed(status, body)


def _node(row: Dict[str, Any]) -> Dict[str, Any]:
    labels = row.get("labels") or {}
    return {
        "id": row["node_id"],
        "ip": row["node_ip"],
        "name": str(row.get("node_name") or ""),
        "host": labels.get(HOST_LABEL, ""),
        "os": str(labels.get("os", "")),
        "alive": row["state"] == "ALIVE",
        "head": bool(row.get("is_head_node")),
        "start": row.get("start_time_ms") or 0,
        "end": row.get("end_time_ms") or 0,
        "why": str(row.get("state_message") or "")[:500],
        "resources": {name: value for name, value in (row.get("resources_total") or {}).items() if "node:" not in name},
    }


def _resources(status: Dict[str, Any]) -> Any:
    """Return what the autoscaler's monitor last reported; None before its first report."""
    report = ((status.get("data") or {}).get("clusterStatus") or {}).get("loadMetricsReport") or {}
    usage = report.get("usage")
    return {name: [pair[0], pair[1]] for name, pair in usage.items() if "node:" not in name} if usage else None


def _jobs(answer: Dict[str, Any]) -> List[Dict[str, Any]]:
    rows = [row for row in answer.get("", []) if isinstance(row, dict)]
    rows.sort(key=lambda row: row.get("start_time") or 0, reverse=True)
    names = ("submission_id", "job_id", "type", "status", "entrypoint", "start_time", "end_time")
    told = [{name: row.get(name) for name in names} for row in rows[:JOBS]]
    return [dict(row, entrypoint=str(row["entrypoint"] or "")[:500]) for row in told]


def _gcs(host: Host, where: List[Any]) -> Any:
    status, body = of_this_host(host, where, Request("/api/gcs_healthz", timeout=LIMIT))
    if status == 404:
        return None
    return "" if status == 200 else reason(status, body)


def _redis(host: Host, address: List[Any]) -> str:
    """Tell whether somebody takes connections there: whether it is our Redis with our password is `check`'s matter."""
    import socket

    try:
        socket.create_connection((str(address[0]), int(address[1])), 3.0).close()
    except OSError as error:
        return "%s:%s: %s" % (address[0], address[1], error.strerror or error)
    return ""
