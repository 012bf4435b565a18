"""The section ``metrics``: what it means for hosts, ports and variables, and every mistake in it with its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.declaration import Declarer
from provisioner.errors import InputError, InputErrors
from provisioner.inventory.load import load_inventory
from provisioner.inventory.model import Grafana, Inventory, Metrics
from provisioner.playbook.load import load_playbook
from provisioner.ray import start

PLAYBOOK = Path(__file__).parents[2] / "playbooks" / "cluster.yml"
TOP = "cluster: lab\npython: 3.11.9\nray: {version: 2.60.0}\n"
HOSTS = (
    "head: {ctl: {address: 10.0.0.10}}\nworkers: {w1: {address: 10.0.0.11}, pc: {address: 10.0.0.12, os: windows}}\n"
)
PROMETHEUS, GRAFANA = "http://10.9.9.9:9090", "http://10.9.9.9:3000"
BOTH = f"{{prometheus: {{external: '{PROMETHEUS}'}}, grafana: {{external: '{GRAFANA}'}}}}"

pytestmark = pytest.mark.usefixtures("own_cache")


def load(tmp_path: Path, metrics: str, hosts: str = HOSTS) -> Inventory:
    file = tmp_path / "inv.yml"
    file.write_text(f"{TOP}metrics: {metrics}\n{hosts}", encoding="utf-8")
    return load_inventory(file, {})


def mistakes(tmp_path: Path, metrics: str, hosts: str = HOSTS) -> list[str]:
    with pytest.raises((InputError, InputErrors)) as caught:
        load(tmp_path, metrics, hosts)
    found = getattr(caught.value, "errors", [caught.value])
    return [str(each).removeprefix(f"{tmp_path / 'inv.yml'}:").partition("\n")[0] for each in found]


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (f"{{prometheus: {{external: '{PROMETHEUS}/'}}}}", Metrics(prometheus=PROMETHEUS)),
        ("{prometheus: {external: 'https://m.lab/prom/'}}", Metrics(prometheus="https://m.lab/prom")),
        ("{prometheus: head}", Metrics(host="ctl", port=9090)),
        ("{prometheus: w1, port: 9999}", Metrics(host="w1", port=9999)),
        (BOTH, Metrics(prometheus=PROMETHEUS, grafana=Grafana(GRAFANA, GRAFANA, "Prometheus"))),
        (f"{{prometheus: {{external: '{PROMETHEUS}'}}, grafana: {{external: '{GRAFANA}', browser: 'https://g.lab/', "
         "datasource: Lab 1}}", Metrics(prometheus=PROMETHEUS, grafana=Grafana(GRAFANA, "https://g.lab", "Lab 1"))),
    ],
)  # fmt: skip
def test_what_it_says(written: str, wanted: Metrics, tmp_path: Path) -> None:
    assert load(tmp_path, written).metrics == wanted


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("{}", ["4:10: 'metrics' wants at least 1 key(s)"]),
        (f"{{grafana: {{external: '{GRAFANA}'}}}}", ["4:1: 'metrics' lacks the key 'prometheus'"]),
        ("{prometheus: w9}", ["4:23: 'w9', which shall run Prometheus, is no host of this inventory"]),
        ("{prometheus: pc}", ["4:23: 'pc' is Windows, where Prometheus is not run"]),
        ("{port: 9090, prometheus: {external: 'http://a'}}", ["4:11: 'port' and 'external' do not go together"]),
        ("{prometheus: {external: '10.9.9.9:9090'}}", ["4:34: 'external' wants a URL such as http://10.0.0.5:9090; "
                                                       "got '10.9.9.9:9090'"]),
        ("{prometheus: {external: 'http://me:pw@a'}}", ["4:34: a user or password in a URL is not kept secret"]),
        (f"{{prometheus: {{external: '{PROMETHEUS}'}}, grafana: {{external: 'http://a', browser: 'http://me@a'}}}}",
         ["4:100: a user or password in a URL is not kept secret"]),
    ],
)  # fmt: skip
def test_mistakes(written: str, wanted: list[str], tmp_path: Path) -> None:
    assert mistakes(tmp_path, written) == wanted


@pytest.mark.parametrize("name", ["RAY_PROMETHEUS_HOST", "RAY_PROMETHEUS_NAME", "RAY_GRAFANA_HOST"])
def test_what_ray_calls_by_another_name_is_said_once(name: str, tmp_path: Path) -> None:
    hosts = f"head: {{ctl: {{address: 10.0.0.10, ray: {{env: {{{name}: 'http://a'}}}}}}}}\n"
    assert mistakes(tmp_path, BOTH, hosts) == [f"5:46: {name} follows from 'metrics'"]


def test_the_head_is_told_and_nobody_else(tmp_path: Path) -> None:
    inventory = load(tmp_path, BOTH)
    head, worker = (start.node_params(inventory.host(name), inventory)["env"] for name in ("ctl", "w1"))
    told = {name: value for name, value in head.items() if "PROMETHEUS" in name or "GRAFANA" in name}
    assert told == {
        "RAY_PROMETHEUS_HOST": PROMETHEUS, "RAY_PROMETHEUS_NAME": "Prometheus",
        "RAY_GRAFANA_HOST": GRAFANA, "RAY_GRAFANA_IFRAME_HOST": GRAFANA,
    }  # fmt: skip
    assert not any("PROMETHEUS" in name or "GRAFANA" in name for name in worker)


def test_a_head_starts_anew_for_it_and_workers_do_not(tmp_path: Path) -> None:
    inventory = load(tmp_path, BOTH)
    without = replace(inventory, metrics=None)
    for name, same in (("ctl", False), ("w1", True), ("pc", True)):
        host = inventory.host(name)
        configs = [start.node_params(host, each)["config"] for each in (inventory, without)]
        assert (configs[0] == configs[1]) is same


ALL = {
    "ctl": ["10.0.0.10:6385", "10.0.0.10:44217", "10.0.0.10:44227"],
    "w1": ["10.0.0.11:6385"],
    "pc": ["10.0.0.12:6385"],
}


@pytest.mark.parametrize(
    ("written", "keeper", "address", "opened"),
    [
        ("{prometheus: head}", "ctl", "127.0.0.1", {}),
        ("{prometheus: w1}", "w1", "10.0.0.11", {"w1": {9090}, "ctl": {44217, 44227}}),
    ],
)
def test_it_runs_where_it_is_declared_and_hears_of_all(
    written: str, keeper: str, address: str, opened: dict[str, set[int]], tmp_path: Path
) -> None:
    inventory = load(tmp_path, written)
    assert [host.name for host in inventory.hosts if "prometheus-host" in host.selectors] == [keeper]
    tasks = {
        (host.name, task["resource"]): task["params"]
        for host in inventory.hosts
        for play in Declarer(inventory, load_playbook(PLAYBOOK)).declare(host, "apply").hello["plays"]
        for task in play["tasks"]
    }
    servers = {name: params for (name, resource), params in tasks.items() if resource == "prometheus"}
    assert servers == {keeper: {"port": 9090, "address": address, "targets": ALL}}
    ours = {9090, 44217, 44227}
    let_in = {host.name: {low for low, _ in tasks[host.name, "firewall"]["ports"]} & ours for host in inventory.hosts}
    assert {name: ports for name, ports in let_in.items() if ports} == opened
    env = start.node_params(inventory.head, inventory)["env"]
    assert env["RAY_PROMETHEUS_HOST"] == f"http://{address}:9090"


def test_without_it_nobody_collects(tmp_path: Path) -> None:
    inventory = replace(load(tmp_path, BOTH), metrics=None)
    for host in inventory.hosts:
        plays = Declarer(inventory, load_playbook(PLAYBOOK)).declare(host, "apply").hello["plays"]
        assert "Collect metrics" not in [play["name"] for play in plays]


@pytest.mark.parametrize(
    ("metrics", "cause"),
    [
        ("{prometheus: head, port: 6385}", "port 6385, which is its node's"),
        ("{prometheus: head, port: 12000}", "port 12000, which is its node's"),
        ("{prometheus: head, port: 6378}\nredis: {host: head}", "would have the same port 6378"),
    ],
)
def test_a_port_of_another_one_is_refused(metrics: str, cause: str, tmp_path: Path) -> None:
    inventory = load(tmp_path, metrics)
    with pytest.raises(InputError, match=cause):
        Declarer(inventory, load_playbook(PLAYBOOK)).declare(inventory.head, "apply")
