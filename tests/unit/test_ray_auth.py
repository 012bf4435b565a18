"""Who may use a cluster: what the inventory says of it, what Ray is told, and what a run says when it is open."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner.artifacts.cache import Cache
from provisioner.declaration import Declarer
from provisioner.engine import token
from provisioner.engine.early import check_early
from provisioner.engine.token import _checked
from provisioner.errors import HostFailed, InputError
from provisioner.inventory.load import load_inventory
from provisioner.inventory.model import Host, Inventory, RayOptions, Secret
from provisioner.playbook.load import default_playbook, load_playbook
from provisioner.ray import auth, start

OPEN = "whoever reaches the cluster's ports can run code on every node"


def lab(ray: str = "2.60.0", declared: Any = None, **options: Any) -> Inventory:
    head = Host("ctl", "head", "10.0.0.10", "3.11.9", (), RayOptions(options))
    worker = Host("w1", "worker", "10.0.0.11", "3.11.9", (), RayOptions())
    return Inventory("lab", ray, (head, worker), Path("inv.yml"), auth=declared)


CASES = [
    ("2.60.0", None, "token", {"RAY_AUTH_MODE": "token"}, []),
    ("2.52.0", None, "token", {"RAY_AUTH_MODE": "token"}, []),
    ("2.60.0", "token", "token", {"RAY_AUTH_MODE": "token"}, []),
    ("2.60.0", "none", "none", {"RAY_AUTH_MODE": "disabled"}, [f"`ray: {{auth: none}}`: {OPEN}"]),
    ("2.51.2", None, "none", {}, [f"Ray 2.51.2 asks for no token: {OPEN}"]),
    ("2.9.3", "none", "none", {}, [f"`ray: {{auth: none}}`: {OPEN}"]),
]


@pytest.mark.parametrize(("ray", "declared", "chosen", "variables", "told"), CASES)
def test_what_is_declared_and_what_comes_of_it(
    ray: str, declared: Any, chosen: str, variables: dict[str, str], told: list[str]
) -> None:
    inventory = lab(ray, declared)
    assert auth.chosen(inventory) == chosen
    for host in inventory.hosts:
        env = start.node_params(host, inventory)["env"]
        assert {name: value for name, value in env.items() if "AUTH" in name} == variables
    assert [message for message, _ in auth.remarks(inventory)] == told
    auth.check(inventory)


@pytest.mark.parametrize(
    ("bound", "told"),
    [(None, []), ("127.0.0.1", []), ("localhost", []), ("::1", []),
     ("0.0.0.0", ["0.0.0.0"]), ("10.0.0.10", ["10.0.0.10"])],
)  # fmt: skip
def test_a_dashboard_that_is_opened_is_said(bound: str | None, told: list[str]) -> None:
    inventory = lab(dashboard_host=bound) if bound else lab()
    assert [message.split(" listen on ")[1].split(",")[0] for message, _ in auth.remarks(inventory)] == told
    given = [each for each in start.node_params(inventory.head, inventory)["arguments"] if "dashboard-host" in each]
    assert given == ([f"--dashboard-host={bound}"] if bound else []), "Ray's own default is the loopback"


def test_a_token_that_ray_knows_nothing_of_is_refused_at_its_place(tmp_path: Path) -> None:
    file = tmp_path / "inv.yml"
    file.write_text(
        "cluster: lab\npython: 3.11.9\nray:\n  version: 2.51.2\n  auth: token\nhead: {ctl: {address: 10.0.0.10}}\n"
    )
    inventory = load_inventory(file, {})
    with pytest.raises(InputError, match=r"Ray 2\.51\.2 can't ask for a token: that came with 2\.52\.0") as caught:
        check_early(inventory, Cache(tmp_path / "cache"))
    assert (caught.value.place.line, caught.value.place.column) == (5, 9)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("ray", "declared", "why"), [("2.60.0", "none", "auth: none"), ("2.51.2", None, "Ray 2.51.2 asks for none")]
)
def test_there_is_no_token_to_show_or_replace(ray: str, declared: Any, why: str) -> None:
    with pytest.raises(InputError, match="this cluster has no token") as caught:
        token.require(lab(ray, declared))
    assert why in caught.value.message
    token.require(lab())


def test_what_a_host_is_told_holds_no_hash_of_a_secret() -> None:
    """Two secrets, one configuration: what the label says can't be tried out against guesses."""
    playbook, configs = load_playbook(default_playbook()), set()
    for pin in ("1234", "4321"):
        secret, inventory = Secret(pin, "from_env: PIN"), lab()
        head = inventory.head
        ray = replace(head.ray, env={"PIN": secret, "KEY": secret})
        inventory = replace(inventory, hosts=(replace(head, ray=ray), *inventory.workers))
        plays = Declarer(inventory, playbook).declare(inventory.head, "apply").hello["plays"]
        (params,) = [task["params"] for play in plays for task in play["tasks"] if task["resource"] == "ray_head"]
        assert params["env"]["PIN"] == pin and params["secret"] == ["env KEY", "env PIN"]
        configs.add(params["config"])
    assert len(configs) == 1
    assert configs != {start.node_params(lab().head, lab())["config"]}


@pytest.mark.parametrize("value", ["", "a0" * 31, "A0" * 32, "a0" * 32 + "\n", None, 7])
def test_what_a_head_calls_its_token_is_one(value: object) -> None:
    with pytest.raises(HostFailed) as caught:
        _checked(value, "ctl")
    assert (caught.value.message, caught.value.host) == ("what it says is no token", "ctl")
    assert _checked("a0" * 32, "ctl") == "a0" * 32
