"""What may keep this host's node out of the cluster, as far as it can be seen here; nothing is judged."""

from __future__ import annotations

import os
import shutil
import time

from provisioner.remote import service, signs
from provisioner.remote.failure import Failure, from_exception
from provisioner.remote.inquiries.log import OF_RAY, session_logs
from provisioner.remote.resources import ray_checks, ray_token
from provisioner.remote.tailing import open_log, to_last_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List

    from provisioner.remote.host import Host
    from provisioner.remote.pieces import Pieces

    Facts = Dict[str, Any]

LINES = 40
"""Of each log."""
LONGEST = 16 * 1024
"""Characters of each log."""


def answer(host: Host, args: Facts, pieces: Pieces) -> Facts:
    """Return what is true here; what can't be looked at is in ``unknown`` with its reason.

    The question has the ``head``'s name.
    """
    name = service.service_name(host)
    spec = service.read_spec(host, name)
    looks: Dict[str, Callable[[], Any]] = {
        "clock": time.time,
        "address": lambda: _address(host),
        "service": lambda: _service(host, name),
        "spec": lambda: _told(spec),
        "environment": lambda: bool(spec) and os.path.exists(str((spec or {})["python"])),
        "token": lambda: _token(host, spec, str(args["head"])),
        "log": lambda: service.log_tail(host, name, LINES),
        "signs": lambda: _signs(host, name, bool(spec)),
        "disk": lambda: _disk(host, spec),
        "mtu": _mtu,
        "findings": lambda: host.platform.findings(host),
    }
    facts: Facts = {"unknown": {}}
    for what, look in looks.items():
        try:
            facts[what] = look()
        except Exception as error:
            facts["unknown"][what] = from_exception(error).message
    return facts


def _address(host: Host) -> Facts:
    told = {"node_ip": host.node_ip, "own": ray_checks.own_addresses(), "problem": "", "remedy": ""}
    try:
        ray_checks.check_address(host.node_ip)
    except Failure as failure:
        told.update(problem=failure.message, remedy=failure.remedy)
    return told


def _service(host: Host, name: str) -> Facts:
    state = host.service_manager.observe(host, name)
    flaws = [] if state["defined"] is None else service.flaws(host, name, state)
    told = {each: state.get(each) for each in ("enabled", "active", "failing", "restarts")}
    return dict(told, defined=state["defined"] is not None, flaws=[list(flaw) for flaw in flaws])


def _told(spec: Any) -> Any:
    """Return what a node is started with that may be told; no variable, no argument."""
    return {name: spec[name] for name in ("versions", "ports", "node_ip", "gcs", "head")} if spec else None


def _token(host: Host, spec: Any, head: str) -> List[List[str]]:
    if not spec:
        return []
    found = ray_token.differences(host, spec, spec, head, "")
    return [[each["what"], each["before"], each["after"]] for each in found]


def _signs(host: Host, service_name: str, is_set_up: bool) -> List[Dict[str, str]]:
    """Return what the service's and Ray's own logs are signs of."""
    lines = service.log_tail(host, service_name, LINES)
    for name in OF_RAY if is_set_up else ():
        try:
            with open_log(os.path.join(session_logs(host), name)) as file:
                to_last_lines(file, LINES)
                lines += file.read(LONGEST).decode("utf-8", "replace").splitlines()
        except OSError:
            continue
    return signs.found(lines)


def _disk(host: Host, spec: Any) -> Facts:
    """Return the free bytes where we and where Ray's sessions are."""
    places = {host.root, str((spec or {}).get("temp_dir") or host.root)}
    found = {place: shutil.disk_usage(place) for place in places if os.path.isdir(place)}
    return {place: {"free": usage.free, "total": usage.total} for place, usage in found.items()}


def _mtu() -> Dict[str, int]:
    """Return the largest packet of each adapter; nothing where the OS does not tell it in files."""
    root, found = "/sys/class/net", {}
    for name in os.listdir(root) if os.path.isdir(root) else ():
        try:
            with open(os.path.join(root, name, "mtu")) as file:
                found[name] = int(file.read())
        except (OSError, ValueError):
            continue
    return found
