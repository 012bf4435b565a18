"""The application firewall of macOS, in the words of socketfilterfw; and what is told of a Mac before all else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provisioner.remote.failure import Failure
from provisioner.remote.host import Host
from provisioner.remote.platforms.macos import Macos
from provisioner.remote.platforms.macos.findings import PMSET, findings, idle_minutes
from provisioner.remote.platforms.macos.firewall import PROGRAM, parse

from .mac_host import Answer, Mac, always, host_of
from .remote_host import make, shown

ON, OFF = "Firewall is enabled. (State = 1)\n", "Firewall is disabled. (State = 0)\n"
"""kolide.com, "How to Configure macOS Firewall to Block Unauthorized Connections"."""
TAHOE = """\
Firewall has block all state set to disabled.
Total number of apps = 9
1 : /usr/libexec/sshd-session
             (Block incoming connections)
2 : /usr/libexec/sshd-auth
             (Block incoming connections)
3 : /usr/libexec/remoted
             (Allow incoming connections)
4 : /usr/bin/python3
             (Allow incoming connections)
"""
"""nix-darwin/nix-darwin#1705, macOS 26, shortened."""
MOJAVE = """\
Block all DISABLED!
ALF: total number of apps = 2 

1 :  /Applications/Google Chrome.app 
 \t ( Allow incoming connections ) 

2 :  /usr/local/bin/bar 
 \t ( Block incoming connections ) 
"""  # noqa: W291 - as it was recorded


@pytest.mark.parametrize(
    ("output", "on", "shut", "programs"),
    [
        (ON + TAHOE, True, False, {"/usr/libexec/sshd-session": False, "/usr/libexec/sshd-auth": False,
                                   "/usr/libexec/remoted": True, "/usr/bin/python3": True}),
        (ON + MOJAVE, True, False, {"/Applications/Google Chrome.app": True, "/usr/local/bin/bar": False}),
        (OFF + MOJAVE, False, False, {"/Applications/Google Chrome.app": True, "/usr/local/bin/bar": False}),
        ("Firewall is enabled. (State = 2)\n", True, True, {}),
        (ON + "Firewall has block all state set to enabled.\n", True, True, {}),
        (ON + "Block all ENABLED!\n", True, True, {}),
        ("", False, False, {}),
        (ON + "1 : /x ( Block incoming connections )\n2 : MyApp.app\n", True, False, {"/x": False}),
    ],
)  # fmt: skip
def test_what_it_says(output: str, on: bool, shut: bool, programs: dict[str, bool]) -> None:
    state = parse(output)
    assert (state.on, state.shut, state.programs) == (on, shut, programs)


class Alf:
    """A model of the firewall, which answers in the words of macOS 26.

    Args:
        state: 0 off, 1 on, 2 nobody is let in.
        unsigned: programs that it does not take.
        apart: it answers one question at a time.
    """

    def __init__(self, state: int = 1, unsigned: tuple[str, ...] = (), apart: bool = False) -> None:
        self.state = state
        self.unsigned = unsigned
        self.apart = apart
        self.programs: dict[str, bool] = {"/usr/libexec/remoted": True}

    def __call__(self, argv: list[str]) -> Answer:
        verb, *rest = argv[1:]
        if verb == "--add" and not rest[0].endswith(self.unsigned or ("nothing",)):
            self.programs.setdefault(rest[0], False)
        if verb == "--unblockapp":
            if rest[0] not in self.programs:
                return 0, "The application is not part of the firewall \n"
            self.programs[rest[0]] = True
        if verb == "--remove":
            self.programs.pop(rest[0], None)
        asked = argv[1:2] if self.apart else argv[1:]
        return 0, "".join(self._said(each) for each in asked)

    def _said(self, question: str) -> str:
        if question == "--getglobalstate":
            word = "enabled" if self.state else "disabled"
            return f"Firewall is {word}. (State = {self.state})\n"
        if question == "--listapps":
            rows = [f"{number} : {path} \n             ({'Allow' if open_ else 'Block'} incoming connections)\n"
                    for number, (path, open_) in enumerate(self.programs.items(), 1)]  # fmt: skip
            return f"Total number of apps = {len(rows)} \n" + "".join(rows)
        return ""


class Place:
    def __init__(self, folder: Path, alf: Alf, privileged: bool = True) -> None:
        self.alf = alf
        self.mac = Mac({PROGRAM: alf, PMSET: always(0, "")}, privileged)
        self.root = folder / "root"
        self.root.mkdir(exist_ok=True)

    def host(self) -> Host:
        host = host_of(self.mac, self.root, service="process")
        host.shared["interpreter"] = str(self.root / "python" / "3.11.9" / "bin" / "python3.11")
        return host

    def differences(self) -> list[tuple[str, str, str, str]]:
        return shown(task().observe(self.host()))


def task() -> Any:
    return make("firewall", environment="ab", ports=[[6379, 6379]], addresses=["10.0.0.10"])


def wanted(root: Path) -> list[str]:
    ray = root / "env" / "3.11.9-ab" / "lib" / "python3.11" / "site-packages" / "ray" / "core" / "src" / "ray"
    return [str(root / "python" / "3.11.9" / "bin" / "python3.11"), f"{ray}/raylet/raylet", f"{ray}/gcs/gcs_server"]


