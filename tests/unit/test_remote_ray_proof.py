"""The proof that the cluster works, with a script in place of Ray."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from provisioner.engine.manners import Manners
from provisioner.remote.failure import Failure
from provisioner.remote.platforms.linux import Linux
from provisioner.remote.prove import said
from provisioner.remote.resources import ray_proof

from .ray_stage import Dashboard, dashboard
from .remote_host import Machine, World, make

__all__ = ["dashboard"]


def prove(world: World, dashboard: Dashboard, script: str) -> Any:
    """Return a proof whose Python is a shell script."""
    python = world.root / "env" / "3.11.9-e1" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n" + script)
    python.chmod(0o755)
    world.controller.answers["controller", "finished"] = ["ctl", "w1"]
    return make(
        "ray_proof", environment="e1", gcs="127.0.0.1:6379", dashboard=dashboard.address, env={}, members=["ctl", "w1"],
        addresses={},
    )  # fmt: skip


def test_a_proof_runs_on_every_node(tmp_path: Path, dashboard: Dashboard) -> None:
    world = World(tmp_path)
    dashboard.nodes(("a", "ctl", "c", "ALIVE"), ("b", "w1", "c", "ALIVE"), ("z", "theirs", "", "ALIVE"))
    told = {"hostname": "x", "os": "Linux", "ray": "2.60.0", "python": "3.11.9", "seconds": 0.1}
    script = f"echo noise; echo 'provision-proof: {json.dumps({'ctl': told, 'w1': told})}'"
    proof = prove(world, dashboard, script)
    assert proof.observe(world.host()) == []
    assert proof.ensure(world.host()) == "a task ran on 2 nodes"
    proven = [message for message in world.controller.heard if message["type"] == "proven"]
    assert [message["host"] for message in proven] == ["ctl", "w1"]


WHERE = {"hostname": "x", "os": "Linux", "ray": "2.60.0", "python": "3.11.9", "seconds": 0.1}


def says(told: object) -> str:
    return f"echo 'provision-proof: {json.dumps(told)}'"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo broken; exit 1", "the proof could not connect to Ray: broken"),
        ("exit 3", "the proof could not connect to Ray: exit code 3"),
        (says({"ctl": {"error": "no CPU"}, "w1": WHERE}), "a task did not run on every node: ctl: no CPU"),
        (says({"ctl": WHERE}), "a task did not run on every node: w1: nothing is known of it"),
        (says({"ctl": WHERE, "w1": "well"}), "a task did not run on every node: w1: nothing is known of it"),
        (says(["ctl", "w1"]), "the proof could not connect to Ray: what it says is no answer"),
        ("printf 'provision-proof: '; head -c 200000 /dev/zero | tr '\\0' '['",
         "the proof could not connect to Ray: what it says is no answer"),
    ],
)  # fmt: skip
def test_a_proof_that_fails(script: str, message: str, tmp_path: Path, dashboard: Dashboard) -> None:
    world = World(tmp_path)
    dashboard.nodes(("a", "ctl", "c", "ALIVE"), ("b", "w1", "c", "ALIVE"))
    with pytest.raises(Failure) as caught:
        prove(world, dashboard, script).ensure(world.host())
    assert caught.value.message == message


def test_a_proof_waits_for_nodes_only_so_long(
    tmp_path: Path, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_proof, "JOIN_LIMIT", 0.0)
    world = World(tmp_path)
    dashboard.nodes(("a", "ctl", "c", "ALIVE"))
    with pytest.raises(Failure, match="not in the cluster after 0 s: w1"):
        prove(world, dashboard, "").ensure(world.host())


def test_what_a_proof_says_is_of_the_nodes_that_were_asked_and_no_more(tmp_path: Path, dashboard: Dashboard) -> None:
    world = World(tmp_path)
    dashboard.nodes(("a", "ctl", "c", "ALIVE"), ("b", "w1", "c", "ALIVE"))
    strange = {**WHERE, "seconds": "soon", "type": "bye", "host": "w9", "hostname": ["h"] * 9999}
    prove(world, dashboard, says({"ctl": WHERE, "w1": strange, "w9": WHERE})).ensure(world.host())
    proven = [message for message in world.controller.heard if message["type"] == "proven"]
    assert [(message["host"], message["seconds"]) for message in proven] == [("ctl", 0.1), ("w1", 0.0)]
    assert all(Manners("head", ["ctl", "w1"], 1).check(message) for message in proven)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another account")
def test_a_script_runs_with_an_accounts_rights_and_none_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PROVISION_SANDBOX", raising=False)
    monkeypatch.setenv("OURS", "not to be seen")
    nobody = pwd.getpwnam("nobody")
    (tmp_path / "ours").mkdir(mode=0o700)
    script = tmp_path / "ours" / "script.py"
    script.write_text(TELLS)
    code, output = Linux().run_script("nobody", "/usr/bin/python3", str(script), ["a b"], 60.0, {"THEIRS": "x"})
    told = json.loads(output)
    assert (code, told["uids"], told["gids"]) == (0, [nobody.pw_uid] * 3, [nobody.pw_gid] * 3)
    assert told["groups"] == os.getgrouplist("nobody", nobody.pw_gid)
    assert set(told["env"]) - {"LC_CTYPE"} == {"HOME", "LOGNAME", "PATH", "THEIRS", "USER"}
    assert (told["argv"], told["back"]) == (["-", "a b"], "refused")


@pytest.mark.parametrize("account", ["", pwd.getpwuid(os.geteuid()).pw_name])
def test_nor_has_it_our_variables_where_it_runs_as_we_do(
    account: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy or an address of Ray's in the session's environment would have it look elsewhere."""
    monkeypatch.setenv("RAY_ADDRESS", "elsewhere")
    script = tmp_path / "script.py"
    script.write_text("import json, os; print(json.dumps(dict(os.environ)))")
    code, output = Linux().run_script(account, "/usr/bin/python3", str(script), [], 60.0, {"THEIRS": "x"})
    told = json.loads(output)
    assert code == 0 and set(told) - {"LC_CTYPE"} == {"HOME", "LOGNAME", "PATH", "THEIRS", "USER"}
    assert told["HOME"] == pwd.getpwuid(os.geteuid()).pw_dir


