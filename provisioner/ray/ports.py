"""The ports of a node: every one pinned, none inside the ranges from which operating systems draw at random."""

from __future__ import annotations

from provisioner.errors import InputError
from provisioner.inventory.model import Host

GCS_PORT = 6379
DASHBOARD_PORT = 8265
CLIENT_PORT = 10001
FIRST_PORT = 6380
"""Ray leaves these to chance; below Linux' (32768) and Windows' (49152) random ranges they are free to be pinned."""
WORKER_PORTS = "10002-19999"
NODE_PORTS = (
    "node_manager_port",
    "object_manager_port",
    "runtime_env_agent_port",
    "dashboard_agent_grpc_port",
    "dashboard_agent_listen_port",
    "metrics_export_port",
)
LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Where the dashboard listens by default is the first: only its own host reaches it there."""
HEAD_PORTS = {"port": GCS_PORT, "dashboard_port": DASHBOARD_PORT, "ray_client_server_port": CLIENT_PORT}


def node_ports(host: Host) -> dict[str, int]:
    """Return the ports a node listens on, by their names in the inventory; without those of worker processes."""
    options = host.ray.options
    first = int(options.get("first_port", FIRST_PORT))
    ports = {name: int(options.get(name, first + number)) for number, name in enumerate(NODE_PORTS)}
    if host.role == "head":
        ports.update({name: int(options.get(name, default)) for name, default in HEAD_PORTS.items()})
    return ports


def worker_ports(host: Host) -> list[str]:
    """Return the arguments of ``ray start`` for the ports of worker processes."""
    ports = worker_port_range(host)
    if isinstance(ports, range):
        return [f"--min-worker-port={ports.start}", f"--max-worker-port={ports.stop - 1}"]
    return ["--worker-port-list=" + ",".join(str(port) for port in ports)]


def port_spans(host: Host) -> list[list[int]]:
    """Return the TCP ports on which others reach the processes of a node, as [first, last]."""
    workers = worker_port_range(host)
    spans = [[workers.start, workers.stop - 1]] if isinstance(workers, range) else [[port, port] for port in workers]
    ports = node_ports(host)
    if str(host.ray.options.get("dashboard_host", LOOPBACK[0])) in LOOPBACK:
        ports.pop("dashboard_port", None)
    return sorted([*([port, port] for port in ports.values()), *spans])


def worker_port_range(host: Host) -> range | list[int]:
    """Return the ports of worker processes: a span, or a list."""
    given = host.ray.options.get("worker_ports", WORKER_PORTS)
    if isinstance(given, str) and "-" in given:
        low, high = given.split("-", 1)
        return range(int(low), int(high) + 1)
    return [int(port) for port in (given.split(",") if isinstance(given, str) else given)]


def check_ports(host: Host) -> None:
    """Raise an InputError if two of a node's ports are the same, or one lies among those of its worker processes."""
    seen: dict[int, str] = {}
    for name, port in node_ports(host).items():
        if port in seen:
            raise _clash(host, f"the ports {seen[port]} and {name} of '{host.name}' are both {port}")
        if port in worker_port_range(host):
            raise _clash(host, f"the port {name} ({port}) of '{host.name}' lies among its worker_ports")
        seen[port] = name


def refuse_taken(host: Host, port: int, what: str, section: str) -> None:
    """Raise an InputError if another server's port is one of the node's.

    Args:
        what: how messages call that server.
        section: of the inventory, that gives it its port.
    """
    taken = {each: name for name, each in node_ports(host).items()}
    if port in taken or port in worker_port_range(host):
        raise InputError(
            f"{what} on '{host.name}' would have port {port}, which is its node's ({taken.get(port, 'worker_ports')})",
            remedy=f"give it another one: {section}: {{port: ...}}",
            place=host.place,
        )


def _clash(host: Host, message: str) -> InputError:
    remedy = "change one of them under `ray:` (first_port moves all but the head's own)"
    return InputError(message, remedy=remedy, place=host.place)
