"""What a user can do after a run: the dashboard's address, the commands to type next."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from provisioner.events import Verb
from provisioner.inventory.model import Inventory
from provisioner.portable import command_line
from provisioner.ray import auth
from provisioner.ray.start import dashboard


def shown(file: Path) -> str:
    """Return a path as short as it can be typed."""
    path = Path(os.path.normpath(file.absolute()))
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def dashboard_address(inventory: Inventory) -> str:
    """Return the dashboard's address and where it is one."""
    address, port = dashboard(inventory)
    here = "" if _is_here(inventory) else f" (on {inventory.head.name})"
    return f"http://{address}:{port}{here}"


def _is_here(inventory: Inventory) -> bool:
    """Tell whether the head runs on this machine, so that its loopback is ours."""
    return inventory.head.address in ("127.0.0.1", "localhost", "::1")


def next_commands(
    verb: Verb, code: int, inventory: Inventory, file: Path, flags: Mapping[str, Any], again: bool = True
) -> tuple[tuple[str, str], ...]:
    """Return the commands that make sense now, with the playbook and the limit of this one.

    Args:
        again: the same command may do more another time.
    """
    same = _typed(file, flags)
    down = _typed(file, {**flags, "bundle": None})
    if code in (3, 4) and not again:
        return ((f"provision check {same}", "see what differs from the inventory"),)
    if code in (3, 4):
        hint = "look again" if verb == "check" else "it goes on where it stopped"
        return ((f"provision {verb} {same}", f"once the cause is gone: {hint}"),)
    if code == 5:
        return ((f"provision {verb} {same}", "once the other run has ended"),)
    if code == 130:
        back = ((f"provision apply {same}", "bring back what is gone"),) if verb == "teardown" else ()
        return ((f"provision {verb} {same}", "look again" if verb == "check" else "go on where it stopped"), *back)
    if verb == "check":
        return ((f"provision apply {same}", "make it so"),) if code == 2 else ()
    if code != 0:
        return ()
    if verb == "teardown":
        purge = () if flags["purge"] else ((f"provision teardown {same} --purge", "remove the environments as well"),)
        return ((f"provision apply {same}", "bring it back"), *purge)
    if verb == "rollback":
        forward = f"provision apply {same}", "go forward again, to what the inventory declares"
        return (forward, (f"provision check {same}", "see what differs from it"))
    tunnel = () if _is_here(inventory) else ((_tunnel(inventory), "brings the dashboard to your browser"),)
    token = ((f"provision token show {command_line([shown(file)])}", "the token that it, and jobs, ask for"),)
    return (
        *tunnel,
        *(token if auth.chosen(inventory) == "token" else ()),
        (f"provision check {same}", "see what differs"),
        (f"provision teardown {down}", "stop Ray and remove all but the environments"),
    )


def _typed(file: Path, flags: Mapping[str, Any]) -> str:
    """Return the arguments that say the same inventory, playbook and hosts again."""
    parts = [shown(file)]
    if flags["playbook"]:
        parts += ["--playbook", flags["playbook"]]
    if flags.get("bundle"):
        parts += ["--bundle", flags["bundle"]]
    for limit in flags["limit"]:
        parts += ["--limit", limit]
    return command_line(parts)


def _tunnel(inventory: Inventory) -> str:
    """Return the ssh command that brings the head's dashboard here."""
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
    return command_line(parts)
