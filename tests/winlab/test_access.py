"""Who may do what on a stand-in: access lists are real as far as they are told and kept; nobody is kept out by them."""

from __future__ import annotations

from pathlib import PureWindowsPath
from typing import Any

import pytest

from provisioner.transport import program

from .fixtures import StandInFactory
from .stand_in import StandIn
from .test_platform import PROGRAM, ask

OWN = "S-1-5-21-0-0-0-1000"
KIM = "S-1-5-21-0-0-0-1001"
ADMINISTRATORS = "(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)"
ABOVE = f"D:PAI{ADMINISTRATORS}(A;;0x1200a9;;;BU)"
ROOT = f"D:PAI{ADMINISTRATORS}(A;OICI;0x1200a9;;;OW)"
WRITABLE = f"D:PAI{ADMINISTRATORS}"
SETUP = """
from provisioner.remote.host import Host
from provisioner.remote.platforms.windows import access, descriptors, guard

def host(root, account=None):
    return Host(win, None, {{"cluster": "lab", "host": "w1", "root": root, "account": account}})

def shown(path):
    return descriptors.read(path)

C = {folder!r}
"""


@pytest.fixture(scope="module")
def place(module_stand_ins: StandInFactory) -> StandIn:
    (made,) = module_stand_ins()
    target = made.path(str(PureWindowsPath(PROGRAM).parent))
    target.mkdir()
    (target / "program.zip").write_bytes(program.archive())
    return made


@pytest.fixture
def folder(place: StandIn, request: pytest.FixtureRequest) -> str:
    """A short folder of this test's own, which anybody may change, as all on a fresh drive."""
    path = rf"C:\t{abs(hash(request.node.name)) % 10**6}"
    place.path(path).mkdir()
    return path


def told(place: StandIn, folder: str, script: str) -> Any:
    return ask(place, SETUP.format(folder=folder) + script)


def test_a_default_root_and_what_it_lies_in_are_limited(place: StandIn) -> None:
    script = r"""
h = host(None)
h.folder("env")
win.make_folder(h.path("log"), h.account)
h.write(h.path("marker.json"), b"{}", 0o600)
names = [r"C:\provision", h.root, h.path("env"), h.path("log"), h.path("marker.json")]
lists = [shown(name) for name in names]
files.unlink(h.path("marker.json"))
tell([lists, win.root_differences(h), win.clean(h.root, True), os.path.exists(r"C:\provision")])
"""
    lists, differences, left, there = told(place, "", script)
    read, change = f"(A;OICI;0x1200a9;;;{OWN})", f"(A;OICI;0x1301bf;;;{OWN})"
    inherited = (ROOT + read).replace("D:PAI", "D:AI").replace("OICI", "OICIID")
    wanted = [ABOVE, ROOT + read, inherited, WRITABLE + change, "D:PAI(A;;FA;;;BA)(A;;FA;;;SY)"]
    assert lists == [["S-1-5-32-544", each] for each in wanted]
    assert (differences, left, there) == ([], [], False)


def test_the_list_follows_the_account(place: StandIn, folder: str) -> None:
    script = f"""
h = host(C + r"\\lab")
h.folder()
win.make_folder(h.path("run"), h.account)
h = host(C + r"\\lab", {KIM!r})
before = win.root_differences(h)
seen = [shown(h.root)[1], win.secure_root(h)]
tell([before, win.root_differences(h), [shown(h.root)[1], shown(h.path("run"))[1]],
      win.root_differences(host(C + r"\\lab", "SYSTEM")) != []])
"""
    before, after, lists, other = told(place, folder, script)
    root, run = before
    assert (root["what"], run["what"]) == (rf"who may use {folder}\lab", rf"who may use {folder}\lab\run")
    assert root["before"].startswith("all: ")
    assert root["before"].endswith("winadmin")
    assert root["after"].endswith(KIM)
    assert after == []
    assert lists == [f"{ROOT}(A;OICI;0x1200a9;;;{KIM})", f"{WRITABLE}(A;OICI;0x1301bf;;;{KIM})"]
    assert other


