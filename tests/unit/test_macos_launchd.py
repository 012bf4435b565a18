"""LaunchDaemons: their property lists, and every answer of launchctl."""

from __future__ import annotations

import plistlib
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote import service
from provisioner.remote.failure import Failure
from provisioner.remote.host import Host
from provisioner.remote.platforms.macos import launchctl, launchd
from provisioner.remote.platforms.macos.launchctl import Launchctl, parse_job
from provisioner.remote.platforms.macos.launchd import LaunchDaemon
from provisioner.remote.platforms.supervised import Supervised
from tests import waiting

from . import mac_host
from .mac_host import Launchd, Mac, always, host_of

NAME = "ray-lab"
LABEL = "provision.ray-lab"
DOCUMENTED = {
    "Label": str, "ProgramArguments": list, "UserName": str, "EnvironmentVariables": dict, "WorkingDirectory": str,
    "RunAtLoad": bool, "KeepAlive": bool, "ThrottleInterval": int, "ExitTimeOut": int, "ProcessType": str,
    "SoftResourceLimits": dict, "HardResourceLimits": dict, "StandardOutPath": str, "StandardErrorPath": str,
}  # fmt: skip
"""Keys of launchd.plist(5), macOS 15, with their types."""


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launchctl, "LOOK", 0.001)


class Place:
    """A host with a daemon, in a folder."""

    def __init__(self, folder: Path, model: Launchd | None = None) -> None:
        self.model = model or Launchd()
        self.mac = Mac({launchctl.PROGRAM: self.model})
        self.daemons = folder / "LaunchDaemons"
        self.daemons.mkdir()
        self.manager = LaunchDaemon(str(self.daemons))
        self.host: Host = host_of(self.mac, folder / "root")
        self.host.service_manager = self.manager
        self.plist = self.daemons / f"{LABEL}.plist"

    def start(self) -> None:
        spec = {"argv": ["/x/python", "ray"], "env": {}, "python": "/x/python", "temp_dir": self.host.path("ray")}
        service.write_spec(self.host, NAME, spec)
        self.manager.define(self.host, NAME)
        self.manager.restart(self.host, NAME)

    def state(self) -> dict[str, Any]:
        return self.manager.observe(self.host, NAME)


