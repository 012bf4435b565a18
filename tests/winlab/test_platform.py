"""The remote program's Windows, asked on a stand-in: each case is a few lines that run there in the genuine Python."""

from __future__ import annotations

import json
from typing import Any

import pytest

from provisioner.transport import program

from .fixtures import StandInFactory
from .stand_in import StandIn

PROGRAM = r"C:\probe\program.zip"
PREAMBLE = """
import json, os, shutil, subprocess, sys, time
sys.path.insert(0, r"{program}")
from provisioner.remote import files
from provisioner.remote.failure import Failure
from provisioner.remote.marker import write_atomically
from provisioner.remote.platforms import current, end_children
from provisioner.remote.platforms.windows import calls
win = current()

def told(act, *arguments):
    try:
        return act(*arguments)
    except Failure as failure:
        return failure.message + " -> " + failure.remedy

def tell(value):
    print(json.dumps(value))

"""


@pytest.fixture(scope="module")
def host(module_stand_ins: StandInFactory) -> StandIn:
    """A Korean stand-in with an installed Python."""
    (made,) = module_stand_ins(shell="cmd", codepage=949, user="김철수")
    target = made.path(r"C:\probe")
    target.mkdir()
    (target / "program.zip").write_bytes(program.archive())
    return made


def ask(host: StandIn, script: str) -> Any:
    """Run a script there and return what it tells."""
    host.write(r"C:\probe\script.py", PREAMBLE.format(program=PROGRAM) + script)
    said = host.exec([host.python, "-I", "-S", r"C:\probe\script.py"], check=False, timeout=60)
    assert said.returncode == 0, said.stdout + said.stderr
    return json.loads(said.stdout.strip().splitlines()[-1])


def test_facts(host: StandIn) -> None:
    facts = ask(host, "tell(win.facts())")
    assert (facts["os"], facts["arch"], facts["python"]) == ("windows", "x86_64", "3.11.9")
    assert (facts["hostname"], facts["code_page"], facts["privileged"]) == (host.name, 949, True)
    assert facts["version"].startswith("10.0.")


CASES = {
    "the account that logged in": ("win.login_account()", "김철수"),
    "the root": ("win.default_root('lab')", r"C:\provision\lab"),
    "a root as it is written here": ("win.checked_root('C:/p/lab/')", r"C:\p\lab"),
    "a program of the system": ("win.run(['cmd', '/c', 'exit 7'])[0]", 7),
    "its output, in its code page": ("win.run(['cmd', '/c', 'echo 둘'])[1].strip()", "둘"),
    "an exit code of 32 bits": ("win.run([sys.executable, '-c', 'import os; os._exit(-1073741515)'])[0]", 0xC0000135),
    "a variable in any case": ("win.run(['cmd', '/c', 'echo %MiXeD%'], 60, {'mIxEd': 'x'})[1].strip()", "x"),
    "no such program": ("told(win.run, ['nosuch'])", "there is no program nosuch -> "),
    "a program in the current folder": (
        "(shutil.copy(os.environ['COMSPEC'], 'here.exe'), told(win.run, ['here', '/c', 'ver']))[1]",
        "there is no program here -> ",
    ),
    "a part of cmd": (
        "told(win.run, ['mkdir', 'x'])",
        "there is no program mkdir -> it is a part of cmd.exe: write `argv: [cmd, /c, mkdir, ...]`",
    ),
    "no such folder": (
        r"told(win.run, ['cmd', '/c', 'ver'], 60, None, 'C:\\nosuch')",
        r"there is no folder C:\nosuch to run cmd in -> ",
    ),
    "an interpreter that is installed": ("win.find_interpreters('3.11.9')", [r"C:\Program Files\Python311\python.exe"]),
    "one that is not": ("win.find_interpreters('3.12.1')", []),
    "who owns what we made": (r"(open(r'C:\probe\mine', 'w').close(), win.owner(r'C:\probe\mine'))[1]", "김철수"),
    "an account that does not exist": (
        "told(win.give, r'C:\\\\probe\\\\script.py', 'nosuch')",
        "there is no account 'nosuch' on this host -> create it, or change `account:`",
    ),
}


@pytest.mark.parametrize(("expression", "value"), CASES.values(), ids=CASES.keys())
def test_what_is_asked_of_it(host: StandIn, expression: str, value: object) -> None:
    assert ask(host, f"tell({expression})") == value


def test_a_program_that_takes_too_long_ends_with_all_it_has_started(host: StandIn) -> None:
    sleep = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(77)'])"
    script = f"""
said = told(win.run, [sys.executable, "-c", {sleep!r}], 3.0)
time.sleep(0.5)
tell([said, len([name for _, _, name in calls.processes() if name == "python.exe"])])
"""
    said, left = ask(host, script)
    assert said == "python.exe did not end within 3 s -> "
    assert left == 1, "only the one that asks"


def test_what_runs_for_us_ends_when_we_are_told_to(host: StandIn) -> None:
    script = """
import threading
threading.Thread(target=lambda: told(win.run, [sys.executable, "-c", "import time; time.sleep(77)"])).start()
time.sleep(2)
end_children()
time.sleep(0.5)
tell(len([name for _, _, name in calls.processes() if name == "python.exe"]))
"""
    assert ask(host, script) == 1


