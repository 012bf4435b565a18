"""Hosts on which somebody else's program answers: each is cut off and named, and the others never notice."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from provisioner.engine import conversation, ear
from provisioner.transport import session, starter

from .run_cluster import Cluster, box, cluster

__all__ = ["box", "cluster"]

SAYS = """
import json, os, sys, time
def say(**message): sys.stdout.write(json.dumps(message) + "\\n"); sys.stdout.flush()
def facts():
    hello = json.loads(sys.stdin.readline())
    say(type="ready")
    say(type="facts", facts={"os": "linux", "arch": "x86_64", "libc": "glibc", "libc_version": "2.36",
                             "python": "3.11.9", "clock": time.time(), "hostname": "x\\x1b]0;x\\x07"[:1]})
def observed(*rows, **more):
    say(type="observed", tasks=[{"play": play, "task": "T", "differences": [
        {"action": "add", "what": "x", "before": "", "after": "", "stops": ""}]} for play in rows], **more)
def forever(data):
    while True: os.write(1, data)
"""
HOSTILE = {
    "an endless line": ("forever(b'x' * 65536)", "a line without end"),
    "endless garbage": ("forever(b'x' * 80 + b'\\n')", "no message of ours"),
    "endless errors": ("\nwhile True: os.write(2, b'x' * 65536)", "within"),
    "nothing": ("time.sleep(600)", "within|silent"),
    "signs of life and nothing else": ("\nwhile True: say(type='ready'); time.sleep(0.5)", "says nothing of use"),
    "facts of another type": ("say(type='facts', facts=[1])", "'facts' is not as it should be"),
    "endless events": ("facts()\nforever(b'{\"type\":\"doing\",\"text\":\"x\"}\\n' * 100)", "messages without end"),
    "endless questions": (
        "facts()\nfor n in range(10**6): say(type='ask', id=n, to='h1', what='nodes', args=[n])", "questions at once"),
    "files of others": (
        "facts(); observed()\nsay(type='need', id=1, sha256='0' * 64, offset=0)\nfor line in sys.stdin:\n"
        "    if json.loads(line).get('error'): say(type='error', message='heard: ' + json.loads(line)['error'])",
        "heard: the host asks for a file that is none of its own",
    ),
    "hosts to take down": ("facts(); observed(dropped={'h9': {'address': '10.0.0.9'}})", "which only the head knows"),
    "what ran elsewhere": (
        "facts(); observed()\nsay(type='proven', host='h1', hostname='x', os='x', ray='1', python='3', seconds=1)",
        "what ran on 'h1'"),
    "an answer for the head": ("facts(); observed(); say(type='reply', id=1, value=[])", "was not asked"),
    "a play without end": ("facts(); observed(0)\nwhile True: say(type='beat'); time.sleep(0.5)", "began no task"),
    "goodbye at once": ("facts(); say(type='bye')", "goodbye before its time"),
    "half a message": ("facts(); os.write(1, b'{\"type\":'); sys.exit()", "broke off"),
}  # fmt: skip


def take_over(home: Path, program: str) -> list[tuple[Path, bytes]]:
    """Put another program in the place of ours; returns what was there."""
    found = list(home.glob(".provision/program/*/run.py"))
    assert found
    kept = [(path, path.read_bytes()) for path in found]
    for path in found:
        path.write_text(dedent(SAYS) + program)
    return kept


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every limit of waiting short."""
    for module in (starter, session):
        monkeypatch.setattr(module, "SILENCE", 8.0)
    monkeypatch.setattr(starter, "FIRST_LIMIT", 4.0)
    monkeypatch.setattr(conversation, "OBSERVE_LIMIT", 10.0)
    monkeypatch.setattr(conversation, "END_LIMIT", 5.0)
    monkeypatch.setattr(ear, "IDLE_LIMIT", 10.0)


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_host_is_cut_off_and_the_others_are_not(
    what: str, cluster: Callable[[int], Cluster], hurry: None
) -> None:
    program, said = HOSTILE[what]
    lab = cluster(3)
    assert lab.run("check") == 2
    kept = take_over(lab.homes["h2"], program)
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    try:
        code = lab.run("apply", task_timeout=20.0)
    finally:
        for path, content in kept:
            path.write_bytes(content)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    assert code in (3, 4)
    told = lab.finished()["h2"]
    assert told.status in ("failed", "unreachable")
    assert any(words in told.message for words in said.split("|")), told.message
    assert "\n" not in told.message
    assert {lab.statuses()[name] for name in ("h1", "h3")} <= {"changed", "ok"}
    assert time.monotonic() - begun < 60
    assert grown < 400, f"{grown} MiB"


REFUSED = """
facts()
say(type="observed", tasks=[{"play": 0, "task": "T", "differences": [
    {"action": "change", "what": "Ray", "before": "1", "after": "2", "stops": "Ray on h1"}]}])
for line in sys.stdin:
    heard = json.loads(line)
    if heard["type"] == "query":
        say(type="reply", id=heard["id"], value={})
    if heard["type"] == "end":
        open(os.path.expanduser("~/ended"), "w").close()
        say(type="bye")
        break
"""
SLOW = """
- play: Work
  hosts: all
  tasks:
    - name: Take a while
      command: {argv: [/bin/sh, -c, "sleep 3; touch {{ vars.home }}/done"], creates: "{{ vars.home }}/done",
                undo: [/bin/rm, -f, "{{ vars.home }}/done"]}
"""


def test_a_head_that_must_not_be_touched_keeps_the_turn_for_the_others(cluster: Callable[[int], Cluster]) -> None:
    """The user says no at once; what stops nothing is done all the same, and until then nobody else may begin."""
    lab = cluster(3)
    assert lab.run("check", SLOW) == 2
    kept = take_over(lab.homes["h1"], REFUSED)
    try:
        assert lab.run("apply", SLOW, confirm=lambda stopping: False) == 1
    finally:
        for path, content in kept:
            path.write_bytes(content)
    assert lab.statuses() == {"h1": "skipped", "h2": "changed", "h3": "changed"}
    ended = (lab.homes["h1"] / "ended").stat().st_mtime
    assert all((lab.homes[name] / "done").stat().st_mtime <= ended for name in ("h2", "h3"))
    (lab.homes["h1"] / "ended").unlink()
