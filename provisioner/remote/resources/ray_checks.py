"""What would make Ray fail with a misleading text or after minutes is looked at before it is started."""

from __future__ import annotations

import errno
import os
import socket
import time

from provisioner.remote import service, signs
from provisioner.remote.failure import Failure
from provisioner.remote.resources import ray_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Set, Tuple

    from provisioner.remote.host import Host

    Spec = Dict[str, Any]

UNKNOWN = "another process"
"""What a platform calls the owner of a port that it does not know."""
LINES = 40
"""Of a log, in which signs are looked for."""
TOO_SLOW = "timed out during startup"
TELLING = ("Error", "rror:", "mismatch", "refused", TOO_SLOW)
"""What is in the line of a log that says why Ray ended."""
HEAD_LIMIT = 15.0
"""Seconds in which the head's GCS must accept a connection from this host."""


def check_address(node_ip: str) -> None:
    """Raise a Failure unless the address is one of this host's (Ray says it after 31 s, with a misleading text)."""
    family = socket.AF_INET6 if ":" in node_ip else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((node_ip, 0))
    except OSError as error:
        if error.errno not in (errno.EADDRNOTAVAIL, errno.EINVAL) and not isinstance(error, socket.gaierror):
            raise
        own = ", ".join(own_addresses()) or "none that others could reach"
        raise Failure(
            "node_ip %s is not an address of this host (it has %s)" % (node_ip, own),
            "set `address:` or `ray: {node_ip: ...}` of the host to the one that the other hosts reach",
        ) from None


def check_certified(wanted: Spec) -> None:
    """Raise a Failure if a node that is to use TLS has no certificate."""
    if "tls" in wanted and not wanted["tls"]["id"]:
        raise Failure(
            "this host's node has no certificate", "have the playbook's task `certificate: {}` come before Ray"
        )


def check_ports(host: Host, ports: Dict[str, int]) -> None:
    """Raise a Failure that names the port and who has it, if one of the node's ports is taken."""
    for name, port in sorted(ports.items()):
        problem = _bind(port)
        if problem is None and os.name == "posix":
            continue
        owner = host.platform.port_owner(port)
        if problem is None and owner == UNKNOWN:
            continue  # Windows binds to all addresses also where somebody listens on one of them
        if problem is not None and problem.errno == errno.EACCES and owner == UNKNOWN:
            raise Failure(
                "port %d (%s) may not be used by this account" % (port, name),
                "give the node a port from 1024 on: `ray: {%s: ...}`" % name,
            )
        raise Failure(
            "port %d (%s) is taken by %s" % (port, name, owner),
            "end that program, or give the node another port: `ray: {%s: ...}`" % name,
        )


def check_allowed(wanted: Spec, spans: List[Tuple[int, int]]) -> str:
    """Return which of the ports of worker processes the system keeps from every program (Windows does, for Hyper-V and
    others): "" if none. Ray hands each worker the next of its ports that can be bound (raylet/worker_pool.cc,
    GetNextFreePort).

    Args:
        wanted: what the node is started with.
        spans: what the system keeps, see Platform.forbidden_ports.

    Raises:
        Failure: it names the other ports of the node that are kept so; or all of the workers' are.
    """
    found = [
        "%s (%s) in %d-%d" % (port, name, first, last)
        for name, port in sorted(wanted["ports"].items(), key=lambda item: item[1])
        for first, last in spans
        if first <= port <= last
    ]
    if found:
        raise Failure(
            "Windows keeps ports of the node from every program: %s" % ", ".join(found),
            "give the node others (`ray: {first_port: ...}` moves all but the head's own); "
            "`netsh int ipv4 show excludedportrange protocol=tcp` lists what is kept",
        )
    return _kept_from_workers(ray_spec.worker_spans(wanted), spans)


def _kept_from_workers(workers: List[Tuple[int, int]], spans: List[Tuple[int, int]]) -> str:
    """See check_allowed; the same of the ports of worker processes."""
    kept = [
        (max(first, low), min(last, high))
        for low, high in workers
        for first, last in spans
        if max(first, low) <= min(last, high)
    ]
    if not kept:
        return ""
    told = ", ".join("%d-%d" % span if span[0] < span[1] else str(span[0]) for span in sorted(set(kept)))
    taken = {port for first, last in kept for port in range(first, last + 1)}
    if all(port in taken for first, last in workers for port in range(first, last + 1)):
        raise Failure(
            "Windows keeps all ports of the node's worker processes from every program: %s" % told,
            "give them others (`ray: {worker_ports: ...}`); "
            "`netsh int ipv4 show excludedportrange protocol=tcp` lists what is kept",
        )
    return "; Windows keeps %s of worker_ports, which Ray leaves out" % told


