"""How Ray's dashboard finds what collects the cluster's metrics: by variables of the head's processes, which it reads
when it starts (ray/dashboard/modules/metrics/metrics_head.py of 2.60.0)."""

from __future__ import annotations

from provisioner.inventory.model import Host, Inventory


def variables(inventory: Inventory, host: Host) -> dict[str, str]:
    """Return the variables by which a node knows where metrics are; only the head's shows any."""
    metrics = inventory.metrics
    if metrics is None or host.role != "head":
        return {}
    found = {"RAY_PROMETHEUS_HOST": metrics.prometheus}
    grafana = metrics.grafana
    if grafana:
        found["RAY_GRAFANA_HOST"] = grafana.url
        found["RAY_GRAFANA_IFRAME_HOST"] = grafana.browser
        found["RAY_PROMETHEUS_NAME"] = grafana.datasource
    return found
