"""From the inventory to `ray start`: arguments, ports, labels, and the hash that tells whether a node is up to date."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from provisioner.errors import InputError
from provisioner.inventory.model import Host, Interpreter, Inventory, RayOptions, Secret, Ssh
from provisioner.ray import start
from provisioner.ray.ports import check_ports, node_ports, worker_ports


def lab(head: dict[str, Any] | None = None, worker: dict[str, Any] | None = None, **ray: Any) -> Inventory:
    """A head at 10.0.0.10 and a worker at 10.0.0.11, with these options."""
    hosts = (
        Host("ctl", "head", "10.0.0.10", "3.11.9", (), RayOptions(head or {})),
        Host("w1", "worker", "10.0.0.11", "3.11.9", (), RayOptions(worker or {}, **ray)),
    )
    return Inventory("lab", "2.60.0", hosts, Path("inv.yml"))


def test_tls_is_one_switch_for_all() -> None:
    plain, tls = (replace(lab(), tls=on) for on in (False, True))
    for number in (0, 1):
        without, params = (start.node_params(each.hosts[number], each) for each in (plain, tls))
        assert ("tls" in without, "RAY_USE_TLS" in without["env"]) == (False, False)
        assert (params["tls"], params["env"]["RAY_USE_TLS"]) == (True, "1")
        assert params["config"] != without["config"]


@pytest.mark.parametrize("name", ["RAY_USE_TLS", "RAY_TLS_SERVER_KEY"])
def test_tls_is_not_said_twice(name: str) -> None:
    inventory = lab(env={name: "0"})
    start.node_params(inventory.hosts[1], inventory)
    with pytest.raises(InputError, match=f"w1 sets {name} by itself"):
        start.node_params(inventory.hosts[1], replace(inventory, tls=True))


def arguments(inventory: Inventory, host: int = 1) -> list[str]:
    found = start.node_params(inventory.hosts[host], inventory)["arguments"]
    assert isinstance(found, list)
    return found


PINNED = [
    "--node-manager-port=6380", "--object-manager-port=6381", "--runtime-env-agent-port=6382",
    "--dashboard-agent-grpc-port=6383", "--dashboard-agent-listen-port=6384", "--metrics-export-port=6385",
    "--min-worker-port=10002", "--max-worker-port=19999",
]  # fmt: skip


def test_a_plain_head() -> None:
    *plain, labels = arguments(lab(), 0)
    assert plain == [
        "--block", "--node-ip-address=10.0.0.10", "--head", "--port=6379", "--dashboard-port=8265",
        "--ray-client-server-port=10001", *PINNED,
    ]  # fmt: skip
    assert labels.startswith("--labels=provision/config=")
    assert labels.endswith(",provision/host=ctl")


def test_a_plain_worker() -> None:
    *plain, labels = arguments(lab())
    assert plain == ["--block", "--node-ip-address=10.0.0.11", "--address=10.0.0.10:6379", *PINNED]
    assert labels.endswith(",provision/host=w1")


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"num_cpus": 8, "num_gpus": 0.5, "memory": 10**9}, ["--memory=1000000000", "--num-cpus=8", "--num-gpus=0.5"]),
        ({"disable_usage_stats": True, "no_redirect_output": False}, ["--disable-usage-stats"]),
        ({"include_log_monitor": False}, ["--include-log-monitor=false"]),
        ({"worker_ports": "20000-20100"}, ["--min-worker-port=20000", "--max-worker-port=20100"]),
        ({"worker_ports": [1, 2]}, ["--worker-port-list=1,2"]),
        ({"worker_ports": "1, 2"}, ["--worker-port-list=1,2"]),
        ({"node_ip": "10.9.9.9"}, ["--node-ip-address=10.9.9.9"]),
        ({"node_ip": "::1"}, ["--node-ip-address=::1"]),
        ({"first_port": 7000}, ["--node-manager-port=7000", "--metrics-export-port=7005"]),
        ({"metrics_export_port": 9000}, ["--node-manager-port=6380", "--metrics-export-port=9000"]),
    ],
)
def test_options_become_arguments(options: dict[str, Any], wanted: list[str]) -> None:
    found = arguments(lab(worker=options))
    assert [argument for argument in found if argument in wanted] == wanted
    flags = [argument.partition("=")[0] for argument in found]
    assert len(flags) == len(set(flags)), "no argument is given twice"


def test_no_secret_comes_on_a_command_line() -> None:
    with pytest.raises(InputError, match="`autoscaling_config` would be a secret on a command line") as caught:
        arguments(lab(worker={"autoscaling_config": Secret("hush", "from_env: X")}))
    assert "hush" not in str(caught.value)


def test_options_of_the_head_only() -> None:
    options = {"port": 7777, "dashboard_port": 8888, "ray_client_server_port": 9999, "dashboard_host": "0.0.0.0"}
    inventory = lab(head=options)
    found = arguments(inventory, 0)
    assert {"--port=7777", "--dashboard-port=8888", "--ray-client-server-port=9999", "--dashboard-host=0.0.0.0"} < {
        *found
    }
    assert sum(argument.startswith("--ray-client-server-port") for argument in found) == 1
    assert "--address=10.0.0.10:7777" in arguments(inventory)
    assert start.node_params(inventory.hosts[1], inventory)["dashboard"] == ["127.0.0.1", 8888]


def test_resources_and_labels() -> None:
    found = arguments(lab(resources={"b": 2.0, "a": 1}, labels={"zone": "b", "gpu": "yes"}))
    assert '--resources={"a": 1, "b": 2.0}' in found
    assert found[-1].startswith("--labels=gpu=yes,provision/config=")
    assert found[-1].endswith(",provision/host=w1,zone=b")


@pytest.mark.parametrize(
    ("ray", "form"), [("2.44.1", r'--labels=\{".*", "zone": "b"\}'), ("2.45.0", "--labels=.*,zone=b")]
)
def test_older_releases_take_labels_as_json(ray: str, form: str) -> None:
    *_, labels = arguments(replace(lab(labels={"zone": "b"}), ray_version=ray))
    assert re.fullmatch(form, labels), labels


def test_variables() -> None:
    inventory = lab(env={"PLAIN": "1", "TOKEN": Secret("hidden", "from_env: T"), "PYTHONUTF8": "0"})
    params = start.node_params(inventory.hosts[1], inventory)
    assert params["env"] == {
        **start.DEFAULT_ENV,
        "RAY_AUTH_MODE": "token",
        "PLAIN": "1",
        "TOKEN": "hidden",
        "PYTHONUTF8": "0",
    }
    assert params["secret"] == ["env TOKEN"]
    assert {*start.HEAD_ENV} < {*start.node_params(inventory.head, inventory)["env"]}


def test_with_match_minor_an_environment_is_the_same_for_every_patch_version() -> None:
    def of(version: str, match: Literal["exact", "minor"]) -> tuple[str, str | None]:
        inventory = lab()
        host = replace(inventory.hosts[1], python=version, interpreter=Interpreter(match=match))
        return start.environment_id(host, inventory), start.node_env(host, inventory).get(start.MATCH_VARIABLE)

    assert of("3.11.2", "exact")[0] != of("3.11.9", "exact")[0]
    assert of("3.11.2", "minor") == of("3.11.9", "minor") != of("3.12.9", "minor")
    assert [of("3.11.2", match)[1] for match in ("exact", "minor")] == [None, "minor"]


def test_no_two_ports_of_a_node_are_equal_and_none_is_random() -> None:
    ports = node_ports(lab().head)
    assert len(set(ports.values())) == len(ports) == 9
    assert all(1024 < port < 10002 for port in ports.values())
    assert worker_ports(lab().head) == ["--min-worker-port=10002", "--max-worker-port=19999"]


@pytest.mark.parametrize(
    ("bound", "reached"),
    [(None, "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("localhost", "127.0.0.1"),
     ("10.0.0.10", "10.0.0.10")],
)  # fmt: skip
def test_where_the_head_reaches_its_dashboard(bound: str | None, reached: str) -> None:
    assert start.dashboard(lab(head={"dashboard_host": bound} if bound else {})) == (reached, 8265)


def test_a_head_without_dashboard_is_refused() -> None:
    with pytest.raises(InputError, match="include_dashboard"):
        arguments(lab(head={"include_dashboard": False}))


def configs(inventory: Inventory) -> tuple[str, str]:
    head, worker = (start.node_params(host, inventory)["config"] for host in inventory.hosts)
    return head, worker


def worker(**changes: Any) -> Callable[[Inventory], Inventory]:
    return lambda inventory: replace(inventory, hosts=(inventory.head, replace(inventory.hosts[1], **changes)))


def ray(**changes: Any) -> Callable[[Inventory], Inventory]:
    return worker(ray=RayOptions(**changes))


@pytest.mark.parametrize(
    "change",
    [
        ray(options={"num_cpus": 2}),
        ray(options={"temp_dir": "/tmp/x"}),
        ray(options={"first_port": 7000}),
        ray(env={"X": "1"}),
        ray(env={"X": Secret("1", "here")}),
        ray(resources={"a": 1.0}),
        ray(labels={"zone": "b"}),
        worker(address="10.0.0.12"),
        worker(python="3.11.10"),
        worker(packages=("duckdb",)),
        worker(name="w2"),
    ],
)
def test_a_change_that_matters_is_another_configuration_of_that_node_only(
    change: Callable[[Inventory], Inventory],
) -> None:
    before, after = configs(lab()), configs(change(lab()))
    assert after[1] != before[1]
    assert after[0] == before[0]


@pytest.mark.parametrize(
    "change",
    [
        worker(groups=("gpu",), vars={"x": 1}, become=True, service="process", account="ray"),
        worker(ssh=Ssh(user="kim", port=2222)),
    ],
)
def test_what_does_not_matter_is_no_other_configuration(change: Callable[[Inventory], Inventory]) -> None:
    assert configs(change(lab())) == configs(lab())


def test_the_order_in_which_things_are_written_does_not_matter() -> None:
    one = lab(worker={"num_cpus": 2, "memory": 1}, labels={"a": "1", "b": "2"}, env={"X": "1", "Y": "2"})
    other = lab(worker={"memory": 1, "num_cpus": 2}, labels={"b": "2", "a": "1"}, env={"Y": "2", "X": "1"})
    assert configs(one) == configs(other)


def test_another_ray_version_is_another_configuration_everywhere() -> None:
    before, after = configs(lab()), configs(replace(lab(), ray_version="2.61.0"))
    assert before[0] != after[0] and before[1] != after[1]


def test_what_a_head_needs_to_know_of_a_node_is_plain_data() -> None:
    inventory = lab(worker={"num_cpus": 2}, env={"T": Secret("s", "x")})
    for host in inventory.hosts:
        json.dumps(start.node_params(host, inventory))


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"dashboard_port": 6379}, "the ports port and dashboard_port of 'ctl' are both 6379"),
        ({"first_port": 10010}, "the port node_manager_port (10010) of 'ctl' lies among its worker_ports"),
        ({"worker_ports": "8265,8266"}, "the port dashboard_port (8265) of 'ctl' lies among its worker_ports"),
    ],
)
def test_ports_that_clash_are_refused(options: dict[str, object], what: str) -> None:
    host = replace(lab().head, name="ctl", ray=RayOptions(options))
    with pytest.raises(InputError, match=re.escape(what)):
        check_ports(host)


def test_the_default_ports_do_not_clash() -> None:
    for host in lab().hosts:
        check_ports(host)
