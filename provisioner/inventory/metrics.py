"""The section ``metrics``: where a cluster's metrics are collected and shown, and what may be wrong with saying so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from provisioner.inventory import values
from provisioner.inventory.document import Document
from provisioner.inventory.implied import check_not_twice
from provisioner.inventory.model import Grafana, Host, Metrics
from provisioner.inventory.problems import Problems, suggestion
from provisioner.inventory.values import BadValue

OURS = ("RAY_PROMETHEUS_HOST", "RAY_PROMETHEUS_NAME", "RAY_GRAFANA_HOST", "RAY_GRAFANA_IFRAME_HOST")
"""Variables that follow from ``metrics``."""
OWN_PORT = 9090
_WAYS = "write {prometheus: head}, {prometheus: NAME} or {prometheus: {external: URL}}"


def read_metrics(document: Document, hosts: list[Host], problems: Problems) -> Metrics | None:
    """Convert the section ``metrics``; None if there is none, or it means nothing."""
    section = document.value.get("metrics")
    if section is None:
        return None
    check_not_twice(document, OURS, "metrics", problems)
    if "prometheus" not in section:
        problems.add("'metrics' lacks the key 'prometheus'", document.key_place("metrics"), _WAYS)
        return None
    _check_no_passwords(document, problems)
    wanted, grafana = section["prometheus"], _grafana(section.get("grafana"))
    if isinstance(wanted, str):
        return _own(wanted, section.get("port", OWN_PORT), grafana, document, hosts, problems)
    if "port" in section:
        message = "'port' and 'external' do not go together"
        problems.add(message, document.key_place("metrics", "port"), "write the port into the URL")
    return Metrics(_bare(wanted["external"]), grafana=grafana)


def with_collector(hosts: list[Host], metrics: Metrics | None) -> list[Host]:
    """Return the hosts, the one that runs the cluster's own Prometheus marked."""
    if metrics is None or metrics.host is None:
        return hosts
    return [replace(host, runs_prometheus=True) if host.name == metrics.host else host for host in hosts]


def _own(
    wanted: str, port: int, grafana: Grafana | None, document: Document, hosts: list[Host], problems: Problems
) -> Metrics | None:
    place = document.place("metrics", "prometheus")
    host = next((each for each in hosts if each.name == wanted or (wanted == "head" and each.role == "head")), None)
    if host is None:
        problems.add(
            f"'{wanted}', which shall run Prometheus, is no host of this inventory", place,
            suggestion(wanted, ["head", *(each.name for each in hosts)], "known"),
        )  # fmt: skip
        return None
    if host.os == "windows":
        message = f"'{host.name}' is Windows, where Prometheus is not run"
        problems.add(message, place, "name a Linux or macOS host, or write {external: URL}")
    return Metrics(host=host.name, port=port, grafana=grafana)


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