@pytest.mark.parametrize("apart", [False, True])
def test_our_programs_are_let_in_once_and_forgotten(apart: bool, tmp_path: Path) -> None:
    place = Place(tmp_path, Alf(apart=apart))
    before = dict(place.alf.programs)
    paths = wanted(place.root)
    place.alf.programs[paths[1]] = False
    assert place.differences() == [
        ("add", f"firewall: {paths[0]}", "", "others may connect"),
        ("change", f"firewall: {paths[1]}", "others are kept out", "others may connect"),
        ("add", f"firewall: {paths[2]}", "", "others may connect"),
    ]
    assert task().ensure(place.host()) == "3 programs"
    assert place.differences() == []
    assert place.alf.programs == {**before, **dict.fromkeys(paths, True)}
    assert {row[1] for row in shown(task().traces(place.host()))} == {f"firewall: {path}" for path in paths}
    task().remove(place.host())
    assert place.alf.programs == before
    assert task().traces(place.host()) == []
    assert place.host().marker.entries == {}


def test_looking_costs_one_program(tmp_path: Path) -> None:
    place = Place(tmp_path, Alf())
    task().ensure(place.host())
    place.mac.ran.clear()
    assert place.differences() == []
    assert place.mac.ran == [[PROGRAM, "--getglobalstate", "--getblockall", "--listapps"]]


def test_a_firewall_that_is_off_stays_alone(tmp_path: Path) -> None:
    place = Place(tmp_path, Alf(state=0))
    assert place.differences() == []
    assert task().traces(place.host()) == []


def test_an_interpreter_of_the_system_that_was_known_before_stays_known(tmp_path: Path) -> None:
    place = Place(tmp_path, Alf())
    theirs = "/opt/homebrew/bin/python3.11"
    place.alf.programs[theirs] = True
    host = place.host()
    host.shared["interpreter"] = theirs
    task().ensure(host)
    task().remove(place.host())
    assert place.alf.programs[theirs] is True


def test_one_that_we_made_known_does_not(tmp_path: Path) -> None:
    place = Place(tmp_path, Alf())
    host = place.host()
    host.shared["interpreter"] = "/opt/homebrew/bin/python3.11"
    task().ensure(host)
    assert "/opt/homebrew/bin/python3.11" in place.alf.programs
    task().remove(place.host())
    assert list(place.alf.programs) == ["/usr/libexec/remoted"]


def test_a_program_that_it_does_not_take_is_named(tmp_path: Path) -> None:
    place = Place(tmp_path, Alf(unsigned=("raylet",)))
    with pytest.raises(Failure, match=r"does not take .*raylet/raylet$") as caught:
        task().ensure(place.host())
    assert "System Settings" in caught.value.remedy


def test_without_root_it_is_named_and_nothing_is_done(tmp_path: Path) -> None:
    place = Place(tmp_path, Alf(), privileged=False)
    host = place.host()
    assert task().observe(host) == []
    assert told(host, "needs elevation") == [
        f"the session has the rights of {host.platform.login_account()}, and it can't: open the firewall for the "
        "cluster's other hosts"
    ]


def test_a_firewall_that_lets_nobody_in_is_told(tmp_path: Path) -> None:
    place = Place(tmp_path, Alf(state=2))
    host = place.host()
    task().observe(host)
    assert any("blocks all incoming connections" in each for each in told(host, "notice"))


def told(host: Host, severity: str) -> list[str]:
    return [each["message"] for each in findings(host) if each["severity"] == severity]


LAPTOP = """\
Battery Power:
 Sleep On Power Button 1
 powermode            1
 standby              1
 ttyskeepawake        1
 hibernatemode        3
 powernap             1
 hibernatefile        /var/vm/sleepimage
 displaysleep         15
 womp                 0
 networkoversleep     0
 sleep                1
 lessbright           1
 tcpkeepalive         1
 disksleep            10
AC Power:
 Sleep On Power Button 1
 powermode            2
 standby              1
 displaysleep         10
 womp                 1
 sleep                %s
 tcpkeepalive         1
 disksleep            10
"""
"""``pmset -g custom`` on a laptop with Apple silicon, as a public test of another program has recorded it."""


@pytest.mark.parametrize(
    ("output", "minutes"),
    [
        (LAPTOP % "0", 0),
        (LAPTOP % "1", 1),
        (LAPTOP % "10 (sleep prevented by sharingd, powerd)", 10),
        ("AC Power:\n disksleep            10\n displaysleep         10\n sleep                30\n", 30),
        ("Battery Power:\n sleep                10\n", 0),
        ("", 0),
    ],
)
def test_when_it_goes_to_sleep(output: str, minutes: int, tmp_path: Path) -> None:
    assert idle_minutes(output) == minutes
    host = host_of(Mac({PMSET: always(0, output)}), tmp_path)
    sleeps = [each for each in told(host, "notice") if "goes to sleep" in each]
    assert sleeps == ([f"the Mac goes to sleep after {minutes} min without anybody at it: its node is lost then"]
                      if minutes else [])  # fmt: skip


@pytest.mark.parametrize(
    ("release", "privileged", "warned"),
    [
        ("15.6.1", False, True),
        ("26.1", False, True),
        ("15.6.1", True, False),
        ("14.7", False, False),
        ("", False, False),
    ],
)
def test_local_network_privacy_is_told_of_where_it_may_strike(
    release: str, privileged: bool, warned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mac = Mac({PMSET: always(0, "")}, privileged)
    monkeypatch.setattr(mac, "facts", lambda: {**Macos.facts(mac), "macos_version": release})
    notices = told(host_of(mac, tmp_path), "notice")
    assert any("local network" in each for each in notices) == warned


def test_findings_start_one_program_and_are_complete(tmp_path: Path) -> None:
    mac = Mac({PMSET: always(0, LAPTOP % "0")})
    host = host_of(mac, tmp_path)
    found = mac.findings(host)
    assert [argv[0] for argv in mac.ran] == [PMSET]
    assert all(set(each) == {"severity", "message", "remedy"} for each in found)
