"""What the node on this host has said: our service's log, Ray's own logs of this session, or a job's output."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack

from provisioner.remote import service
from provisioner.remote.failure import Failure
from provisioner.remote.tailing import follow_all, open_log, to_last_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Tuple

    from provisioner.remote.host import Host
    from provisioner.remote.pieces import Pieces

OF_RAY = (
    "gcs_server.out", "gcs_server.err", "raylet.out", "raylet.err", "dashboard.log", "dashboard_agent.log",
)  # fmt: skip
"""Ray's own logs that say why a node does not work (Ray 2.60: <temp-dir>/session_latest/logs)."""
JOB = "job-driver-%s.log"
"""A job's output on the head (dashboard/modules/job/job_log_storage_client.py of 2.60.0)."""


def answer(host: Host, args: Dict[str, Any], pieces: Pieces) -> Dict[str, Any]:
    """Send the last ``lines`` (0: none) of the logs that ``which`` means, and with ``follow`` what is added to them.

    ``which`` is "service", "ray" or "job" (then ``job`` is its submission id, and None for ``lines`` means all of it).

    Returns:
        ``{"files": paths}``.

    Raises:
        Failure: there is no such log here.
    """
    paths = _paths(host, args)
    with ExitStack() as stack:
        files: List[Tuple[str, Any]] = []
        for path in paths:
            try:
                file = stack.enter_context(open_log(path))
            except OSError:
                continue
            if args.get("lines") is not None:
                to_last_lines(file, int(args["lines"]))
            files.append((os.path.basename(path), file))
        if not files:
            raise Failure("there is no log on this host: %s" % paths[0], "`provision check` says what differs")
        follow_all(files, pieces, bool(args.get("follow")))
    return {"files": paths}


def _paths(host: Host, args: Dict[str, Any]) -> List[str]:
    name = service.service_name(host)
    if args["which"] == "service":
        return [service.log_path(host, name)]
    spec = service.read_spec(host, name)
    if spec is None:
        raise Failure("no Ray of this cluster is set up on this host", "`provision apply` sets it up")
    folder = os.path.join(str(spec["temp_dir"]), "session_latest", "logs")
    if args["which"] == "ray":
        return [os.path.join(folder, each) for each in OF_RAY]
    if not re.match(r"[A-Za-z0-9_.-]{1,128}\Z", str(args["job"])):
        raise Failure("no job has the name %r" % str(args["job"])[:60], "`provision jobs` lists them")
    return [os.path.join(folder, JOB % args["job"])]
