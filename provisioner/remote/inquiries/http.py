"""A request to the head's own dashboard, made on the head: neither the token nor a port leaves it."""

from __future__ import annotations

import base64
import tempfile

from provisioner.remote.dashboard import REFUSED, Request, of_this_host, reason
from provisioner.remote.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any, Dict, Optional

    from provisioner.remote.host import Host
    from provisioner.remote.pieces import Pieces

LARGEST = 512 * 1024 * 1024
"""Bytes of a body at most; Ray keeps no larger package (GCS_STORAGE_MAX_SIZE, _private/runtime_env/packaging.py)."""
HELD = "held"
"""Where ``host.shared`` has the body that comes before its request, in parts."""


def answer(host: Host, args: Dict[str, Any], pieces: Pieces) -> Dict[str, Any]:
    """Make the request; the pieces are the body of what the dashboard answers.

    The question has ``dashboard`` (address and port), ``method``, ``path``, ``kind`` of the body, ``body`` (base64;
    left out for what was put before), ``timeout`` in seconds; or ``put`` alone (base64), a part of the next one's body.

    Returns:
        ``{"status": of HTTP}``.

    Raises:
        Failure: nobody answers, or it must not be asked.
    """
    if "put" in args:
        return _hold(host, base64.b64decode(args["put"]))
    method, path = str(args.get("method", "GET")), str(args["path"])
    if not (
        method in ("GET", "POST", "PUT", "DELETE") and path.startswith("/") and path.isascii() and path.isprintable()
    ):
        raise Failure("that is no request: %s %s" % (method[:10], path[:80]))
    body = base64.b64decode(args["body"]) if "body" in args else _held(host)
    kind = "application/octet-stream" if args.get("kind") == "bytes" else "application/json"
    request = Request(path, method, body, kind, float(args.get("timeout", 10.0)))
    try:
        status, told = of_this_host(host, args["dashboard"], request)
    except (OSError, ValueError) as error:
        raise silent(error, args["dashboard"]) from None
    if status in REFUSED:
        raise Failure(reason(status, told), "`provision check` says what differs, `provision apply` puts it right")
    pieces.put(told)
    return {"status": status}


def silent(error: Exception, dashboard: Any) -> Failure:
    """Return in words that no dashboard answers here."""
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return Failure(
        "no dashboard of Ray answers on %s:%s: %s" % (dashboard[0], dashboard[1], why),
        "`provision check` says whether Ray runs there; `provision logs` shows what it said",
    )


def _hold(host: Host, part: bytes) -> Dict[str, Any]:
    file: Optional[IO[bytes]] = host.shared.get(HELD)
    if file is None:
        file = host.shared[HELD] = tempfile.TemporaryFile()  # noqa: SIM115 - open until the request comes
    if file.tell() + len(part) > LARGEST:
        raise Failure("more than %d MiB can't be sent to Ray at once" % (LARGEST >> 20), "leave something out")
    file.write(part)
    return {"size": file.tell()}


def _held(host: Host) -> bytes:
    file = host.shared.pop(HELD, None)
    if file is None:
        return b""
    with file:
        file.seek(0)
        return bytes(file.read())
