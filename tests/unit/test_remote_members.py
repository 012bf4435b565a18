"""Who belongs to the cluster, as the head remembers it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provisioner.remote import service
from provisioner.remote.resources import ray_history

from .ray_stage import Dashboard
from .remote_host import World, make, shown

MEMBERS = {"ctl": {"address": "10.0.0.1"}, "w1": {"address": "10.0.0.2"}}


NOBODY = ["127.0.0.1", 1]


def test_members_are_remembered_and_forgotten(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.controller.answers["controller", "undropped"] = {}
    members = make("members", members=MEMBERS, dashboard=NOBODY)
    assert shown(members.observe(world.host())) == [("add", "members", "", "ctl, w1")]
    assert members.ensure(world.host()) == "2 members"
    assert members.observe(world.host()) == []
    assert (world.root / "members.json").stat().st_mode & 0o777 == 0o600
    assert shown(members.traces(world.host())) == [("remove", "members", "ctl, w1", "")]
    members.remove(world.host())
    assert list(world.root.iterdir()) == []
    members.remove(world.host())


def test_members_that_were_dropped_or_moved_are_found(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.controller.answers["controller", "undropped"] = {}
    make("members", members={**MEMBERS, "old": {"address": "10.0.0.9"}}, dashboard=NOBODY).ensure(world.host())
    moved = {"ctl": {"address": "10.0.0.7"}, "w1": {"address": "10.0.0.2"}}
    host = world.host()
    members = make("members", members=moved, dashboard=NOBODY)
    assert shown(members.observe(host)) == [
        ("remove", "member old", "dropped from the inventory", ""),
        ("change", "member ctl: address", "10.0.0.1", "10.0.0.7"),
    ]
    assert host.shared["dropped"] == {"old": {"address": "10.0.0.9"}}
    world.controller.answers["controller", "undropped"] = {"old": {"address": "10.0.0.9"}}
    members.ensure(world.host())
    assert [each["what"] for each in members.observe(world.host())] == ["member old"], "it could not be taken down"


MANY = {f"w{number}": {"address": f"10.0.1.{number}", "account": None} for number in range(7)}


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"w1": {"account": None}}, {"w1": {"account": "SYSTEM"}}, [("member w1: account", "", "SYSTEM")]),
        ({"w1": {"become": True, "root": "/a"}}, {"w1": {"become": False, "root": None}},
         [("member w1: become", "yes", "no"), ("member w1: root", "/a", "")]),
        (MANY, {name: {**how, "account": "kim"} for name, how in MANY.items()},
         [("members w0, w1, w2, w3, w4 and 2 more: account", "", "kim")]),
        (MANY, {name: {**how, "address": f"{name}.lab"} for name, how in MANY.items()},
         [("members w0, w1, w2, w3, w4 and 2 more: address", "as remembered", "as declared")]),
    ],
    ids=["account", "become and root", "the same of many", "another of each"],
)  # fmt: skip
def test_what_is_new_about_members_is_told(before: Any, after: Any, told: list[Any], tmp_path: Path) -> None:
    world = World(tmp_path)
    world.controller.answers["controller", "undropped"] = {}
    declared = [{name: {"address": "x", **how} for name, how in each.items()} for each in (before, after)]
    make("members", members=declared[0], dashboard=NOBODY).ensure(world.host())
    found = make("members", members=declared[1], dashboard=NOBODY).observe(world.host())
    assert shown(found) == [("change", *each) for each in told]


@pytest.mark.parametrize(
    ("running", "nodes", "told"),
    [
        ("c1", [("b", "w1"), ("c", "old")], []),
        ("c1", [("b", "stolen")], ["Ray lists a node that nobody declared: stolen at 127.0.0.1"]),
        ("c0", [("b", "stolen")], ["Ray lists a node that nobody declared: stolen at 127.0.0.1"]),
        ("c1", [("b", ""), ("c", "x" * 99)],
         [f"Ray lists 2 nodes that nobody declared: 127.0.0.1, {'x' * 60} at 127.0.0.1"]),
        ("theirs", [("b", "stolen")], []),
    ],
    ids=["known", "ours", "ours as it was before", "without a name", "another cluster's"],
)  # fmt: skip
def test_a_node_that_nobody_declared_is_said_and_not_logged_in_to(
    running: str, nodes: list[tuple[str, str]], told: list[str], tmp_path: Path
) -> None:
    """Any job may start one, under any name and address: only who this host remembers is dropped."""
    world, dashboard = World(tmp_path), Dashboard()
    world.controller.answers["controller", "undropped"] = {}
    make("members", members={**MEMBERS, "old": {"address": "10.0.0.9"}}, dashboard=NOBODY).ensure(world.host())
    host = world.host()
    spec = {"argv": [], "env": {}, "python": "", "config": "c1", "temp_dir": str(tmp_path / "ray")}
    service.write_spec(host, "ray-lab", spec)
    before = {**spec, "environment": "", "versions": {}, "gcs": "", "dashboard": [], "config": "c0"}
    ray_history.note(host, before)
    dashboard.nodes(("a", "ctl", running, "ALIVE"), *((id_, name, "c", "ALIVE") for id_, name in nodes), head="a")
    members = make("members", members=MEMBERS, dashboard=dashboard.address)
    try:
        members.observe(host)
        members.traces(host)
    finally:
        dashboard.close()
    assert host.shared["dropped"] == {"old": {"address": "10.0.0.9"}}
    assert [each["message"] for each in host.shared["findings"]] == told


@pytest.mark.parametrize(
    ("head", "dropped"), [("box", {"box": {"address": "10.0.0.8"}}), ("ctl", {}), ("w1", {}), (None, {})]
)
def test_a_head_that_moved_away_is_dropped(head: str | None, dropped: object, tmp_path: Path) -> None:
    host = World(tmp_path).host()
    spec = {"argv": [], "env": {}, "python": "", "config": "c1", "gcs": "10.0.0.8:6379"}
    service.write_spec(host, "ray-lab", {**spec, "temp_dir": str(tmp_path / "ray"), **({"head": head} if head else {})})
    make("members", members=MEMBERS, dashboard=NOBODY).observe(host)
    assert host.shared["dropped"] == dropped


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1, "b": {"user": "x"}}'])
def test_damaged_memory_says_nothing(text: str, tmp_path: Path) -> None:
    world = World(tmp_path)
    world.root.mkdir()
    (world.root / "members.json").write_text(text)
    host = world.host()
    many = {f"w{number}": {"address": "x"} for number in range(7)}
    found = make("members", members=many, dashboard=NOBODY).observe(host)
    assert shown(found) == [("add", "members", "", "w0, w1, w2, w3, w4 and 2 more")]
    assert host.shared["dropped"] == {}
