"""What a playbook may not ask of one host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provisioner.declaration import Declarer
from provisioner.errors import InputError
from provisioner.inventory.load import load_inventory
from provisioner.playbook.load import load_playbook

INVENTORY = "cluster: lab\npython: 3.11.9\nray: {version: 2.60.0}\nhead: {w1: {address: 127.0.0.1}}\n"
FILE = "    - {name: %s, file: {path: %s, content: x}%s}\n"
VARIABLE = '    - {name: %s, variable: {name: %s, value: "1"}}\n'


def declare(folder: Path, tasks: str, inventory: str = INVENTORY) -> dict[str, Any]:
    (folder / "lab.yml").write_text(inventory)
    (folder / "play.yml").write_text("- play: P\n  hosts: all\n  tasks:\n" + tasks)
    loaded = load_inventory(folder / "lab.yml")
    return Declarer(loaded, load_playbook(folder / "play.yml")).declare(loaded.head, "apply").hello


@pytest.mark.parametrize(
    ("tasks", "what"),
    [
        (FILE % ("A", "/x", "") + FILE % ("B", "/x", ""), "'A' and 'B' both set the file /x on w1"),
        (VARIABLE % ("A", "X") + VARIABLE % ("B", "X"), "'A' and 'B' both set the variable X on w1"),
        (FILE % ("A", "etc/x", ""), "the path 'etc/x' of 'A' is no full path"),
    ],
)
def test_mistakes(tasks: str, what: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=what):
        declare(tmp_path, tasks)


def test_one_file_for_each_os(tmp_path: Path) -> None:
    tasks = FILE % ("A", "/x", ", when: {os: linux}") + FILE % ("B", "/x", ", when: {os: macos}")
    assert declare(tmp_path, tasks)["host"] == "w1"


@pytest.mark.parametrize(
    ("python", "task", "source", "match", "mirror"),
    [
        ("3.11.9", "{}", "managed", "exact", None),
        ("{version: 3.11.9, source: system, match: minor}", "{}", "system", "minor", None),
        ("{version: 3.11.9, source: /opt/python}", "{}", "/opt/python", "exact", None),
        ("{version: 3.11.9, mirror: 'https://m.lab/'}", "{}", "managed", "exact", "https://m.lab/"),
        ("3.11.9", "{path: /opt/python}", "/opt/python", "exact", None),
    ],
)
def test_where_python_comes_from(
    python: str, task: str, source: str, match: str, mirror: str | None, tmp_path: Path
) -> None:
    hello = declare(tmp_path, f"    - {{name: A, python: {task}}}\n", INVENTORY.replace("3.11.9", python, 1))
    told = hello["plays"][0]["tasks"][0]["params"]
    assert told == {"version": "3.11.9", "source": source, "match": match, "mirror": mirror}
    assert hello["python"] == "3.11.9"


@pytest.mark.parametrize(("match", "tasks"), [("exact", ["Always"]), ("minor", ["Always", "Minor"])])
def test_a_task_for_one_way_of_matching_python(match: str, tasks: list[str], tmp_path: Path) -> None:
    task = VARIABLE % ("Minor", "Y")
    when = task.replace("}}\n", "}, when: {python.match: minor}}\n")
    inventory = INVENTORY.replace("3.11.9", f"{{version: 3.11.9, match: {match}}}", 1)
    hello = declare(tmp_path, VARIABLE % ("Always", "X") + when, inventory)
    assert [(task["name"], task["when"]) for task in hello["plays"][0]["tasks"]] == [(name, {}) for name in tasks]


@pytest.mark.parametrize(
    ("said", "tasks"), [("", ["Without"]), (", tls: false", ["Without"]), (", tls: true", ["With"])]
)
def test_a_task_with_or_without_tls(said: str, tasks: list[str], tmp_path: Path) -> None:
    play = "".join(
        (VARIABLE % (name, "X")).replace("}}\n", "}, when: {ray.tls: " + wanted + "}}\n")
        for name, wanted in (("With", "true"), ("Without", "false"))
    )
    hello = declare(tmp_path, play, INVENTORY.replace("2.60.0", "2.60.0" + said, 1))
    assert [task["name"] for task in hello["plays"][0]["tasks"]] == tasks


HEAD_ALONE = "- play: P\n  hosts: all\n  tasks:\n    - {name: R, ray_head: {}}\n"


def test_a_playbook_of_ones_own_that_knows_no_certificates(tmp_path: Path) -> None:
    (tmp_path / "lab.yml").write_text(INVENTORY.replace("2.60.0", "2.60.0, tls: true", 1))
    (tmp_path / "play.yml").write_text(HEAD_ALONE)
    loaded = load_inventory(tmp_path / "lab.yml")
    with pytest.raises(InputError, match="gives the nodes no certificates") as caught:
        Declarer(loaded, load_playbook(tmp_path / "play.yml")).declare(loaded.head, "apply")
    assert "certificate: {}" in caught.value.remedy


def test_what_a_node_gets_for_tls(tmp_path: Path) -> None:
    play = HEAD_ALONE.replace("    - {name: R", "    - {name: C, certificate: {}}\n    - {name: R")
    (tmp_path / "lab.yml").write_text(INVENTORY.replace("2.60.0", "2.60.0, tls: true", 1))
    (tmp_path / "play.yml").write_text(play)
    loaded = load_inventory(tmp_path / "lab.yml")
    hello = Declarer(loaded, load_playbook(tmp_path / "play.yml")).declare(loaded.head, "apply").hello
    certificate, ray = hello["plays"][0]["tasks"]
    assert certificate["params"]["head"] == loaded.head.name
    assert {"127.0.0.1", "localhost", loaded.head.address} <= set(certificate["params"]["names"])
    assert (ray["params"]["tls"], ray["params"]["env"]["RAY_USE_TLS"]) == (True, "1")


MEMBERS = INVENTORY + "workers:\n  w2: {address: 10.0.0.2, ray: {first_port: 7000, worker_ports: 8000-8009}}\n"


def firewall(folder: Path, task: str) -> dict[str, Any]:
    (folder / "lab.yml").write_text(MEMBERS)
    (folder / "play.yml").write_text(f"- play: P\n  hosts: w2\n  tasks:\n    - {{name: A, firewall: {task}}}\n")
    loaded = load_inventory(folder / "lab.yml")
    hello = Declarer(loaded, load_playbook(folder / "play.yml")).declare(loaded.hosts[1], "apply").hello
    params: dict[str, Any] = hello["plays"][0]["tasks"][0]["params"]
    return params


@pytest.mark.parametrize(
    ("task", "addresses"),
    [
        ("{}", ["10.0.0.2", "127.0.0.1"]),
        ("{allow: [192.168.7.0/24, 10.9.0.1-10.9.0.5, 'fd00::1']}",
         ["10.0.0.2", "127.0.0.1", "192.168.7.0/24", "10.9.0.1-10.9.0.5", "fd00::1"]),
    ],
)  # fmt: skip
def test_whom_the_firewall_lets_in(task: str, addresses: list[str], tmp_path: Path) -> None:
    params = firewall(tmp_path, task)
    assert params["addresses"] == addresses
    assert params["ports"] == [*([port, port] for port in range(7000, 7006)), [8000, 8009]]


@pytest.mark.parametrize(("keeper", "opened"), [("w2", True), ("head", False)])
def test_redis_is_let_in_where_it_listens_for_the_head(keeper: str, opened: bool, tmp_path: Path) -> None:
    """On the head it listens on the loopback alone."""
    (tmp_path / "lab.yml").write_text(MEMBERS + f"redis: {{host: {keeper}, port: 7100}}\n")
    (tmp_path / "play.yml").write_text("- play: P\n  hosts: all\n  tasks:\n    - {name: A, firewall: {}}\n")
    loaded = load_inventory(tmp_path / "lab.yml")
    declarer = Declarer(loaded, load_playbook(tmp_path / "play.yml"))
    hellos = {host.name: declarer.declare(host, "apply").hello for host in loaded.hosts}
    ports = {name: hello["plays"][0]["tasks"][0]["params"]["ports"] for name, hello in hellos.items()}
    assert {name: [7100, 7100] in each for name, each in ports.items()} == {"w1": False, "w2": opened}


@pytest.mark.parametrize("allowed", ["laptop.lab", "10.0.0.0/33", "10.0.0.1-", "10.0.0.1-fd00::1"])
def test_whom_it_cannot_let_in(allowed: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the firewall can't allow"):
        firewall(tmp_path, f"{{allow: ['{allowed}']}}")


@pytest.mark.parametrize(
    ("host", "opened"), [("", False), ("dashboard_host: 127.0.0.1", False), ("dashboard_host: 0.0.0.0", True)]
)
def test_the_dashboard_is_let_in_where_it_listens(host: str, opened: bool, tmp_path: Path) -> None:
    inventory = INVENTORY.replace("127.0.0.1}", f"127.0.0.1, ray: {{{host}}}}}")
    hello = declare(tmp_path, "    - {name: A, firewall: {}}\n", inventory)
    ports = hello["plays"][0]["tasks"][0]["params"]["ports"]
    assert ([8265, 8265] in ports) is opened
    assert [6379, 6379] in ports
    assert [10001, 10001] in ports
