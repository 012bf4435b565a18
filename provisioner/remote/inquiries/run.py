"""A program of the user's, run as the account that logs in and by no shell: what it prints comes as it is printed."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading

from provisioner.remote.failure import Failure, from_exception
from provisioner.remote.tailing import follow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

    from provisioner.remote.host import Host
    from provisioner.remote.pieces import Pieces


def answer(host: Host, args: Dict[str, Any], pieces: Pieces) -> Dict[str, Any]:
    """Run ``argv`` in the account's home folder; the pieces are its output, errors and all, in their order.

    Returns:
        ``{"code": exit code}``.

    Raises:
        Failure: there is no such program, or it did not end within ``timeout`` seconds.
    """
    argv, timeout = args["argv"], float(args["timeout"])
    if not (isinstance(argv, list) and argv and all(isinstance(word, str) and "\0" not in word for word in argv)):
        raise Failure("no program was named")
    folder = tempfile.mkdtemp(prefix="provision-")
    try:
        run = _Run(host, argv, timeout, os.path.join(folder, "output"))
        # unbuffered, and not the writer's: each has a place of its own in the file
        with open(run.path, "rb", buffering=0) as output:
            if not follow(output, pieces, run.ended):
                raise Failure("%s is ended: nobody wants to know more of it" % argv[0])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if run.failure is not None:
        raise run.failure
    return {"code": run.code}


class _Run:
    """A program that runs, and what has become of it."""

    def __init__(self, host: Host, argv: List[str], timeout: float, path: str) -> None:
        self.path = path
        self.code = -1
        self.failure: Optional[Failure] = None
        self.ended = threading.Event()
        output = open(path, "wb", buffering=0)  # noqa: SIM115 - the thread's
        threading.Thread(target=self._run, args=(host, argv, timeout, output), daemon=True).start()

    def _run(self, host: Host, argv: List[str], timeout: float, output: Any) -> None:
        try:
            with output:
                self.code = host.platform.run_into(output, argv, timeout, os.path.expanduser("~"))
        except Exception as error:
            self.failure = from_exception(error)
        finally:
            self.ended.set()
