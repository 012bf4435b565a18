"""Questions that are no part of a run: each kind is a file of its own in ``inquiries``, and none changes anything."""

from __future__ import annotations

from provisioner.remote.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from provisioner.remote.host import Host
    from provisioner.remote.pieces import Pieces

KINDS = ("examine", "http", "job", "log", "ports", "run", "state")


def answer(host: Host, what: str, args: Any, pieces: Pieces) -> Any:
    """Return the answer to a question, after its pieces.

    Raises:
        Failure: it can't be answered, in words for the user.
    """
    if what not in KINDS or not isinstance(args, dict):
        raise Failure("this host knows nothing of %r" % what)
    from importlib import import_module

    return import_module("provisioner.remote.inquiries." + what).answer(host, args, pieces)