def test_the_property_list_holds_documented_keys_only(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.start()
    keys = plistlib.loads(place.plist.read_bytes())
    assert {key: type(value) for key, value in keys.items()} == DOCUMENTED
    assert keys["Label"] + ".plist" == place.plist.name, "launchd wants the file to be named after the label"
    assert keys["ProgramArguments"] == service.launch_arguments(place.host, NAME)
    assert keys["UserName"] == "root"
    assert keys["EnvironmentVariables"] == {"HOME": "/root", "LOGNAME": "root", "USER": "root"}
    assert keys["RunAtLoad"] is keys["KeepAlive"] is True
    assert keys["SoftResourceLimits"] == keys["HardResourceLimits"] == {"NumberOfFiles": 65536}
    assert keys["ProcessType"] in ("Background", "Standard", "Adaptive", "Interactive")
    assert keys["ExitTimeOut"] > 30, "Ray drains for up to 30 s"
    for key in ("WorkingDirectory", "StandardOutPath", "StandardErrorPath"):
        folder = Path(keys[key]) if key == "WorkingDirectory" else Path(keys[key]).parent
        assert folder.is_dir(), "launchd does not start what names a folder that is missing"
    assert keys["StandardOutPath"] != service.log_path(place.host, NAME), "that one is the launcher's to open"


def test_a_daemon_is_loaded_and_taken_out_and_leaves_nothing(tmp_path: Path) -> None:
    place = Place(tmp_path)
    nothing = {"defined": None, "enabled": False, "active": False, "failing": False, "pid": 0}
    assert place.state() == nothing
    assert place.model.said == [], "nothing is asked where there is no property list"
    place.start()
    state = place.state()
    assert state["defined"] == place.manager.definition(place.host, NAME)
    assert (state["enabled"], state["active"], state["failing"], state["pid"]) == (True, True, False, 913)
    assert place.model.said == [
        f"bootout system/{LABEL}", f"bootstrap system {place.plist}", f"print system/{LABEL}", f"print system/{LABEL}"
    ]  # fmt: skip
    place.manager.stop(place.host, NAME)
    assert (place.state()["active"], place.state()["defined"] is not None) == (False, True)
    place.manager.stop(place.host, NAME)
    place.manager.undefine(place.host, NAME)
    place.manager.undefine(place.host, NAME)
    assert place.state() == nothing
    assert list(place.daemons.iterdir()) == []


def test_looking_costs_one_program(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.start()
    place.mac.ran.clear()
    place.state()
    assert place.mac.ran == [[launchctl.PROGRAM, "print", f"system/{LABEL}"]]


def test_a_service_that_ends_slowly_is_waited_for(tmp_path: Path) -> None:
    place = Place(tmp_path, Launchd(draining=7))
    place.start()
    place.start()
    assert place.model.said.count(f"bootout system/{LABEL}") == 2
    assert place.model.loaded
    assert place.model.left == 0


def test_a_service_that_does_not_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launchd, "END_LIMIT", 0.05)
    place = Place(tmp_path, Launchd(draining=10**9))
    place.start()
    with pytest.raises(
        Failure, match=r"did not end provision\.ray-lab within 0 s .*Operation now in progress"
    ) as caught:
        place.manager.stop(place.host, NAME)
    assert "launchctl print" in caught.value.remedy


@pytest.mark.parametrize(
    "refusals",
    [
        [(5, mac_host.REFUSED)] * 10,
        [(37, mac_host.ALREADY)] * 3,
        [(5, mac_host.REFUSED), (37, mac_host.ALREADY)],
        [(119, mac_host.DISABLED)],
    ],
    ids=["5", "37", "5 and 37", "disabled"],
)
def test_what_launchd_refuses_for_a_while_is_tried_again(refusals: list[tuple[int, str]], tmp_path: Path) -> None:
    place = Place(tmp_path, Launchd(refusals=list(refusals)))
    place.start()
    assert place.state()["active"]
    assert (f"enable system/{LABEL}" in place.model.said) == (refusals[0][0] == 119)


@pytest.mark.parametrize(
    ("code", "output", "words"),
    [
        (5, mac_host.REFUSED, r"bootstrap system .* failed: Bootstrap failed: 5: Input/output error$"),
        (122, "Bootstrap failed: 122: Path had bad ownership/permissions\n", "Path had bad ownership/permissions$"),
        (64, "", "code 64$"),
    ],
)
def test_what_launchd_does_not_take_is_said(
    code: int, output: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launchctl, "SETTLE_LIMIT", 0.05)
    place = Place(tmp_path, Launchd(refusals=[(code, output)] * 10**4))
    with pytest.raises(Failure, match=words) as caught:
        place.start()
    assert "plutil -lint" in caught.value.remedy
    assert not place.model.loaded


def test_one_that_another_run_has_loaded_stays(tmp_path: Path) -> None:
    model = Launchd()
    model.loaded = True
    Launchctl(Mac({launchctl.PROGRAM: model})).bootstrap("/x.plist", LABEL)
    assert model.said == ["bootstrap system /x.plist", f"print system/{LABEL}"]


def test_one_that_is_loaded_and_not_started_is_started(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.model.text = mac_host.WAITING.replace("runs = 1", "runs = 0")
    place.start()
    assert place.model.said[-1] == f"kickstart system/{LABEL}"


@pytest.mark.parametrize(
    ("output", "job"),
    [
        (mac_host.MOJAVE, ("running", 1486, 3, "0")),
        (mac_host.FIRST_RUN, ("running", 913, 1, "")),
        (mac_host.WAITING, ("not running", 0, 1, "")),
        (mac_host.CRASHING, ("spawn scheduled", 0, 54, "78: EX_CONFIG")),
        (mac_host.KILLED, ("spawn scheduled", 0, 2380, "OS_REASON_CODESIGNING")),
        ("", ("", 0, 0, "")),
        ("x = {\n\tpid = many\n\truns = \n}\n", ("", 0, 0, "")),
        ("x = {\n\tinner = {\n\t\tstate = active\n\t\tpid = 7\n\t}\n}\n", ("", 0, 0, "")),
    ],
)
def test_what_print_says(output: str, job: tuple[str, int, int, str]) -> None:
    found = parse_job(output)
    assert (found.state, found.pid, found.runs, found.ended) == job


@pytest.mark.parametrize(
    ("output", "active", "failing"),
    [
        (mac_host.FIRST_RUN, True, False),
        (mac_host.MOJAVE, True, False),
        (mac_host.WAITING, False, False),
        (mac_host.CRASHING, False, True),
        (mac_host.KILLED, False, True),
    ],
)
def test_whether_it_runs(output: str, active: bool, failing: bool, tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.start()
    place.model.text = output
    assert (place.state()["active"], place.state()["failing"]) == (active, failing)


@pytest.mark.parametrize(
    ("code", "output", "words"),
    [
        (1, "Could not print: 1: Operation not permitted\n", "needs root"),
        (64, "Unrecognized target specifier.\nUsage: launchctl print <domain-target>\n", "failed: Usage"),
        (9, "", "code 9"),
    ],
)
def test_an_answer_that_is_none_is_no_absence(code: int, output: str, words: str) -> None:
    with pytest.raises(Failure, match=words):
        Launchctl(Mac({launchctl.PROGRAM: always(code, output)})).job(LABEL)


@pytest.mark.parametrize(
    ("wanted", "privileged", "kind"),
    [
        ("auto", True, "launchd"), ("launchd", True, "launchd"), ("process", True, "process"),
        ("auto", False, "process"), ("process", False, "process"),
    ],
)  # fmt: skip
def test_the_manager(wanted: str, privileged: bool, kind: str) -> None:
    manager = Mac({}, privileged).choose_manager(wanted)
    assert manager.kind == kind
    assert isinstance(manager, LaunchDaemon if kind == "launchd" else Supervised)


@pytest.mark.parametrize(
    ("wanted", "privileged", "words"),
    [("launchd", False, "needs root"), ("systemd", True, "no systemd on macOS"), ("task", True, "no task on macOS"),
     ("systemd-user", False, "no systemd-user")],
)  # fmt: skip
def test_managers_there_are_none_of(wanted: str, privileged: bool, words: str) -> None:
    with pytest.raises(Failure, match=words) as caught:
        Mac({}, privileged).choose_manager(wanted)
    assert caught.value.remedy


def test_a_service_is_loaded_when_nobody_is_left_to_do_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left behind is a shell: here it runs for real, and is refused twice before launchd takes the service."""
    said, refusals = tmp_path / "said", tmp_path / "refusals"
    refusals.write_text("x\nx\n")
    fake = tmp_path / "launchctl"
    fake.write_text(
        f"""#!/bin/sh
echo "$@" >> {said}
if [ -s {refusals} ]; then sed -i 1d {refusals}; exit 5; fi
"""
    )
    fake.chmod(0o755)
    monkeypatch.setattr(launchctl, "PROGRAM", str(fake))
    place = Place(tmp_path)
    monkeypatch.setattr(place.manager, "_folder", str(tmp_path / "a b"))
    place.manager.start_soon(place.host, NAME)
    line = f"bootstrap system {tmp_path / 'a b' / LABEL}.plist"
    assert waiting.soon(lambda: said.exists() and said.read_text().splitlines() == [line] * 3, limit=20.0)
    assert not waiting.soon(lambda: said.read_text().count("\n") > 3, limit=1.5), "it is done"


def test_what_differs_in_a_property_list_is_named(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.start()
    keys = plistlib.loads(place.plist.read_bytes())
    place.plist.write_bytes(plistlib.dumps({**keys, "UserName": "kim", "Nice": 5}))
    told = [(f"service {NAME}: Nice", "5", ""), (f"service {NAME}: account", "kim", "root")]
    assert service.flaws(place.host, NAME, place.state()) == told
    place.plist.write_text("no property list")
    (first, *_) = service.flaws(place.host, NAME, place.state())
    assert first[1] == ""