TELLS = """
import json, os, sys
try:
    os.setuid(0)
    back = "root again"
except PermissionError:
    back = "refused"
told = {"uids": os.getresuid(), "gids": os.getresgid(), "groups": os.getgroups(), "back": back}
print(json.dumps(dict(told, env=list(os.environ), argv=sys.argv)))
"""


@pytest.mark.parametrize("service", ["process", "auto"])
def test_where_ray_runs_as_we_do_the_proof_does_as_well(
    service: str, tmp_path: Path, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a service manager an account that is declared counts for nothing."""
    world = World(tmp_path, service=service)
    dashboard.nodes(("a", "ctl", "c", "ALIVE"), ("b", "w1", "c", "ALIVE"))
    proof, host = prove(world, dashboard, says({"ctl": WHERE, "w1": WHERE})), world.host()
    host.account = "kim"
    asked: list[str] = []

    def run_script(machine: Machine, account: str, *rest: Any) -> tuple[int, str]:
        asked.append(account)
        return Linux.run_script(machine, "", *rest)

    monkeypatch.setattr(Machine, "run_script", run_script)
    proof.ensure(host)
    assert asked == [{"process": "", "auto": "kim"}[service]]


@pytest.mark.parametrize(
    ("told", "answer"),
    [
        (json.dumps(WHERE).encode(), {name: WHERE[name] for name in ("hostname", "os", "ray", "python")}),
        (b"[" * 4000, {"error": "what the task said is no answer"}),
        (b" " * 5000 + json.dumps(WHERE).encode(), {"error": "what the task said is no answer"}),
        (b'{"hostname": 1}', {"error": "what the task said is no answer"}),
        (b"\x80\x04", {"error": "what the task said is no answer"}),
    ],
)
def test_what_a_task_says_is_text(told: bytes, answer: object) -> None:
    assert said(told) == answer
