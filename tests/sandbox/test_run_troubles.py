"""Runs in which something is amiss: hosts that are dead, dropped or slow, tasks that fail."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import pytest

from provisioner.events import Notice
from tests.waiting import soon

from .conftest import free_ports
from .run_cluster import PLAYBOOK, Cluster, box, cluster
from .support import alive

__all__ = ["box", "cluster"]


def dead(lab: Cluster, name: str) -> Cluster:
    """Have one host listen nowhere."""

    port = free_ports(1)
    lab.hosts = tuple(
        replace(host, ssh=replace(host.ssh, port=port)) if host.name == name else host for host in lab.hosts
    )
    return lab


def test_a_dead_worker_does_not_hold_up_the_others(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(3)
    alive = lab.hosts
    assert dead(lab, "h2").run("apply") == 4
    assert lab.statuses() == {"h1": "changed", "h2": "unreachable", "h3": "changed"}
    assert "refused the connection" in lab.finished()["h2"].message
    lab.hosts = alive
    assert lab.run("apply") == 0
    assert lab.statuses() == {"h1": "ok", "h2": "changed", "h3": "ok"}


def test_a_dead_head_keeps_the_workers_from_starting(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(3)
    alive = lab.hosts
    assert dead(lab, "h1").run("apply") == 4
    assert lab.statuses() == {"h1": "unreachable", "h2": "skipped", "h3": "skipped"}
    assert lab.finished()["h2"].message == "'Begin on the head' did not succeed on h1"
    assert lab.finished()["h2"].counts == {"ok": 0, "changed": 3, "failed": 0, "skipped": 1}
    lab.hosts = alive


FAILS = """
- play: First
  hosts: all
  tasks:
    - name: Good
      command: {argv: [/bin/touch, "{{ vars.home }}/good"], creates: "{{ vars.home }}/good",
                undo: [/bin/rm, "{{ vars.home }}/good"]}
    - name: Bad
      when: {host: h2}
      command: {argv: [/bin/false], creates: /nonexistent}
    - name: After
      command: {argv: [/bin/touch, "{{ vars.home }}/after"], creates: "{{ vars.home }}/after",
                undo: [/bin/rm, "{{ vars.home }}/after"]}
- play: Second
  hosts: all
  needs: First
  tasks:
    - name: Last
      command: {argv: [/bin/touch, "{{ vars.home }}/last"], creates: "{{ vars.home }}/last",
                undo: [/bin/rm, "{{ vars.home }}/last"]}
"""


def test_a_task_that_fails_ends_its_host_only(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(3)
    assert lab.run("apply", FAILS) == 3
    assert lab.statuses() == {"h1": "changed", "h2": "failed", "h3": "changed"}
    assert lab.finished()["h2"].message == "Bad: /bin/false ended with exit code 1: it printed nothing"
    assert lab.finished()["h2"].counts == {"ok": 0, "changed": 1, "failed": 1, "skipped": 1}
    assert not (lab.homes["h2"] / "last").exists()
    assert lab.run("teardown", FAILS) == 0


MEMBERS = (
    PLAYBOOK
    + """
- play: Remember
  hosts: head
  needs: [Begin on the head, Then on the workers]
  tasks:
    - name: Remember the members
      members: {}
"""
)


def test_a_dropped_host_is_found_and_taken_down(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(3)
    bare = [path for path in lab.listing() if "/h3/" in path]
    lab.run("apply", MEMBERS)
    assert lab.run("check", MEMBERS) == 0
    lab.hosts = lab.hosts[:2]
    assert lab.run("check", MEMBERS) == 2
    assert [each.what for each in lab.differences()] == ["member h3"]
    for concurrency in (1, 32):
        assert lab.run("apply", MEMBERS, concurrency=concurrency) == 0
        assert lab.run("check", MEMBERS) == 0
    assert [path for path in lab.listing() if "/h3/" in path] == bare


def test_a_head_that_fails_early_keeps_nobody_waiting(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(2)
    early = """
    - play: Prepare
      hosts: all
      tasks:
        - name: Only the worker can
          command: {argv: [/bin/sh, -c, "test {{ host.role }} = worker && touch {{ vars.home }}/prepared"],
                    creates: "{{ vars.home }}/prepared", undo: [/bin/rm, -f, "{{ vars.home }}/prepared"]}
    """
    assert lab.run("apply", early + dedent(PLAYBOOK).replace("\n", "\n    ")) == 3
    assert lab.statuses() == {"h1": "failed", "h2": "skipped"}
    assert lab.finished()["h2"].message == "'Begin on the head' did not succeed on h1"
    assert lab.run("teardown", early + dedent(PLAYBOOK).replace("\n", "\n    ")) == 0


def test_a_dropped_host_that_cannot_be_reached_stays_known(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(3)
    everyone = lab.hosts
    dead(lab, "h3").run("apply", MEMBERS)
    lab.hosts = everyone[:2]
    assert lab.run("apply", MEMBERS) == 4
    assert lab.statuses() == {"h1": "changed", "h2": "ok", "h3": "unreachable"}
    assert lab.run("check", MEMBERS) == 2
    lab.run("teardown", MEMBERS)


def test_a_task_that_takes_too_long_is_ended_on_the_host(cluster: Callable[[int], Cluster]) -> None:
    lab = cluster(1)
    slow = """
    - play: Slow
      hosts: all
      tasks:
        - name: Sleep
          command: {argv: [/bin/sh, -c, "echo $$ > {{ vars.home }}/pid; sleep 60"], creates: /nonexistent,
                    undo: [/bin/rm, "{{ vars.home }}/pid"]}
    """
    assert lab.run("apply", slow, task_timeout=1.0) == 3
    assert lab.finished()["h1"].message.startswith("'Sleep' did not end within 1 s (last: running ")
    pid = int((lab.homes["h1"] / "pid").read_text())
    assert soon(lambda: not alive(pid), 10.0)
    lab.run("teardown", slow)


def test_waiting_for_a_slot_is_not_silence(cluster: Callable[[int], Cluster], monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that waits for its turn hears from us all the time, or it would give us up."""
    from provisioner.engine import line
    from provisioner.transport.wire import Wire

    monkeypatch.setattr(line, "BEAT", 0.5)
    beats: set[str] = set()
    send = Wire.send

    def watched(self: Wire, message: dict[str, Any]) -> None:
        if message["type"] == "beat":
            beats.add(self._host)
        send(self, message)

    monkeypatch.setattr(Wire, "send", watched)
    lab = cluster(3)
    slow = """
    - play: Slow
      hosts: workers
      tasks:
        - name: Sleep
          command: {argv: [/bin/sh, -c, "sleep 2; touch {{ vars.home }}/slept"], creates: "{{ vars.home }}/slept",
                    undo: [/bin/rm, "{{ vars.home }}/slept"]}
    """
    assert lab.run("apply", slow, concurrency=1) == 0
    assert beats == {"h1", "h2", "h3"}
    lab.run("teardown", slow)


@pytest.mark.parametrize(("off", "way"), [(-120, "ahead"), (3600, "behind")])
def test_a_clock_that_is_off_is_named(
    off: int, way: str, cluster: Callable[[int], Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = SimpleNamespace(time=lambda: time.time() + off, monotonic=time.monotonic)
    monkeypatch.setattr("provisioner.engine.remarks.time", ours)
    lab = cluster(1)
    lab.run("check")
    (notice,) = [event for event in lab.events if isinstance(event, Notice)]
    assert f"{abs(off)} s {way} of this machine's" in notice.message or f"{abs(off) - 1} s {way}" in notice.message
    assert "set it right" in notice.remedy
