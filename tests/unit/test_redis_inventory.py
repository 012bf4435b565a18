"""The section ``redis``: what it means for hosts, ports and variables, and every mistake in it with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provisioner.declaration import Declarer
from provisioner.errors import InputError, InputErrors
from provisioner.inventory.load import load_inventory
from provisioner.inventory.model import Inventory, Redis, Secret
from provisioner.playbook.load import load_playbook
from provisioner.ray import start

PLAYBOOK = Path(__file__).parents[2] / "playbooks" / "cluster.yml"
TOP = "cluster: lab\npython: 3.11.9\nray: {version: 2.60.0}\n"
HOSTS = (
    "head: {ctl: {address: 10.0.0.10}}\nworkers: {w1: {address: 10.0.0.11}, pc: {address: 10.0.0.12, os: windows}}\n"
)
ENVIRON = {"PW": "right-1", "BLANK": "a b", "LONG": "x" * 513, "KOREAN": "암호"}

pytestmark = pytest.mark.usefixtures("own_cache")


def load(tmp_path: Path, redis: str, hosts: str = HOSTS) -> Inventory:
    file = tmp_path / "inv.yml"
    file.write_text(f"{TOP}redis: {redis}\n{hosts}", encoding="utf-8")
    return load_inventory(file, ENVIRON)


def mistakes(tmp_path: Path, redis: str, hosts: str = HOSTS) -> list[str]:
    with pytest.raises((InputError, InputErrors)) as caught:
        load(tmp_path, redis, hosts)
    found = getattr(caught.value, "errors", [caught.value])
    return [str(each).removeprefix(f"{tmp_path / 'inv.yml'}:") for each in found]


@pytest.mark.parametrize(
    ("written", "wanted", "keeper"),
    [
        ("{host: head}", Redis("ctl", "", 6378), ["ctl"]),
        ("{host: ctl}", Redis("ctl", "", 6378), ["ctl"]),
        ("{host: w1, port: 7001}", Redis("w1", "", 7001), ["w1"]),
        ("{external: 10.9.9.9}", Redis(None, "10.9.9.9", 6379), []),
        ("{external: 'redis.lab:7000'}", Redis(None, "redis.lab", 7000), []),
        ("{external: '[fd00::1]:7000'}", Redis(None, "fd00::1", 7000), []),
        ("{external: '[fd00::1]'}", Redis(None, "fd00::1", 6379), []),
        ("{external: a, password: {from_env: PW}}", Redis(None, "a", 6379, Secret("right-1", "")), []),
    ],
)
def test_what_it_says(written: str, wanted: Redis, keeper: list[str], tmp_path: Path) -> None:
    inventory = load(tmp_path, written)
    assert inventory.redis == wanted
    assert [host.name for host in inventory.hosts if "redis-host" in host.selectors] == keeper


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("{}", ["4:8: 'redis' wants at least 1 key(s)"]),
        ("{port: 7000}", ["4:1: 'redis' lacks the key 'host' or 'external'"]),
        ("{host: w9}", ["4:15: 'w9', which shall run Redis, is no host of this inventory"]),
        ("{host: pc}", ["4:15: 'pc' is Windows: there is no Redis server for it"]),
        ("{external: a, host: w1}", ["4:22: 'host' and 'external' do not go together"]),
        ("{external: a, port: 7000}", ["4:22: 'port' and 'external' do not go together"]),
        ("{external: 'a:70000'}", ["4:19: 70000 is no port"]),
        ("{external: '10.0.0'}", ["4:19: '10.0.0' is neither an IP address nor a DNS name"]),
        ("{external: 'redis://a'}", ["4:19: 'external' wants ADDRESS or ADDRESS:PORT; got 'redis://a'"]),
        ("{host: head, password: plain}", ["4:31: 'password' wants {from_env: NAME} or {from_file: path}, not a secret "
                                           "in plain text; got a plain value"]),
        ("{host: head, password: {from_env: NONE}}", ["4:31: the environment variable NONE, which should hold this "
                                                      "secret, is not set"]),
        *((f"{{host: head, password: {{from_env: {name}}}}}", ["4:31: the password of Redis has more than 512 "
           "characters, or others than ASCII letters, digits and signs"]) for name in ("BLANK", "LONG", "KOREAN")),
    ],
)  # fmt: skip
def test_mistakes(written: str, wanted: list[str], tmp_path: Path) -> None:
    assert [each.partition("\n")[0] for each in mistakes(tmp_path, written)] == wanted


@pytest.mark.parametrize(
    ("ray", "wanted"),
    [
        ("env: {RAY_REDIS_ADDRESS: 'a:1'}", "5:46: RAY_REDIS_ADDRESS follows from 'redis'"),
        ("env: {RAY_external_storage_namespace: x}", "5:46: RAY_external_storage_namespace follows from 'redis'"),
    ],
)
def test_what_ray_calls_by_another_name_is_said_once(ray: str, wanted: str, tmp_path: Path) -> None:
    hosts = f"head: {{ctl: {{address: 10.0.0.10, ray: {{{ray}}}}}}}\n"
    assert [each.partition("\n")[0] for each in mistakes(tmp_path, "{host: head}", hosts)] == [wanted]


@pytest.mark.parametrize("redis", ["{host: head}", "{external: a, password: {from_env: PW}}"])
def test_its_password_is_given_where_no_command_line_shows_it(redis: str, tmp_path: Path) -> None:
    hosts = "head: {ctl: {address: 10.0.0.10, ray: {redis_password: {from_env: PW}}}}\n"
    (told,) = mistakes(tmp_path, redis, hosts)
    assert told.startswith("5:40: unknown key 'redis_password'\n")
    assert "write redis: {external: ADDRESS:PORT, password: {from_env: NAME}} at the top" in told


@pytest.mark.parametrize("port", [6379, 6380, 8265, 12000])
def test_a_port_of_the_node_is_refused(port: int, tmp_path: Path) -> None:
    inventory = load(tmp_path, f"{{host: head, port: {port}}}")
    with pytest.raises(InputError, match=f"port {port}, which is its node's"):
        Declarer(inventory, load_playbook(PLAYBOOK)).declare(inventory.head, "apply")


def params(inventory: Inventory, name: str) -> dict[str, Any]:
    return start.node_params(inventory.host(name), inventory)


@pytest.mark.parametrize(
    ("written", "address", "told"),
    [
        ("{host: head}", "127.0.0.1:6378", {"address": ["127.0.0.1", 6378], "host": "ctl", "password": None}),
        ("{host: w1}", "10.0.0.11:6378", {"address": ["10.0.0.11", 6378], "host": "w1", "password": None}),
        ("{external: '[fd00::1]:7'}", "[fd00::1]:7", {"address": ["fd00::1", 7], "host": None, "password": None}),
        ("{external: a, password: {from_env: PW}}", "a:6379",
         {"address": ["a", 6379], "host": None, "password": "right-1"}),
    ],
)  # fmt: skip
def test_the_head_is_told_and_workers_wait_for_it(written: str, address: str, told: Any, tmp_path: Path) -> None:
    inventory = load(tmp_path, written)
    head, worker = params(inventory, "ctl"), params(inventory, "w1")
    assert head["redis"] == told
    assert (head["env"]["RAY_REDIS_ADDRESS"], head["env"]["RAY_external_storage_namespace"]) == (address, "lab")
    assert worker["env"]["RAY_gcs_rpc_server_reconnect_timeout_s"] == "600"
    assert "redis" not in worker and "RAY_REDIS_ADDRESS" not in worker["env"]
    assert "right-1" not in str((head["arguments"], head["env"], head["config"]))


def test_without_it_nothing_changes(tmp_path: Path) -> None:
    inventory = load(tmp_path, "{host: head}")
    without = Inventory(inventory.cluster, inventory.ray_version, inventory.hosts, inventory.file)
    for name in ("ctl", "w1"):
        told = params(without, name)
        assert "redis" not in told
        assert not any("redis" in key.lower() or "reconnect" in key for key in told["env"])


@pytest.mark.parametrize(
    ("written", "bind"), [("{host: head}", ["127.0.0.1"]), ("{host: w1}", ["127.0.0.1", "10.0.0.11"])]
)
def test_it_listens_where_the_head_is(written: str, bind: list[str], tmp_path: Path) -> None:
    inventory = load(tmp_path, written)
    assert inventory.redis is not None
    declarer = Declarer(inventory, load_playbook(PLAYBOOK))
    plays = {host.name: declarer.declare(host, "apply").hello["plays"] for host in inventory.hosts}
    told = {
        name: task["params"] for name, all_plays in plays.items() for play in all_plays for task in play["tasks"]
        if task["resource"] == "redis_server"
    }  # fmt: skip
    assert told == {inventory.redis.host: {"port": 6378, "bind": bind}}
    assert declarer.declare(inventory.head, "apply").needs["Start the head"] == ("Keep the cluster's state",)


def test_its_password_is_a_secret_of_the_run(tmp_path: Path) -> None:
    inventory = load(tmp_path, "{host: head, password: {from_env: PW}}")
    assert inventory.secrets() == ("right-1",)
    assert "right-1" not in repr(inventory)
