"""Who must reach whom, on which ports, and what it means where they don't."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from provisioner.inventory.model import Host
from provisioner.ray.ports import node_ports
from provisioner.ray.start import node_ip
from provisioner.report.doctor import Finding
from provisioner.report.text import several

OF_NODES = ("node_manager_port", "object_manager_port")
"""What every node reaches of every other (docs: ray-core/configure.html, "Ports configurations")."""
OF_HEAD = ("port",)
"""What every node reaches of the head: the GCS."""
TO_WORKERS = (
    "dashboard_agent_grpc_port",
    "dashboard_agent_listen_port",
    "runtime_env_agent_port",
    "metrics_export_port",
)
"""What only the head reaches of the others; a node lives without."""


@dataclass(frozen=True)
class Path:
    """One connection that must be possible."""

    source: str
    target: str
    address: str
    name: str
    port: int


def needed(source: Host, hosts: Iterable[Host]) -> list[Path]:
    """Return what a host must reach of the others."""
    found = []
    for target in hosts:
        if target.name == source.name:
            continue
        ports = node_ports(target)
        names = OF_NODES + (OF_HEAD if target.role == "head" else ())
        found += [Path(source.name, target.name, node_ip(target), name, ports[name]) for name in names]
    return found


def listened(host: Host) -> list[int]:
    """Return the ports of a host that the others need."""
    ports = node_ports(host)
    return sorted(ports[name] for name in OF_NODES + (OF_HEAD if host.role == "head" else ()))


def judge(results: Mapping[Path, str], running: Mapping[str, bool]) -> list[Finding]:
    """Return what is wrong between hosts: one finding for each host and way in which its ports are not reached.

    Args:
        results: what came of each connection (see remote/inquiries/ports.py).
        running: whether somebody listens on the ports of a host: Ray, or we in its place.
    """
    found = []
    for target in dict.fromkeys(path.target for path in results):
        mine = {path: word for path, word in results.items() if path.target == target}
        sources = {path.source for path in mine}
        for word in dict.fromkeys(word for word in mine.values() if word != "ok"):
            bad = [path for path, said in mine.items() if said == word]
            found += _broken(target, word, bad, sources, running.get(target, False))
    return found


def _broken(target: str, word: str, bad: Sequence[Path], sources: set[str], running: bool) -> list[Finding]:
    """Tell it where it is to be put right: at the host that is not reached and, if others reach it, at who can't."""
    names = ", ".join(f"{port} ({name})" for port, name in sorted({(path.port, path.name) for path in bad}))
    message, remedy = _meaning(word, running)
    failing = list(dict.fromkeys(path.source for path in bad))
    everybody = len(failing) == len(sources) and len(sources) > 1
    who = "nobody reaches it" if everybody else f"{several(failing, 4)} can't reach it"
    found = [Finding(target, "cause", "ports", f"{who} on {names}: {message}", remedy)]
    for source in () if everybody else failing:
        found.append(Finding(source, "cause", "ports", f"it can't reach {target} on {names}: {message}", remedy))
    return found


def _meaning(word: str, running: bool) -> tuple[str, str]:
    """Return what an answer means, and what to do about it."""
    if word == "silent":
        return (
            "no answer at all, as where a firewall drops packets",
            "let these ports through on that host and between; the task `firewall: {}` opens the host's own",
        )
    if word == "refused" and not running:
        return "nothing listens there", "see why Ray does not run on that host"
    if word == "refused":
        return (
            "refused although somebody listens there, as a firewall does that rejects",
            "let these ports through on that host and on what lies between",
        )
    if word == "reset":
        return "the connection is cut at once, as by a filter on the way", "look at what lies between the two hosts"
    if word == "no way":
        return "there is no route to it", "see `address:` and `node_ip`, the cable, and the routes of both hosts"
    if word == "small only":
        return (
            "small packets come through and large ones do not",
            "set the MTU of both adapters to what the way between them carries (VPNs: 1420 or less)",
        )
    return word, "look at the network between the two hosts"
