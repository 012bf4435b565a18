"""A cluster's state: an answer of the head held against the inventory, and the screen that shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provisioner.engine.state import judge
from provisioner.inventory.load import load_inventory
from provisioner.inventory.model import Inventory
from provisioner.report.status import as_json, duration, screen

NOW = 1_800_000_000.0


def lab(folder: Path) -> Inventory:
    file = folder / "lab.yml"
    file.write_text(
        "cluster: lab\npython: 3.11.9\nray: {version: 2.60.0}\nhead: {h1: {address: 10.0.0.1, os: linux}}\n"
        "workers: {w1: {address: 10.0.0.2}, w2: {address: 10.0.0.3}}\n"
    )
    return load_inventory(file)


def node(host: str, ip: str, alive: bool = True, ago: float = 60.0, **more: Any) -> dict[str, Any]:
    moment = (NOW - ago) * 1000
    return {
        "id": f"{host}{ip}{ago}", "ip": ip, "name": ip, "host": host, "os": "linux", "alive": alive,
        "head": host == "h1", "start": moment, "end": 0 if alive else moment, "why": "" if alive else "it is gone",
        "resources": {"CPU": 2.0, "memory": float(1 << 30)}, **more,
    }  # fmt: skip


def answer(*nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    told = {"nodes": list(nodes), "resources": None, "jobs": [], "ray": "2.60.0", "gcs": "", "redis": None}
    return {**told, "clock": NOW, "service": {"active": True, "restarts": 0}, **more}


ALL = (node("h1", "10.0.0.1"), node("w1", "10.0.0.2"), node("w2", "10.0.0.3"))


@pytest.mark.parametrize(
    ("nodes", "states", "well"),
    [
        (ALL, {"h1": "alive", "w1": "alive", "w2": "alive"}, True),
        (ALL[:2], {"h1": "alive", "w1": "alive", "w2": "missing"}, False),
        ((*ALL[:2], node("w2", "10.0.0.3", alive=False)), {"h1": "alive", "w1": "alive", "w2": "dead"}, False),
        ((*ALL, node("w2", "10.0.0.3", alive=False, ago=900)), {"h1": "alive", "w1": "alive", "w2": "alive"}, True),
        ((*ALL, node("", "10.0.0.9")), {"h1": "alive", "w1": "alive", "w2": "alive", "10.0.0.9": "strange"}, True),
        ((*ALL, node("", "10.0.0.9", alive=False)), {"h1": "alive", "w1": "alive", "w2": "alive"}, True),
        ((*ALL[:2], node("w2", "10.0.0.77")), {"h1": "alive", "w1": "alive", "w2": "strange"}, False),
    ],
)
def test_every_host_has_its_state(tmp_path: Path, nodes: Any, states: dict[str, str], well: bool) -> None:
    status = judge(lab(tmp_path), answer(*nodes))
    assert {row.host: row.state for row in status.nodes} == states
    missing = {"w2"} if len(nodes) == 3 and nodes[2]["ip"] == "10.0.0.77" else set()
    assert {row.host for row in status.nodes if row.state == "missing"} >= missing
    assert status.is_well == well


@pytest.mark.parametrize(
    ("more", "said", "well"),
    [
        ({"resources": {"CPU": [1.0, 6.0]}}, "CPU       1        6", True),
        ({"resources": {"CPU": [1.0, 6.0]}}, "memory    0.0 GiB  3.0 GiB", True),
        ({}, "CPU       ?     6", True),
        ({"gcs": "it does not answer"}, "GCS: it does not answer", False),
        ({"service": {"active": True, "restarts": 2}}, "was started again 2 times", True),
        ({"jobs": [{"submission_id": "a\x1b[2J", "status": "RUNNING", "entrypoint": "python x\ny",
                    "start_time": (NOW - 3700) * 1000, "end_time": None}]}, "RUNNING  1 h 1 min  python x y", True),
        ({"jobs": [{"submission_id": "a\x1b[2J", "status": "RUNNING", "entrypoint": "x",
                    "start_time": (NOW - 5) * 1000, "end_time": None}]}, r"a\x1b[2J", True),
        ({"jobs": [{"submission_id": None, "status": "SUCCEEDED", "entrypoint": ""}]}, "No jobs.", True),
    ],
)  # fmt: skip
def test_the_screen_says_it(tmp_path: Path, more: dict[str, Any], said: str, well: bool) -> None:
    status = judge(lab(tmp_path), answer(*ALL, **more))
    text = "\n".join(line.text for line in screen(status))
    assert said in text
    assert text.startswith("Cluster lab, Ray 2.60.0: 3 of 3 nodes alive\n")
    assert status.is_well == well
    assert '"well": ' + ("true" if well else "false") in as_json(status)


def test_why_a_node_died_is_told_below_it(tmp_path: Path) -> None:
    status = judge(lab(tmp_path), answer(*ALL[:2], node("w2", "10.0.0.3", alive=False, why="no heartbeat\nfor 60 s")))
    lines = [line.text for line in screen(status)]
    row = next(number for number, line in enumerate(lines) if line.startswith("w2 "))
    assert "dead   1 min" in lines[row]
    assert lines[row + 1].strip() == "no heartbeat for 60 s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0, "0 s"), (59.9, "59 s"), (60, "1 min"), (61, "1 min 1 s"), (7200, "2 h"), (90061, "1 d 1 h")],
)
def test_lengths_of_time(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
