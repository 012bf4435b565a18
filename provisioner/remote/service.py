"""The service that keeps a Ray node running: one specification in JSON, one launcher, whatever manages it.

The specification holds the command, its environment and its log; the service manager only ever knows the launcher and
the path of a copy of the specification. So nothing needs quoting for systemd, launchd or Task Scheduler, and no secret
is in a file that others can read. The copy belongs to the account that runs Ray, and whoever runs a job there may
change it: what we believe, and run as root, comes from the original, which is ours.
"""

from __future__ import annotations

import json
import os

from provisioner.remote import secrets
from provisioner.remote.files import content, remove_tree
from provisioner.remote.tailing import open_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any, Callable, Dict, List, Optional, Set, Tuple

    from provisioner.remote.host import Host


MOST = 16 * 1024 * 1024
"""Bytes of a specification at most: a hundred times more than one has."""
UNFINISHED: List[Callable[[], None]] = []
"""What must still be done if this program is ended now: a node that was stopped is started, as what it says by then."""


def finish() -> None:
    """Do what is unfinished, as far as it can be done: nobody is left to be told, and the next run sees what is."""
    try:
        for each in list(UNFINISHED):
            each()
    except Exception:
        return


def service_name(host: Host) -> str:
    return "ray-" + host.cluster


def redis_name(host: Host) -> str:
    return "redis-" + host.cluster


def prometheus_name(host: Host) -> str:
    return "prometheus-" + host.cluster


def title(host: Host, name: str) -> str:
    """Return what a service runs, in words."""
    return {redis_name(host): "Redis", prometheus_name(host): "Prometheus"}.get(name, "Ray node")


def is_trusted(host: Host, name: str, connection: socket.socket) -> bool:
    """Tell whether root, we, or the account that a service runs under hold the far end of a connection: the declared
    one, or, until it is started anew, the one that it was defined with."""
    return host.platform.is_trusted(connection, host.account, host.service_manager.defined_account(host, name))


def mark(host: Host, name: str) -> str:
    """Return what tells a service's processes from a stranger's; Ray's are ended by theirs, and by nothing else."""
    return host.root if name == service_name(host) else "%s:%s" % (host.root, name)


def spec_path(host: Host, name: str) -> str:
    return host.path("service", name + ".json")


def copy_path(host: Host, name: str) -> str:
    """Return the path of the copy that the launcher reads."""
    return host.path("service", name + ".run.json")


def history_path(host: Host, name: str) -> str:
    """Return where it is noted what a service ran with before (see resources/ray_history.py)."""
    return host.path("service", name + ".history.json")


def log_path(host: Host, name: str) -> str:
    return host.path("log", name + ".log")


def launch_arguments(host: Host, name: str, verb: str = "run", python: str = "") -> List[str]:
    """Return the command that the service manager runs; ``python``: the interpreter, if not the specification's.

    A program that writes its own log and needs no variables is run without the launcher (``direct``).
    """
    spec = read_spec(host, name)
    if verb == "run" and spec and spec.get("direct"):
        return list(spec["argv"])
    if not python:
        python = spec["python"] if spec else "python3"
    return [python, "-I", "-S", host.path("service", "launch.py"), verb, copy_path(host, name)]


def read_spec(host: Host, name: str) -> Optional[Dict[str, Any]]:
    """Return the specification on the host, None if there is none, it is no specification, or not ours."""
    try:
        spec = json.loads(content(spec_path(host, name), MOST, ours=True) or b"")
    except (ValueError, RecursionError):
        return None
    return spec if isinstance(spec, dict) and {"argv", "env", "python"} <= set(spec) else None


def is_intact(host: Host, name: str) -> bool:
    """Tell whether the launcher reads what was written for it. The account's copy is compared and never understood:
    what it holds by now may be made to keep us busy, or to end us."""
    wanted = content(spec_path(host, name), MOST)
    return content(copy_path(host, name), len(wanted or b"")) == wanted


def is_whole(host: Host, name: str, state: Dict[str, Any]) -> bool:
    """Tell whether the service is defined as it should be, starts at boot, and reads what was written for it."""
    return not flaws(host, name, state)


def flaws(host: Host, name: str, state: Dict[str, Any]) -> List[Tuple[str, str, str]]:
    """Return (what, before, after) of everything that keeps the service from being whole; see ``is_whole``."""
    what = "service %s" % name
    if state["defined"] is None:
        return [(what, "missing", "as declared")]
    found = []
    wanted = host.service_manager.definition(host, name)
    if state["defined"] != wanted:
        now, then = (host.service_manager.parts(host, text) for text in (state["defined"], wanted))
        found = [
            ("%s: %s" % (what, part), now.get(part, ""), then.get(part, ""))
            for part in sorted({*now, *then})
            if now.get(part) != then.get(part)
        ] or [(what, "other settings", "as declared")]
    if not state["enabled"]:
        found.append((what, "disabled", "enabled"))
    if not is_intact(host, name):
        found.append(("what service %s starts" % name, "edited or incomplete", "as declared"))
    return found


def write_spec(host: Host, name: str, spec: Dict[str, Any]) -> None:
    """Write the launcher, the specification, and the copy of it that only the account that runs Ray can read."""
    launcher = os.path.join(os.path.dirname(os.path.abspath(__file__)), host.service_manager.launcher + ".py")
    with open(launcher, "rb") as file:
        host.write(host.path("service", "launch.py"), file.read())
    text = json.dumps(spec, indent=1, sort_keys=True).encode("utf-8")
    host.write(spec_path(host, name), text, 0o600)
    secrets.write(host, copy_path(host, name), text, host.account)
    host.platform.make_folder(host.path("log"), host.account)
    from provisioner.remote.resources import ray_sessions

    account, enclosure = host.service_manager.runs_as(host), spec.get("enclosure", "")
    host.platform.make_sessions(spec["temp_dir"], account, enclosure, ray_sessions.is_noted(host, spec))


def remove_files(host: Host, name: str) -> None:
    """Remove what was written for a service, and the folder if there is no other one."""
    for path in _files(host, name):
        if os.path.exists(path):
            os.unlink(path)
    if not shared_with(host, name):
        remove_tree(host.path("service"))


def shared_with(host: Host, name: str) -> bool:
    """Tell whether there is another service of ours than that one."""
    return any(os.path.exists(spec_path(host, each)) for each in _others(host, name))


def kept_for(host: Host, name: str) -> Set[str]:
    """Return the names of the files in the services' folder that are not that service's alone."""
    files = [path for each in _others(host, name) for path in _files(host, each)]
    return {"launch.py", *(os.path.basename(path) for path in files)}


def _others(host: Host, name: str) -> Set[str]:
    return {service_name(host), redis_name(host), prometheus_name(host)} - {name}


def _files(host: Host, name: str) -> Tuple[str, ...]:
    return spec_path(host, name), copy_path(host, name), host.path("service", name + ".state")


def log_tail(host: Host, name: str, lines: int = 12) -> List[str]:
    """Return the last lines the service wrote, without color codes."""
    import re

    try:
        with open_log(log_path(host, name)) as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 16384))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in text.splitlines() if line.strip()][-lines:]
