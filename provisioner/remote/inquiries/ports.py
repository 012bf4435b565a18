"""Real connections: short-lived listeners where none of Ray's is, and attempts to reach other hosts'."""

from __future__ import annotations

import errno
import socket
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List

    from provisioner.remote.host import Host
    from provisioner.remote.pieces import Pieces

MOST = 4096
"""Connections that are tried for one question."""
AT_ONCE = 64
LIFE = 60.0
"""Seconds that our listeners stay, if the conversation does not end before."""
ECHO = 32 * 1024
"""Bytes that go there and back where the other side is ours: packets of full size get lost on a path whose MTU lies."""
SILENCE = (errno.ETIMEDOUT, getattr(errno, "WSAETIMEDOUT", errno.ETIMEDOUT))


def answer(host: Host, args: Dict[str, Any], pieces: Pieces) -> Dict[str, Any]:
    """Listen (``listen``: ports) or try to reach others (``reach``: [address, port, is it ours], with ``timeout``).

    Returns:
        ``{"opened": ports}`` where nobody else listened, or ``{"results": words}``: ok, refused, reset, silent, no way,
        small only (no packet of full size comes through), or what the OS says.
    """
    if "listen" in args:
        return {"opened": [port for port in args["listen"] if _listen(host.node_ip, int(port))]}
    return {"results": _reach(args["reach"][:MOST], float(args["timeout"]))}


def _listen(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if _is_taken(family, address, port):
            raise OSError(errno.EADDRINUSE, "somebody listens there")
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(AT_ONCE)
    except OSError:
        listener.close()
        return False
    listener.settimeout(LIFE)
    threading.Thread(target=_serve, args=(listener, time.monotonic() + LIFE), daemon=True).start()
    return True


def _is_taken(family: int, address: str, port: int) -> bool:
    """Tell whether somebody listens there: with SO_REUSEADDR Windows would let us push in."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            probe.connect((address, port))
        return True
    except OSError:
        return False


def _serve(listener: socket.socket, until: float) -> None:
    with listener:
        while time.monotonic() < until:
            try:
                taken, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_echo, args=(taken,), daemon=True).start()


def _echo(taken: socket.socket) -> None:
    try:
        with taken:
            taken.settimeout(10.0)
            while True:
                piece = taken.recv(65536)
                if not piece:
                    return
                taken.sendall(piece)
    except OSError:
        return


def _reach(targets: List[Any], timeout: float) -> List[str]:
    results = ["silent"] * len(targets)
    places = iter(enumerate(targets))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                each = next(places, None)
            if each is None:
                return
            number, (address, port, ours) = each
            results[number] = _try(str(address), int(port), bool(ours), timeout)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(AT_ONCE, len(targets)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def _try(address: str, port: int, ours: bool, timeout: float) -> str:
    try:
        with socket.create_connection((address, port), timeout) as connection:
            if not ours:
                return "ok"
            try:
                return _full(connection, timeout)
            except socket.timeout:
                return "small only"
    except socket.timeout:
        return "silent"
    except ConnectionRefusedError:
        return "refused"
    except ConnectionResetError:
        return "reset"
    except OSError as error:
        if error.errno in SILENCE:
            return "silent"
        if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
            return "no way"
        return error.strerror or str(error)


def _full(connection: socket.socket, timeout: float) -> str:
    connection.settimeout(timeout)
    connection.sendall(b"x" * ECHO)
    left = ECHO
    while left > 0:
        piece = connection.recv(65536)
        if not piece:
            return "reset"
        left -= len(piece)
    return "ok"
