"""The section ``metrics``: where a cluster's metrics are collected and shown, and what may be wrong with saying so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from provisioner.inventory import values
from provisioner.inventory.document import Document
from provisioner.inventory.implied import check_not_twice
from provisioner.inventory.model import Grafana, Metrics
from provisioner.inventory.problems import Problems
from provisioner.inventory.values import BadValue

OURS = ("RAY_PROMETHEUS_HOST", "RAY_PROMETHEUS_NAME", "RAY_GRAFANA_HOST", "RAY_GRAFANA_IFRAME_HOST")
"""Variables that follow from ``metrics``."""
_WAYS = "write {external: URL}"


def read_metrics(document: Document, problems: Problems) -> Metrics | None:
    """Convert the section ``metrics``; None if there is none, or it means nothing."""
    section = document.value.get("metrics")
    if section is None:
        return None
    check_not_twice(document, OURS, "metrics", problems)
    if "prometheus" not in section:
        problems.add("'metrics' lacks the key 'prometheus'", document.key_place("metrics"), _WAYS)
        return None
    _check_no_passwords(document, problems)
    return Metrics(prometheus=_bare(section["prometheus"]["external"]), grafana=_grafana(section.get("grafana")))


def _check_no_passwords(document: Document, problems: Problems) -> None:
    """Note URLs with a login in them: they would be in variables and answers of Ray's dashboard."""
    for path in (("prometheus", "external"), ("grafana", "external"), ("grafana", "browser")):
        value: Any = document.value["metrics"]
        for step in path:
            value = value.get(step) if isinstance(value, Mapping) else None
        try:
            values.forbid_credentials(str(value))
        except BadValue:
            message = "a user or password in a URL is not kept secret"
            problems.add(message, document.place("metrics", *path), "let it in without one, or through a proxy")


def _grafana(section: Mapping[str, Any] | None) -> Grafana | None:
    if section is None:
        return None
    url = _bare(section["external"])
    return Grafana(url, _bare(section.get("browser", url)), section.get("datasource", "Prometheus"))


def _bare(url: str) -> str:
    """Return a URL as Ray wants it, which puts paths behind it (ray/dashboard/modules/metrics/metrics_head.py)."""
    return url.rstrip("/")