def test_only_one_run_at_a_time(host: StandIn) -> None:
    script = r"""
path = r"C:\probe\lock"
held = win.lock(path, 1.0)
other = '''
import sys; sys.path.insert(0, r"C:\probe\program.zip")
from provisioner.remote.platforms import current
try:
    current().lock(r"C:\probe\lock", 0.5)
except Exception as error:
    print(error.message)
'''
_, said = win.run([sys.executable, "-I", "-S", "-c", other])
held.close()
tell([said.strip(), win.run([sys.executable, "-I", "-S", "-c", other])[1].strip()])
"""
    held, free = ask(host, script)
    assert held == "another run works on this host"
    assert free == ""


def test_files_that_others_have_open_or_may_not_be_written(host: StandIn) -> None:
    script = r"""
import threading
folder = r"C:\probe\files"
os.makedirs(folder + r"\sub")
path = folder + r"\sub\one"
write_atomically(path, b"a\nb\r\n")
os.chmod(path, 0o400)
write_atomically(path, b"c\n")
reader = open(path, "rb")
threading.Timer(1.0, reader.close).start()
write_atomically(path, b"d\x1a\n")
with open(path, "rb") as file:
    content = file.read()
os.chmod(path, 0o400)
files.remove_tree(folder)
tell([content.hex(), os.path.exists(folder)])
"""
    assert ask(host, script) == [b"d\x1a\n".hex(), False]


def test_a_root_is_limited_before_it_has_its_name(host: StandIn) -> None:
    script = r"""
root = r"C:\probe\root"
win.make_root(root, win.login_account())
win.make_root(r"C:\probe\other", win.login_account())
tell([os.path.isdir(root), os.path.exists(root + ".part"), win.clean(root, True), os.path.exists(root)])
"""
    assert ask(host, script) == [True, False, [], False]


def test_a_variable_is_found_where_a_session_with_other_rights_set_it(host: StandIn) -> None:
    """All sessions of a stand-in are an administrator's: the one without such rights is told so."""
    script = r"""
from provisioner.remote.platforms.windows import registry
own = registry.RegistryVariables(registry.own_place(), False)
kept = own.keep("NET_TEST")
own.set("NET_TEST", "1")
later = win.variables(own.place)
seen = [own.path, later.get("NET_TEST"), later.writable, win.variables().path == registry.MACHINE]
later.put_back("NET_TEST", kept)
gone = registry.RegistryVariables(registry.USERS % "S-1-5-21-9-9-9-9", True)
machine = registry.RegistryVariables(registry.MACHINE, False)
tell(seen + [own.get("NET_TEST"), gone.readable, gone.writable, gone.get("X"), machine.readable, machine.writable])
"""
    seen = ask(host, script)
    assert seen[:4] == [r"HKCU\Environment", "1", True, True]
    assert seen[4:] == [None, False, False, None, True, False]


def test_rules_that_can_not_be_put_into_a_group_are_only_a_sentence(host: StandIn) -> None:
    """The firewall's objects are there, and Wine does not know what to do with them."""
    script = """
from provisioner.remote.platforms.windows.firewall import put_into_group
tell(told(put_into_group, ["provision lab 0a1b2c3d 1"], "provision lab"))
"""
    said = ask(host, script)
    assert "(0x8" in said, said


PROFILE = r"HKLM\SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy\PublicProfile"
EXPOSED = r"""
import socket
from types import SimpleNamespace
from provisioner.remote.platforms.windows import exposure, registry
there, here = socket.create_server(("0.0.0.0", 6379)), socket.create_server(("127.0.0.1", 6380))
os.makedirs(r"C:\probe\service", exist_ok=True)
with open(r"C:\probe\service\ray-lab.json", "w") as file:
    json.dump({"argv": ["--port=6379", "--node-manager-port=6380"], "env": {}, "python": "python.exe"}, file)
host = SimpleNamespace(cluster="lab", node_ip="10.0.0.9", root=r"C:\provision\lab", interpreter=lambda: "",
                       path=lambda *names: os.path.join(r"C:\probe", *names))
tell(exposure.findings(host, registry.read, registry.values, calls.listening))
"""


@pytest.mark.parametrize(
    ("on", "severity", "said"),
    [
        ("0", "notice", "the Windows firewall is off on public networks: every machine of the network reaches Ray's "),
        ("1", "fine", "the Windows firewall refuses what no rule of it lets in; nothing was seen that opens Ray's "),
    ],
)
def test_what_strangers_reach_is_named(host: StandIn, on: str, severity: str, said: str) -> None:
    host.exec(["reg", "add", PROFILE, "/v", "EnableFirewall", "/t", "REG_DWORD", "/d", on, "/f"])
    (finding,) = ask(host, EXPOSED)
    host.exec(["reg", "delete", PROFILE, "/v", "EnableFirewall", "/f"])
    assert finding["severity"] == severity
    assert finding["message"].startswith(said + "ports (6379)")
