"""What the node on this host has said: our service's log, or Ray's own logs of this session."""

from __future__ import annotations

import os
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


def answer(host: Host, args: Dict[str, Any], pieces: Pieces) -> Dict[str, Any]:
    """Send the last ``lines`` (0: none) of the logs that ``which`` means, and with ``follow`` what is added to them.

    ``which`` is "service" or "ray".

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
    return [os.path.join(session_logs(host), each) for each in OF_RAY]


def session_logs(host: Host) -> str:
    """Return the folder of the logs of Ray's session; a Failure if no Ray of ours is set up here."""
    spec = service.read_spec(host, service.service_name(host))
    if spec is None:
        raise Failure("no Ray of this cluster is set up on this host", "`provision apply` sets it up")
    return os.path.join(str(spec["temp_dir"]), "session_latest", "logs")
