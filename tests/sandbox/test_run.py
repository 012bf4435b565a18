"""Whole runs over real SSH, with small playbooks and no Ray: applied, applied again, checked, taken down."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from provisioner.engine import conversation
from provisioner.events import Difference, Doing, Verb

from .run_cluster import COUNT, PLAYBOOK, Cluster, box, cluster

__all__ = ["box", "cluster"]


def test_there_and_back(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(3)
    bare = lab.listing()
    assert lab.run("check") == 2
    assert lab.listing() == bare
    assert len(lab.differences()) == 12
    assert lab.run("apply") == 0
    assert set(lab.statuses().values()) == {"changed"}
    assert lab.tasks("changed") == 12
    assert (lab.homes["h2"] / "etc/app.conf").read_text() == "of h2"
    assert lab.run("check") == 0
    assert lab.run("apply") == 0
    assert lab.differences() == []
    assert lab.tasks("changed") == 0
    assert set(lab.statuses().values()) == {"ok"}
    (lab.homes["h3"] / "etc/app.conf").write_text("edited")
    assert lab.run("apply") == 0
    assert lab.statuses() == {"h1": "ok", "h2": "ok", "h3": "changed"}
    assert lab.run("teardown") == 0
    assert lab.run("teardown") == 0
    assert lab.differences() == []
    assert lab.listing() == bare
    assert lab.run("teardown", purge=True) == 0
    assert [list(home.iterdir()) for home in lab.homes.values()] == [[], [], []]


def test_a_purge_may_take_its_time_and_says_what_it_does(
    cluster: Callable[[int], Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = cluster(1)
    assert lab.run("apply") == 0
    (old,) = lab.homes["h1"].glob(".provision/clusters/lab")
    (old / "env" / "old").mkdir(parents=True)
    for number in range(20_000):
        (old / "env" / "old" / str(number)).touch()
    monkeypatch.setattr(conversation, "END_LIMIT", 0.01)
    assert lab.run("teardown", purge=True) == 0
    assert "removing environments and files that were sent" in [e.text for e in lab.events if isinstance(e, Doing)]
    (told,) = [each for each in lab.differences() if "environments" in repr(each)]
    assert "1 (0 MB)" in repr(told)
    assert lab.statuses() == {"h1": "changed"}
    assert list(lab.homes["h1"].iterdir()) == []


def test_a_host_that_is_not_what_was_declared_is_left_alone(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(3)
    lab.hosts = (*lab.hosts[:2], replace(lab.hosts[2], os="windows"))
    assert lab.run("check") == 3
    assert lab.run("apply") == 3
    assert lab.statuses() == {"h1": "changed", "h2": "changed", "h3": "failed"}
    told = lab.finished()["h3"]
    assert "and the inventory says `os: windows`" in told.message
    assert told.remedy.startswith("write `os: linux` for h3")
    assert not any(str(lab.homes["h3"]) in path for path in lab.listing())
    assert lab.run("teardown") == 0, "whatever it is, it can be taken down"


def test_one_connection_and_one_command_per_host(cluster: Callable[[int], Cluster]) -> None:
    """Also for an apply that changes things, once the program is cached."""
    lab = cluster(3)
    lab.run("check")
    verbs: list[Verb] = ["check", "apply", "apply", "check", "teardown"]
    for verb in verbs:
        lab.run(verb)
        for name in lab.homes:
            assert lab.logged.count(f"{name} connection") == 1, lab.logged
            assert lab.logged.count(f"{name} exec") == 1, lab.logged


@pytest.mark.parametrize("concurrency", [1, 2, 32])
def test_gates_hold_with_any_number_of_slots(concurrency: int, cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(4)
    assert lab.run("apply", concurrency=concurrency) == 0
    begun = int((lab.homes["h1"] / "head").read_text())
    assert all(int((lab.homes[name] / "worker").read_text()) > begun for name in ("h2", "h3", "h4"))


def test_twenty_hosts(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(COUNT)
    begun = time.monotonic()
    assert lab.run("apply") == 0
    assert lab.run("check") == 0
    assert time.monotonic() - begun < 40
    assert len(lab.statuses()) == COUNT


def test_limit_works_on_those_hosts_only(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(3)
    assert lab.run("apply", limit=("h3",)) == 0
    assert lab.statuses() == {"h3": "changed"}, "the head is only asked"
    assert (lab.homes["h3"] / "worker").exists()
    assert not (lab.homes["h1"] / "head").exists()
    assert lab.run("teardown", limit=("h3",)) == 0
    assert lab.statuses() == {"h3": "changed"}
    assert not (lab.homes["h3"] / "worker").exists()


HANDLER = """
- play: Both
  hosts: all
  tasks:
    - name: Cause
      file: {path: "{{ vars.home }}/cause", content: "1"}
    - name: Effect
      command: {argv: [/bin/sh, -c, "echo x >> {{ vars.home }}/effects"], creates: "{{ vars.home }}/effects",
                undo: [/bin/rm, "-f", "{{ vars.home }}/effects"]}
      when: {changed: true}
"""


def test_what_follows_a_change_runs_after_one_only(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(1)
    effects = lab.homes["h1"] / "effects"
    lab.run("apply", HANDLER)
    assert effects.read_text() == "x\n"
    effects.unlink()
    assert lab.run("check", HANDLER) == 0
    assert lab.run("apply", HANDLER) == 0
    assert not effects.exists()


def test_what_is_no_longer_declared_is_removed(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(2)
    lab.run("apply")
    only_head = PLAYBOOK.replace("hosts: all", "hosts: head")
    assert lab.run("check", only_head) == 2
    assert {(each.host, each.task, each.action) for each in lab.differences()} == {
        ("h2", "Remove what is no longer declared", "remove")
    }
    assert lab.run("apply", only_head) == 0
    assert not (lab.homes["h2"] / "etc").exists()
    assert (lab.homes["h1"] / "etc/app.conf").exists()
    assert lab.run("check", only_head) == 0


def test_teardown_removes_what_an_older_playbook_made(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(2)
    bare = lab.listing()
    lab.run("apply")
    assert lab.run("teardown", HANDLER, purge=True) == 0
    assert lab.listing() == bare


def test_the_user_is_asked_once_and_may_refuse(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(3)
    lab.run("apply")
    asked: list[int] = []

    def refuse(stopping: tuple[Difference, ...]) -> bool:
        asked.append(len(stopping))
        return False

    before = lab.listing()
    assert lab.run("teardown", confirm=refuse) == 1
    assert asked == [12]
    assert set(lab.statuses().values()) == {"skipped"}
    assert lab.listing() == before
    assert lab.run("teardown", confirm=lambda stopping: True) == 0
