"""What a user can do after a run: the dashboard's address, the commands to type next."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from provisioner.events import Verb
from provisioner.inventory.model import Inventory


def shown(file: Path) -> str:
    """Return a path as short as it can be typed."""
    path = Path(os.path.normpath(file.absolute()))
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def dashboard_address(verb: Verb, code: int, inventory: Inventory) -> str:
    if verb != "apply" or code not in (0, 3, 4):
        return ""
    from provisioner.ray.start import dashboard

    address, port = dashboard(inventory)
    here = "" if _is_here(inventory) else f" (on {inventory.head.name})"
    return f"http://{address}:{port}{here}"


def _is_here(inventory: Inventory) -> bool:
    """Tell whether the head runs on this machine, so that its loopback is ours."""
    return inventory.head.address in ("127.0.0.1", "localhost", "::1")


def next_commands(verb: Verb, code: int, file: Path, inventory: Inventory) -> tuple[tuple[str, str], ...]:
    """Return the commands that make sense now."""
    name = shlex.quote(shown(file))
    if code in (3, 4):
        return ((f"provision {verb} {name}", "once the cause is gone: it goes on where it stopped"),)
    if verb == "check":
        return ((f"provision apply {name}", "make it so"),) if code == 2 else ()
    if verb == "teardown":
        return ((f"provision apply {name}", "bring it back"),) if code == 0 else ()
    if code != 0:
        return ()
    tunnel = () if _is_here(inventory) else ((_tunnel(inventory), "brings the dashboard to your browser"),)
    return (
        *tunnel,
        (f"provision check {name}", "see what differs"),
        (f"provision teardown {name}", "stop Ray and remove what was made"),
    )


def _tunnel(inventory: Inventory) -> str:
    """Return the ssh command that brings the head's dashboard here."""
    from provisioner.ray.start import dashboard

    head = inventory.head
    address, port = dashboard(inventory)
    parts = ["ssh", "-N", "-L", f"{port}:{address}:{port}"]
    if head.ssh.port:
        parts += ["-p", str(head.ssh.port)]
    if head.ssh.key:
        parts += ["-i", shown(head.ssh.key)]
    if head.ssh.jump:
        parts += ["-J", head.ssh.jump]
    parts.append(f"{head.ssh.user}@{head.address}" if head.ssh.user else head.address)
    return " ".join(shlex.quote(part) for part in parts)
