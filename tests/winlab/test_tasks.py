"""The service on a stand-in, step by step: what the Task Scheduler, the registry and the processes say of each."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest

from provisioner.transport import program

from .fixtures import StandInFactory
from .stand_in import StandIn

PREAMBLE = r"""
import json, os, shutil, subprocess, sys, time
sys.path.insert(0, r"C:\probe\program")
from provisioner.remote import service
from provisioner.remote.failure import Failure
from provisioner.remote.host import Host
from provisioner.remote.platforms import current
from provisioner.remote.platforms.windows import calls, registry, scheduler
from provisioner.remote.resources import ray_removal

class Wire:
    def __init__(self):
        self.said = []
    def send(self, message):
        self.said.append(message["text"])

NAME = "ray-lab"
win = current()

def host(**more):
    return Host(win, Wire(), dict({"cluster": "lab", "host": "w1"}, **more))

def told(act, *arguments):
    try:
        return act(*arguments)
    except Failure as failure:
        return [failure.message, failure.remedy]

def spec(at):
    python = at.path("env", "one", "Scripts", "python.exe")  # only what runs out of the root is ours
    if not os.path.exists(python):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", at.path("env", "one")], check=True)
    return {"argv": [sys.executable, "-c", "import time; time.sleep(600)"], "env": {}, "path": r"C:\windows",
            "python": python, "log": service.log_path(at, NAME), "temp_dir": at.temp_dir()}

def made(**more):
    at = host(**more)
    at.folder()
    service.write_spec(at, NAME, spec(at))
    at.service_manager.define(at, NAME)
    return at

def xml():
    return win.run(scheduler.command(["/Query", "/XML"], NAME))

def observed(at):
    at.service_manager = win.choose_manager("auto")
    state = at.service_manager.observe(at, NAME)
    state["whole"] = service.is_whole(at, NAME, state)
    return state

def tell(value):
    print(json.dumps(value))

"""


@pytest.fixture(scope="module")
def windows(module_stand_ins: StandInFactory) -> StandIn:
    (one,) = module_stand_ins(codepage=949, user="김철수")
    with zipfile.ZipFile(io.BytesIO(program.archive())) as archive:
        archive.extractall(one.path(r"C:\probe\program"))  # the launcher is copied from there
    return one


def ask(host: StandIn, script: str, timeout: float = 60) -> Any:
    host.write(r"C:\probe\script.py", PREAMBLE + script)
    said = host.exec([host.python, "-I", "-S", r"C:\probe\script.py"], check=False, timeout=timeout)
    assert said.returncode == 0, said.stdout + said.stderr
    return json.loads(said.stdout.strip().splitlines()[-1])


def test_a_password_is_given_once_and_its_change_is_noticed(windows: StandIn) -> None:
    script = r"""
account = {"account": win.login_account(), "account_password": "open-sesame"}
at = made(**account)
first = xml()[1]
states = [observed(at), observed(host(**dict(account, account_password="other")))]
at = host(**dict(account, account_password="wrong"))
refused = told(at.service_manager.define, at, NAME)
at = host(**dict(account, account_password="other"))
at.service_manager.define(at, NAME)
states.append(observed(at))
known = registry.values(scheduler.TREE + scheduler.path_of(NAME))
at.service_manager.undefine(at, NAME)
folder = win.run([scheduler.command([], NAME)[0], "/Query", "/TN", "\\provision\\"])[0]
tell([first, [(state["whole"], state["stale"]) for state in states], refused, sorted(known), xml()[0],
      registry.values(scheduler.TREE + scheduler.path_of(NAME)), registry.values(scheduler.TREE + r"\provision"),
      os.listdir(at.path("service"))])
"""
    first, states, refused, known, code, gone, folder, files = ask(windows, script)
    assert "<LogonType>Password</LogonType>" in first
    assert states == [[True, None], [True, "its password changed"], [True, None]]
    assert refused[0] == (
        "the task can't be registered for the account 김철수: Schedule.Service.GetFolder.RegisterTask: "
        "The user name or password is incorrect (0x8007052E)"
    )
    assert (known, code, gone, folder) == (["Id"], 1, {}, {})
    assert not [name for name in files if "password" in name]


def test_a_task_that_can_not_be_asked_about_is_not_missing(windows: StandIn) -> None:
    script = r"""
key = scheduler.TREE + r"\provision\ray-lab"
before = told(observed, host())
win.run(["reg", "add", key, "/v", "Id", "/d", "{1}", "/f"])
after = told(observed, host())
win.run(["reg", "delete", scheduler.TREE + r"\provision", "/f"])
tell([before["defined"], after])
"""
    before, (message, remedy) = ask(windows, script)
    assert before is None
    assert message.startswith("the Task Scheduler does not tell what the task \\provision\\ray-lab is: ")
    assert remedy == "see that the service `Schedule` runs"


def test_a_new_definition_is_registered_while_the_old_one_runs(windows: StandIn) -> None:
    script = r"""
at = made()
at.service_manager.restart(at, NAME)
before = observed(at)
other = r"C:\other\python.exe"
at.service_manager.prepare(at, NAME, other)
after = observed(at)
command = [other in xml()[1]]
at.service_manager.define(at, NAME)
command.append(other in xml()[1])
again = observed(at)
at.service_manager.stop(at, NAME)
at.service_manager.undefine(at, NAME)
tell([[state["active"] and (state["pid"], state["whole"]) for state in (before, after, again)], command,
      calls.runs(before["pid"])])
"""
    (before, after, again), command, left = ask(windows, script, 120)
    assert (before[1], after, again) == (True, [before[0], False], before)
    assert (command, left) == ([True, False], False)


def test_a_task_that_can_not_start_is_not_waited_for(windows: StandIn) -> None:
    script = r"""
at = made()
at.service_manager.prepare(at, NAME, r"C:\nowhere\python.exe")
begun = time.monotonic()
said = told(at.service_manager.restart, at, NAME)
took = time.monotonic() - begun
at.service_manager.undefine(at, NAME)
tell([said, took, at.wire.said])
"""
    (message, _), took, said = ask(windows, script, 120)
    assert message.startswith("the task \\provision\\ray-lab was told to run and has not started within ")
    assert "(its last result: 0x80070002, 파일을 찾을 수 없" in message
    assert took < 30
    assert "waiting for the Task Scheduler to start Ray" in said


def test_what_is_held_open_is_named_and_goes_when_it_is_let_go(windows: StandIn) -> None:
    script = r"""
at = host()
folder = at.folder("log")
path = os.path.join(folder, "held.log")
open(os.path.join(folder, "other.log"), "w").close()
with open(path, "w"):
    refused = told(ray_removal.remove_folders, at)
    cleaned = told(win.clean, at.root, True)
there = os.listdir(folder)
tell([path, refused, cleaned, there, told(ray_removal.remove_folders, at), os.path.exists(folder)])
"""
    path, refused, cleaned, there, done, left = ask(windows, script)
    assert refused[0].startswith(f"{path} can't be removed: ")
    assert cleaned == refused
    assert there == ["held.log"]
    assert (done, left) == (None, False)


def test_an_administrator_may_open_every_process(windows: StandIn) -> None:
    assert ask(windows, "tell(calls.may_open_all())") is True
