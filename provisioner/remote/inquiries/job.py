"""A job's output as it is written, until the job has ended: from its file on the head, where Ray runs its driver."""

from __future__ import annotations

import os
import re
import threading
import time

from provisioner.remote.dashboard import Request, of_this_host, parsed
from provisioner.remote.failure import Failure
from provisioner.remote.inquiries.http import silent
from provisioner.remote.inquiries.log import session_logs
from provisioner.remote.tailing import follow, open_log, to_last_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional

    from provisioner.remote.host import Host
    from provisioner.remote.pieces import Pieces

LOG = "job-driver-%s.log"
"""A job's output (dashboard/modules/job/job_log_storage_client.py of 2.60.0)."""
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
"""States from which a job goes on to no other (dashboard/modules/job/common.py of 2.60.0)."""
LOOK = 0.5
"""Seconds between two looks at the job's state."""
LOST = 30.0
"""Seconds without an answer of the dashboard after which the job is given up."""


def answer(host: Host, args: Dict[str, Any], pieces: Pieces) -> Dict[str, Any]:
    """Send what the job ``id`` has printed (the last ``lines``, all if None) and, with ``follow``, what it prints until
    it has ended; the address of the dashboard is ``dashboard``.

    Returns:
        What the dashboard says of the job (JobDetails).

    Raises:
        Failure: there is no such job, or the dashboard does not answer any more.
    """
    name = str(args["id"])
    if not re.match(r"[A-Za-z0-9_.-]{1,128}\Z", name):
        raise Failure("no job has the name %r" % name[:60], "`provision jobs` lists them")
    watch = _Watch(host, args["dashboard"], name)
    watch.look()
    path = os.path.join(session_logs(host), LOG % name)
    if args.get("follow"):
        threading.Thread(target=watch.watch, args=(pieces.unwanted,), daemon=True).start()
        while not (os.path.exists(path) or watch.ended.is_set() or pieces.unwanted.is_set()):
            time.sleep(0.1)
    else:
        watch.ended.set()
    _send(path, args.get("lines"), pieces, watch.ended)
    if watch.failure is not None:
        raise watch.failure
    return watch.details


def _send(path: str, lines: Optional[int], pieces: Pieces, ended: threading.Event) -> None:
    try:
        file = open_log(path)
    except OSError:  # it has printed nothing, or never began
        return
    with file:
        if lines is not None:
            to_last_lines(file, int(lines))
        follow(file, pieces, ended)


class _Watch:
    """What the dashboard says of a job, until it has ended."""

    def __init__(self, host: Host, dashboard: Any, name: str) -> None:
        self._host = host
        self._dashboard = dashboard
        self._name = name
        self.details: Dict[str, Any] = {}
        self.failure: Optional[Failure] = None
        self.ended = threading.Event()

    def look(self) -> None:
        """Ask once; a Failure if there is no such job, or no answer."""
        try:
            status, body = of_this_host(self._host, self._dashboard, Request("/api/jobs/" + self._name))
            if status == 404:
                raise Failure("there is no job %s" % self._name, "`provision jobs` lists them")
            details = parsed(status, body)
        except (OSError, ValueError) as error:
            raise silent(error, self._dashboard) from None
        names = ("submission_id", "status", "message", "driver_exit_code", "start_time", "end_time", "entrypoint")
        self.details = {each: details.get(each) for each in names}

    def watch(self, unwanted: threading.Event) -> None:
        """Ask again and again until the job has ended."""
        heard = time.monotonic()
        while self.details["status"] not in ENDED and not unwanted.wait(LOOK):
            try:
                self.look()
                heard = time.monotonic()
            except Failure as failure:
                if time.monotonic() - heard > LOST:
                    self.failure = failure
                    break
        self.ended.set()