def test_a_root_of_an_older_version_is_brought_into_line(place: StandIn, folder: str) -> None:
    script = f"""
root = C + r"\\lab"
os.makedirs(root + r"\\ray")
open(root + r"\\lock", "w").close()
descriptors.write(root, "D:P(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;OICI;FA;;;{OWN})")
descriptors.set_owner(root, {OWN!r})
h = host(root)
before = [(each["what"], each["before"].split(":")[0]) for each in win.root_differences(h)]
win.secure_root(h)
tell([before, win.root_differences(h), shown(root)[0], shown(root + r"\\ray")[1]])
"""
    before, after, owner, ray = told(place, folder, script)
    assert before == [
        [rf"owner of {folder}\lab", "winadmin"],
        [rf"who may use {folder}\lab", "all"],
        [rf"who may use {folder}\lab\ray", "as the folder above says"],
    ]
    assert (after, owner, ray) == ([], "S-1-5-32-544", f"{WRITABLE}(A;OICI;0x1301bf;;;{OWN})")


REFUSED = {
    "a whole drive": ("root = 'C:\\\\'", "is a whole drive"),
    "somebody else's": (f"os.mkdir(root); descriptors.set_owner(root, {KIM!r})", f"belongs to {KIM}, who could change"),
    "a file": ("open(root, 'w').close()", "is no folder, or a link to one"),
    "in use": ("os.makedirs(root + '/photos'); os.makedirs(root + '/env')", "not ours, such as photos"),
}


@pytest.mark.parametrize(("made", "message"), REFUSED.values(), ids=list(REFUSED))
def test_what_is_not_ours_is_refused(place: StandIn, folder: str, made: str, message: str) -> None:
    said = told(place, folder, f"root = C + '\\\\lab'\n{made}\ntell(told(host, root))")
    assert message in said
    assert " -> " in said


def test_the_folder_of_default_roots_must_be_administrators(place: StandIn) -> None:
    script = rf"""
os.makedirs(r"C:\provision", exist_ok=True)
descriptors.set_owner(r"C:\provision", {KIM!r})
refused = told(host, None)
os.rmdir(r"C:\provision")
tell(refused)
"""
    said = told(place, "", script)
    assert said == rf"C:\provision belongs to {KIM}, who could change what runs from there -> " + (
        "remove that folder, or choose another `root:`"
    )


def test_an_empty_folder_becomes_a_root(place: StandIn, folder: str) -> None:
    script = "os.mkdir(C + '/lab'); h = host(C + '/lab'); h.folder(); win.secure_root(h); tell(shown(h.root)[1])"
    assert told(place, folder, script) == f"{ROOT}(A;OICI;0x1200a9;;;{OWN})"


def test_a_replaced_file_keeps_its_list(place: StandIn, folder: str) -> None:
    script = f"""
listed, plain, secret = C + r"\\listed", C + r"\\plain", C + r"\\secret"
for path in (listed, plain):
    write_atomically(path, b"1")
descriptors.write(listed, "D:(A;;FR;;;WD)")
kept = win.access(listed)
for path in (listed, plain):
    write_atomically(path, b"2")
write_atomically(secret, b"2", 0o600)
seen = [shown(path)[1] for path in (listed, plain, secret)]
win.shield(listed, 0o600, {KIM!r})
shielded = shown(listed)[1]
write_atomically(listed, b"1")
win.set_access(listed, kept)
tell([seen, shielded, shown(listed)[1] == seen[0], sorted(os.listdir(C))])
"""
    (listed, plain, secret), shielded, restored, names = told(place, folder, script)
    assert listed.startswith("D:AI(A;;FR;;;WD)(A;ID;")
    assert plain.startswith("D:AI(A;ID;")
    assert secret == "D:PAI(A;;FA;;;BA)(A;;FA;;;SY)"
    assert shielded == f"{secret}(A;;FA;;;{KIM})"
    assert restored
    assert names == ["listed", "plain", "secret"]


def test_what_a_file_task_brings_is_private_while_it_arrives_and_waits(place: StandIn, folder: str) -> None:
    script = r"""
from provisioner.remote import files
arriving, waiting = C + r"\arriving", C + r"\waiting"
seen = []
for piece in (b"1", b"2"):
    with files.open_for_more(arriving, True) as file:
        file.write(piece)
    seen.append(shown(arriving)[1])
write_atomically(waiting, b"x")
files.shut(waiting)
with open(arriving, "rb") as file:
    tell([*seen, shown(waiting)[1], file.read().decode()])
"""
    assert told(place, folder, script) == ["D:PAI(A;;FA;;;BA)(A;;FA;;;SY)"] * 3 + ["12"]