def check_fits_head(host: Host, wanted: Spec, head: str) -> None:
    """Raise a Failure unless a node with that specification can join what the head runs now: it would be refused
    again and again, and the one of before be gone."""
    runs: Optional[Spec] = host.wire.ask(head, "destination", None, 60.0)
    if runs is None or ray_spec.fits(wanted, dict(runs, gcs=wanted["gcs"])):
        return
    raise Failure(
        "the head %s runs %s, and this host would get %s"
        % (head, ray_spec.membership(runs), ray_spec.membership(wanted)),
        "apply without --limit: all nodes of a cluster need the same",
    )


def check_left_out(host: Host, now: Spec, wanted: Spec, nodes: Set[str]) -> None:
    """Raise a Failure if hosts that take no part in this run have nodes that could not stay with what the head gets.

    Args:
        nodes: names of the hosts with living nodes.
    """
    others = left_out(host, now, wanted, nodes)
    if others:
        raise Failure(
            "the cluster's nodes on hosts that take no part in this run (%s) could not stay: the head would go from "
            "%s at %s to %s at %s"
            % (others, ray_spec.membership(now), now["gcs"], ray_spec.membership(wanted), wanted["gcs"]),
            "apply without --limit",
        )


def left_out(host: Host, now: Spec, wanted: Spec, nodes: Set[str]) -> str:
    """Name the hosts that take no part in this run and have nodes that could not stay with what the head gets.

    Args:
        nodes: names of the hosts with living nodes.
    """
    if not {"versions", "gcs"} <= set(now) or ray_spec.fits(wanted, now):
        return ""
    limit: List[str] = host.wire.ask("controller", "limit", None, 60.0)
    others = sorted(nodes.difference(limit, ["", host.name])) if limit else []
    return ", ".join(others[:5]) + (" and %d more" % (len(others) - 5) if len(others) > 5 else "")


def check_reachable(gcs: str, head: str) -> None:
    """Raise a Failure unless the head's GCS accepts connections from this host (Ray would try for 14 minutes)."""
    address, _, port = gcs.rpartition(":")
    deadline = time.monotonic() + HEAD_LIMIT
    while True:
        try:
            socket.create_connection((address.strip("[]"), int(port)), 3.0).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise _unreachable(gcs, head, error) from None
        time.sleep(0.3)


def _unreachable(gcs: str, head: str, error: OSError) -> Failure:
    if isinstance(error, socket.timeout):
        how, cause = "no answer", "a firewall on the way, or another network"
    elif isinstance(error, ConnectionRefusedError):
        how, cause = "refused", "Ray's head listens elsewhere, or a firewall rejects it"
    else:
        how, cause = error.strerror or str(error), "the route between the two hosts"
    return Failure(
        "the head %s can't be reached from this host at %s: %s" % (head, gcs, how), "likely cause: %s" % cause
    )


def start_failure(host: Host, name: str, what: str) -> Failure:
    """Return the Failure for a node that did not come up, with the cause from its log."""
    hint = host.platform.start_hint(host, name)
    if hint:
        return Failure("Ray %s: %s" % (what, hint[0]), hint[1])
    cause, log = _cause(host, name), "its whole log on the host: %s" % service.log_path(host, name)
    known = signs.found(service.log_tail(host, name, LINES))
    if known:
        return Failure(
            "Ray %s: %s (%s)" % (what, known[0]["cause"], cause[-400:]), "%s; %s" % (known[0]["remedy"], log)
        )
    return Failure("Ray %s: %s" % (what, cause[-400:]), log)


def was_only_slow(host: Host, name: str) -> bool:
    """Tell whether a node ended because its machine was too busy for the 30 s that Ray gives itself to start
    (_private/node.py of 2.60.0): its service tries again, and may well come through."""
    return TOO_SLOW in _cause(host, name)


def _cause(host: Host, name: str) -> str:
    lines = service.log_tail(host, name)
    telling = [line for line in lines if any(word in line for word in TELLING)]
    return (telling or lines or ["its log is empty"])[-1].strip()


def _bind(port: int) -> Optional[OSError]:
    """Try to listen on a port as Ray will; returns what stands in the way."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - Ray itself binds to all addresses; this only tries to
        except OSError as error:
            return error
    return None


def own_addresses() -> List[str]:
    """Return the addresses of this host that others may reach, as far as they are found quickly."""
    found: Set[str] = set()
    try:
        found.update(str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None))
    except OSError:
        pass
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # sends nothing: asks the routing table for our own address
            found.add(probe.getsockname()[0])
    except OSError:
        pass
    return sorted(address for address in found if not address.startswith("127."))
