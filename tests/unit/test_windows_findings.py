"""What is said of a Windows machine, from its registry as it was recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provisioner.remote.platforms.windows import findings

from .remote_host import World

BALANCED = "381b4222-f694-41f0-9685-ff5bb260df2e"
STANDBY, HIBERNATE = (setting for setting, _, _ in findings.WAYS_TO_SLEEP)
POWER = findings.CONTROL + r"\Power"
SCHEMES = POWER + r"\User\PowerSchemes"
WINDOWS_11 = {
    (findings.VERSION, "CurrentBuildNumber"): "22631",
    (findings.VERSION, "ProductName"): "Windows 10 Pro",
    (findings.VERSION, "DisplayVersion"): "23H2",
    (findings.VERSION, "UBR"): 4317,
    (findings.CONTROL + r"\FileSystem", "LongPathsEnabled"): 1,
    (SCHEMES, "ActivePowerScheme"): BALANCED,
    (rf"{SCHEMES}\{BALANCED}\{findings.SLEEP}\{STANDBY}", "ACSettingIndex"): 0,
}
Registry = dict[tuple[str, str], Any]


def look(folder: Path, registry: Registry, missing: str = "", shared: dict[str, Any] | None = None,
         privileged: bool = True) -> list[dict[str, str]]:  # fmt: skip
    host = World(folder).host()
    host.shared.update(shared or {})
    host.platform.privileged = lambda: privileged  # type: ignore[method-assign]
    host.platform.login_account = lambda: "kim"  # type: ignore[method-assign]
    return findings.findings(host, lambda key, name: registry.get((key, name)), lambda path: path[-12:] != missing)


def test_a_machine_as_it_should_be(tmp_path: Path) -> None:
    found = look(tmp_path, WINDOWS_11)
    assert {each["severity"] for each in found} == {"fine"}
    assert [each["message"] for each in found] == [
        "the session is an administrator's, with all rights",
        "Windows 11 Pro 23H2, build 22631.4317",
        "paths may be longer than 260 characters",
        "the machine does not sleep on mains power, as far as its power scheme says",
        "the machine boots whenever it is switched on (no Fast Startup)",
        "the Visual C++ runtime is installed",
        "nothing keeps the firewall from heeding our rules",
    ]


SCHEME_DEFAULT = rf"{POWER}\PowerSettings\{findings.SLEEP}\%s\DefaultPowerSchemeValues\{BALANCED}"
POLICY = findings.POLICIES + r"\Power\PowerSettings"
FAST_STARTUP = (findings.CONTROL + r"\Session Manager\Power", "HiberbootEnabled")
HIBERNATION = (POWER, "HibernateEnabled")
CASES: list[tuple[str, Registry, str, str]] = [
    ("old", {(findings.VERSION, "CurrentBuildNumber"): "14393"},
     "build 14393.4317 is older than what this was made for", "1809"),
    ("short paths", {(findings.CONTROL + r"\FileSystem", "LongPathsEnabled"): 0}, "paths end at 260", "reg add HKLM"),
    ("sleep in the scheme", {(rf"{SCHEMES}\{BALANCED}\{findings.SLEEP}\{STANDBY}", "ACSettingIndex"): 1800},
     "goes to sleep after 30 min", "standby-timeout-ac 0"),
    ("hibernation by default", {(SCHEME_DEFAULT % HIBERNATE, "ACSettingIndex"): 10800},
     "hibernates after 180 min", "hibernate-timeout-ac 0"),
    ("sleep by policy", {(rf"{POLICY}\{STANDBY}", "ACSettingIndex"): 900}, "goes to sleep after 15 min", "powercfg"),
    ("fast startup", {FAST_STARTUP: 1, HIBERNATION: 1}, "the node may be a minute late", "powercfg /h off"),
    ("fast startup where hibernation was never touched", {FAST_STARTUP: 1}, "Fast Startup is on", "powercfg /h off"),
    ("fast startup by policy", {FAST_STARTUP: 0, (findings.POLICIES + r"\Windows\System", "HiberbootEnabled"): 1},
     "Fast Startup is on", "powercfg /h off"),
    ("rules ignored", {(findings.POLICIES + r"\WindowsFirewall\DomainProfile", "AllowLocalPolicyMerge"): 0},
     "ignore rules of this machine on domain networks", "administrator of the domain"),
    ("shields up", {(findings.FIREWALL + r"\PublicProfile", "DoNotAllowExceptions"): 1,
                    (findings.FIREWALL + r"\StandardProfile", "DoNotAllowExceptions"): 1},
     "lets nobody in on private and public networks", "blockinbound,"),
]  # fmt: skip


@pytest.mark.parametrize(("registry", "message", "remedy"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_what_is_amiss(registry: Registry, message: str, remedy: str, tmp_path: Path) -> None:
    notices = [each for each in look(tmp_path, {**WINDOWS_11, **registry}) if each["severity"] != "fine"]
    assert [each["severity"] for each in notices] == ["notice"]
    assert message in notices[0]["message"]
    assert remedy in notices[0]["remedy"]


def test_the_scheme_counts_more_than_its_default(tmp_path: Path) -> None:
    found = look(tmp_path, {**WINDOWS_11, (SCHEME_DEFAULT % STANDBY, "ACSettingIndex"): 1800})
    assert {each["severity"] for each in found} == {"fine"}


@pytest.mark.parametrize(
    "registry",
    [{FAST_STARTUP: 1, HIBERNATION: 0}, {FAST_STARTUP: 1, (POWER, "HibernateEnabledDefault"): 0}, {FAST_STARTUP: 0}],
)
def test_fast_startup_needs_hibernation(registry: Registry, tmp_path: Path) -> None:
    assert {each["severity"] for each in look(tmp_path, {**WINDOWS_11, **registry})} == {"fine"}


def test_a_runtime_that_is_missing_is_brought(tmp_path: Path) -> None:
    found = look(tmp_path, WINDOWS_11, missing="msvcp140.dll")
    assert "no msvcp140.dll in the system: Ray's environment brings its own" in [each["message"] for each in found]
    assert {each["severity"] for each in found} == {"fine"}


def test_a_program_that_others_shut(tmp_path: Path) -> None:
    found = look(tmp_path, WINDOWS_11, shared={"shut programs": [r"C:\Python311\python.exe"]})
    notice = next(each for each in found if each["severity"] == "notice")
    assert r"keeps other hosts from C:\Python311\python.exe" in notice["message"]
    assert r'program="C:\Python311\python.exe"' in notice["remedy"]


def test_ports_that_others_shut(tmp_path: Path) -> None:
    found = look(tmp_path, WINDOWS_11, shared={"shut ports": [("our block", "6380-6385")]})
    (notice,) = [each for each in found if each["severity"] == "notice"]
    assert notice["message"].startswith("the firewall rule 'our block' keeps other hosts from the ports 6380-6385")
    assert 'delete rule name="our block" dir=in' in notice["remedy"]
    assert "nothing keeps the firewall from heeding our rules" not in [each["message"] for each in found]


@pytest.mark.parametrize(
    ("needs", "severity"), [([], "fine"), (["open the firewall", "start Ray at boot"], "needs elevation")]
)
def test_all_that_needs_an_administrator_is_one_finding(needs: list[str], severity: str, tmp_path: Path) -> None:
    found = look(tmp_path, WINDOWS_11, shared={"needs elevation": needs}, privileged=False)
    assert found[0]["severity"] == severity
    assert found[0]["message"].startswith("the session has no administrator's rights; variables are set for kim alone")
    assert found[0]["message"].endswith("; ".join(needs))
    assert [each["severity"] for each in found[1:]].count("needs elevation") == 0


def test_what_belongs_to_an_account_that_is_not_there(tmp_path: Path) -> None:
    found = look(tmp_path, WINDOWS_11, shared={"needs elevation": [r"remove the variable X in HKU\S-1-5-21 (of lee)"]})
    assert found[0]["severity"] == "needs elevation", "teardown tells those as well"
    assert found[0]["message"].startswith(r"the session can't: remove the variable X in HKU\S-1-5-21 (of lee), since")


def test_a_machine_of_which_nothing_is_known(tmp_path: Path) -> None:
    assert [each["severity"] for each in look(tmp_path, {})] == [
        "fine",
        "fine",
        "notice",
        "fine",
        "fine",
        "fine",
        "fine",
    ]