def test_what_a_launcher_notes_is_not_believed(place: StandIn, folder: str) -> None:
    script = r"""
from provisioner.remote.platforms.windows import tasks
h = host(C + r"\lab")
h.folder("run")
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
state = {"pid": child.pid, "born": calls.born(child.pid), "waiting": False, "restarts": 0}
with open(tasks.state_path(h, "ray-lab"), "w") as file:
    json.dump(state, file)
tell([tasks.Tasks()._launcher(h, tasks.read_state(h, "ray-lab")), state["born"] > 0])
child.kill()
"""
    assert told(place, folder, script) == [0, True]


def test_without_an_administrators_rights_all_is_the_accounts_own(place: StandIn, folder: str) -> None:
    script = """
above, root = C + r"\\above", C + r"\\above\\lab"
guard.make_root(root, above, False, win.login_account())
guard.make_folder(root + r"\\log", False, win.login_account())
lists = [shown(path) for path in (above, root, root + r"\\log")]
descriptors.set_owner(root, "S-1-5-32-544")
tell([lists, told(guard.check_root, root, above, False)])
"""
    lists, refused = told(place, folder, script)
    account = f"(A;OICI;FA;;;{OWN})"
    above = f"D:PAI{ADMINISTRATORS}{account}(A;;0x1200a9;;;BU)"
    assert lists == [[OWN, above], [OWN, f"D:PAI{ADMINISTRATORS}{account}"], [OWN, f"D:PAI{ADMINISTRATORS}{account}"]]
    assert refused == (
        rf"the root {folder}\above\lab is for administrators, and this session has no administrator's rights -> "
        "log in as an administrator, or choose another `root:`"
    )


def test_an_owner_is_known_by_every_name(place: StandIn, folder: str) -> None:
    script = rf"""
path = C + r"\f"
open(path, "w").close()
names = ["winadmin", os.environ["COMPUTERNAME"] + r"\winadmin", ".\\winadmin", {KIM!r}, "SYSTEM"]
before = [win.owned_by(path, name) for name in names]
win.give(path, {KIM!r})
tell([before, [win.owned_by(path, name) for name in names], win.owner(path)])
"""
    assert told(place, folder, script) == [[True, True, True, False, False], [False, False, False, True, False], KIM]


def test_a_head_keeps_secrets_for_administrators_alone_and_notices_what_was_opened(place: StandIn, folder: str) -> None:
    script = r"""
from provisioner.remote import private, secrets, service, tls
h = host(C + r"\lab")
authority = json.dumps({"certificate": "c", "key": "k", "since": 0, "until": 2**40})
tls.keep_authority(h, authority)
for key in private.KEYS:
    secrets.keep(h, key, "abc")
h.write(service.spec_path(h, "ray-lab"), b"{}", 0o600)
secrets.write(h, service.copy_path(h, "ray-lab"), b"{}", h.account)
path, copy = secrets.original_path(h, "authority"), service.copy_path(h, "ray-lab")
fresh = [private.exposed(h, "ray-lab"), tls.authority_exposure(h), tls.authority_id(h) != "", shown(path)]
again = told(tls.keep_authority, h, authority)
for each in (path, copy, secrets.original_path(h, "label-key")):
    descriptors.write(each, "D:(A;;FA;;;WD)")
opened = [[os.path.basename(what) for what, _, _ in private.exposed(h, "ray-lab")], tls.authority_id(h)]
private.shut(h, "ray-lab")
tls.keep_authority(h, authority)
shut = [private.exposed(h, "ray-lab"), tls.authority_exposure(h)]
tell([fresh, again, opened, shut, service.is_intact(h, "ray-lab")])
"""
    fresh, again, opened, shut, intact = told(place, folder, script)
    assert fresh == [[], None, True, ["S-1-5-32-544", "D:PAI(A;;FA;;;BA)(A;;FA;;;SY)"]]
    assert "keeps a certificate authority already" in again
    assert opened == [["ray-lab.run.json", "label-key"], ""]
    assert shut == [[], None] and intact
