"""Where the metrics of a cluster's nodes are, and how Ray's dashboard finds what collects them: by variables of the
head's processes, which it reads when it starts (ray/dashboard/modules/metrics/metrics_head.py of 2.60.0)."""

from __future__ import annotations

from typing import Any

from provisioner.errors import InputError
from provisioner.inventory.model import Host, Inventory
from provisioner.ray.ports import LOOPBACK, node_ports, refuse_taken

HEAD_PORTS = (44217, 44227)
"""On which a head tells of its autoscaler and of its dashboard (AUTOSCALER_METRIC_PORT and DASHBOARD_METRIC_PORT in
ray/_private/ray_constants.py and ray/dashboard/consts.py of 2.60.0), beside the port of every node."""


def variables(inventory: Inventory, host: Host, node_ip: str) -> dict[str, str]:
    """Return the variables by which a node knows where metrics are; only the head's shows any.

    Args:
        node_ip: of the host that runs the cluster's own Prometheus.
    """
    metrics = inventory.metrics
    if metrics is None or host.role != "head":
        return {}
    own = f"http://{_joined(_listens(inventory, node_ip), metrics.port)}"
    found = {"RAY_PROMETHEUS_HOST": metrics.prometheus or own}
    grafana = metrics.grafana
    if grafana:
        found["RAY_GRAFANA_HOST"] = grafana.url
        found["RAY_GRAFANA_IFRAME_HOST"] = grafana.browser
        found["RAY_PROMETHEUS_NAME"] = grafana.datasource
    return found


def server_params(inventory: Inventory, host: Host, addresses: dict[str, str]) -> dict[str, Any]:
    """Return the parameters of ``prometheus`` (see remote/resources/prometheus_server.py).

    Args:
        addresses: those of all nodes, by name of their host.

    Raises:
        InputError: its port is another one's.
    """
    metrics = inventory.metrics
    if metrics is None or metrics.host != host.name:
        raise InputError(
            f"the playbook wants Prometheus on '{host.name}', and the inventory does not",
            remedy="write metrics: {prometheus: NAME}, and `hosts: prometheus-host` in the play",
            place=host.place,
        )
    refuse_taken(host, metrics.port, "Prometheus", "metrics")
    if inventory.redis and inventory.redis.host == host.name and inventory.redis.port == metrics.port:
        message = f"Prometheus and Redis on '{host.name}' would have the same port {metrics.port}"
        raise InputError(message, remedy="give one of them another one", place=host.place)
    targets = {
        each.name: [_joined(addresses[each.name], port) for port in metric_ports(each)] for each in inventory.hosts
    }
    return {"port": metrics.port, "address": _listens(inventory, addresses[host.name]), "targets": targets}


def metric_ports(host: Host) -> list[int]:
    """Return the ports on which a host's node tells its metrics."""
    return [node_ports(host)["metrics_export_port"], *(HEAD_PORTS if host.role == "head" else ())]


def open_ports(inventory: Inventory, host: Host) -> list[list[int]]:
    """Return the ports beside its node's that others must reach on a host so that metrics are collected, as [first,
    last]."""
    metrics = inventory.metrics
    if metrics is None or metrics.host in (None, inventory.head.name):
        return []
    if host.name == metrics.host:
        return [[metrics.port, metrics.port]]
    return [[port, port] for port in HEAD_PORTS] if host.role == "head" else []


def _listens(inventory: Inventory, node_ip: str) -> str:
    """Return where the cluster's own Prometheus listens: the head's dashboard is the only one that must reach it."""
    return LOOPBACK[0] if inventory.metrics and inventory.metrics.host == inventory.head.name else node_ip


def _joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
