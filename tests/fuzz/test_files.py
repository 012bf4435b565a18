"""Inventories and playbooks of any content: loaded and declared, or refused in words that are safe to print."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from provisioner.declaration import Declarer
from provisioner.errors import InputError, ProvisionError
from provisioner.inventory.load import load_inventory
from provisioner.playbook.load import default_playbook, load_playbook
from provisioner.report.lines import told_error
from tests.unit.test_report_hostile import harmless

from .profile import bounded, fuzzed

INVENTORY: dict[str, Any] = {
    "cluster": "lab",
    "python": {"version": "3.11.9", "source": "managed", "match": "exact"},
    "ray": {
        "version": "2.60.0",
        "env": {"X": "1", "S": {"from_env": "FUZZ_SECRET"}},
        "resources": {"a": 1},
        "labels": {"zone": "b"},
        "num_cpus": 2,
        "memory": "4GiB",
        "worker_ports": "10002-19999",
    },
    "packages": ["duckdb"],
    "artifacts": {"mirror": "head", "port": 7000, "index": "https://pypi.example/simple"},
    "keep": 2,
    "ssh": {"user": "ray", "port": 22, "jump": "kim@bastion:22", "password": {"from_env": "FUZZ_SECRET"}},
    "become": True,
    "become_password": {"from_env": "FUZZ_SECRET"},
    "root": "/opt/x",
    "service": "auto",
    "vars": {"site": "seoul", "deep": {"er": [1]}},
    "head": {"ctl": {"address": "10.0.0.1"}},
    "workers": {
        "w[1:3]": {"address": "10.0.0.[2:4]", "groups": ["gpu"], "os": "linux", "arch": "x86_64"},
        "pc": {"address": "10.0.0.9", "os": "windows", "account": "kim", "root": "C:\\ray"},
    },
}
PLAYBOOK: list[Any] = [
    {
        "play": "A",
        "hosts": "all",
        "tasks": [
            {"name": "T", "variable": {"name": "X", "value": "{{ vars.site }}"}, "when": {"os": "linux"}},
            {
                "name": "F",
                "file": {"path": "/x/{{ host.name }}", "content": "{{ vars.deep }}", "mode": "0640", "owner": "ray"},
            },
            {
                "name": "C",
                "command": {"argv": ["/bin/true"], "creates": "/x", "undo": ["/bin/false"], "env": {"A": "b"}},
            },
            {"name": "P", "system_package": {"name": ["curl"]}},
        ],
    },
    {
        "play": "B",
        "hosts": ["head", "gpu"],
        "needs": ["A"],
        "tasks": [{"name": "E", "environment": {}}, {"name": "W", "firewall": {"allow": ["10.0.0.0/8"]}}],
    },
]
NASTY = [
    "",
    "\0",
    "\x1b]52;c;x\x07",
    "a\nb",
    "\u202e",
    "w[1:999999999]",
    "w[9:1]",
    "w[01:12",
    "[1:3][1:9]",
    "{{",
    "{% for %}",
    "{{ vars }}",
    "{{ host.__class__ }}",
    "{{ 1/0 }}",
    "~",
    "..",
    "/",
    "-oX",
    "$(id)",
    "`id`",
    "9" * 400,
    "1e999",
    "é" * 300,
    "true",
    "*a",
    "10.0.0.[1:300]",
    "::1",
    "0.0.0.0",
    "2.60.0",
    "99999999.0.0",
    "4GiB",
    "0x10",
    "&a [*a]",
    "!!python/object:os.system",
]
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(NASTY)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.sampled_from(NASTY), inner, max_size=3)
    ),
    max_leaves=6,
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(inner for key, each in steps for inner in paths(each, (*path, key)))]


@st.composite
def mutated(draw: st.DrawFn, whole: Any) -> str:
    """The document with some of its places changed, gone, renamed or doubled; or its text spoilt; or no such thing."""
    document = copy.deepcopy(whole)
    for _ in range(draw(st.integers(0, 4))):
        path = draw(st.sampled_from(paths(document)))
        if not path:
            continue
        place = document
        for key in path[:-1]:
            place = place[key]
        act = draw(st.sampled_from(["change", "remove", "rename", "move"]))
        if act == "remove":
            del place[path[-1]]
        elif act == "change" or not isinstance(place, dict):
            place[path[-1]] = draw(values)
        else:
            kept = place.pop(path[-1]) if act == "rename" else copy.deepcopy(place[path[-1]])
            place[
                draw(
                    st.sampled_from(NASTY)
                    | st.text(max_size=6)
                    | st.sampled_from([str(p[-1]) for p in paths(whole) if p])
                )
            ] = kept
    text: str = json.dumps(document) if draw(st.booleans()) else yaml.safe_dump(document, allow_unicode=True)
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(text)))
        text = (
            text[:at]
            + draw(
                st.sampled_from([*NASTY, "\t", ":", "- ", "{", "}", "[", "\ufeff", "---\n", "&a", "*a", "<<: *a", "? "])
            )
            + text[at:]
        )
    return text


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("FUZZ_SECRET", "hunter2-and-more")
    monkeypatch.setenv("PROVISION_CACHE", str(tmp_path_factory.mktemp("cache")))


def refused_well(error: ProvisionError) -> None:
    said = told_error(error)
    harmless(said)
    assert said.strip() and "hunter2-and-more" not in said
    assert len(said) < 200_000


@fuzzed("inventories")
@given(text=mutated(INVENTORY) | st.text(max_size=60))
def test_any_inventory(text: str, tmp_path: Path) -> None:
    file = tmp_path / "inventory.yml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with bounded():
        try:
            inventory = load_inventory(file)
            declarer = Declarer(inventory, load_playbook(default_playbook()))
            for host in inventory.hosts[:3]:
                json.dumps(declarer.declare(host, "apply").hello)
        except InputError as error:
            refused_well(error)


@fuzzed("playbooks")
@given(text=mutated(PLAYBOOK) | st.text(max_size=60))
def test_any_playbook(text: str, tmp_path: Path) -> None:
    whole = tmp_path / "inventory.yml"
    if not whole.exists():
        whole.write_text(json.dumps(INVENTORY))
    file = tmp_path / "playbook.yml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with bounded():
        inventory = load_inventory(whole)
        try:
            declarer = Declarer(inventory, load_playbook(file))
            for host in inventory.hosts[:3]:
                json.dumps(declarer.declare(host, "apply").hello)
        except InputError as error:
            refused_well(error)
