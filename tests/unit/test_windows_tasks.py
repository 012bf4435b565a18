"""Ray as a task of the Task Scheduler, as far as it is text: definitions, what the service answers, what is refused."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from provisioner.remote import service
from provisioner.remote.failure import Failure
from provisioner.remote.platforms.base import NEEDS_ELEVATION
from provisioner.remote.platforms.windows import access, com, registry, scheduler
from provisioner.remote.platforms.windows.tasks import Tasks
from provisioner.remote.platforms.windows.taskxml import Registered, task_xml

from .windows_host import Host

NAMESPACE = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
ROOT = r"C:\provision\lab"
ARGV = [rf"{ROOT}\env\3.11.9-0a1b\Scripts\python.exe", "-I", "-S", rf"{ROOT}\service\launch.py", "supervise",
        rf"{ROOT}\service\ray-lab.run.json", rf"{ROOT}\run\ray-lab.state",
        rf"{ROOT}\service\ray-lab.hold"]  # fmt: skip
SID = "S-1-5-21-1004336348-1177238915-682003330-1001"
ORDER = {
    "Task": ["RegistrationInfo", "Triggers", "Principals", "Settings", "Data", "Actions"],
    "TimeTrigger": ["Repetition", "StartBoundary", "EndBoundary", "ExecutionTimeLimit", "Enabled", "RandomDelay"],
    "Repetition": ["Interval", "Duration", "StopAtDurationEnd"],
    "Principal": ["UserId", "LogonType", "GroupId", "DisplayName", "RunLevel"],
    "Settings": ["MultipleInstancesPolicy", "DisallowStartIfOnBatteries", "StopIfGoingOnBatteries",
                 "AllowHardTerminate", "StartWhenAvailable", "RunOnlyIfNetworkAvailable", "NetworkSettings",
                 "IdleSettings", "AllowStartOnDemand", "Enabled", "Hidden", "RunOnlyIfIdle", "WakeToRun",
                 "ExecutionTimeLimit", "Priority"],
    "Exec": ["Command", "Arguments", "WorkingDirectory"],
}  # fmt: skip
"""The order in which the Task Scheduler itself writes them, which suits the documented schema."""


def xml(account: str = "kim", password: bool = False, elevated: bool = True) -> str:
    return task_xml("lab", account, password, elevated, ARGV)


def tree(text: str) -> ET.Element:
    return ET.fromstring(text.replace(' encoding="UTF-16"', ""))


PRINCIPALS = [
    ({}, ["kim", "S4U", "LeastPrivilege"]),
    ({"password": True}, ["kim", "Password", "LeastPrivilege"]),
    ({"account": "SYSTEM"}, ["S-1-5-18", None, "HighestAvailable"]),
    ({"account": "NT AUTHORITY\\System"}, ["S-1-5-18", None, "HighestAvailable"]),
    ({"account": "LAB\\lee", "password": True}, ["LAB\\lee", "Password", "LeastPrivilege"]),
    ({"account": "홍길동", "elevated": False}, ["홍길동", "S4U", "LeastPrivilege"]),
    ({"account": "R&D<x>"}, ["R&D<x>", "S4U", "LeastPrivilege"]),
]


@pytest.mark.parametrize(("who", "expected"), PRINCIPALS)
def test_who_a_task_runs_as(who: dict[str, Any], expected: list[str | None]) -> None:
    principal = tree(xml(**who)).find(f"{NAMESPACE}Principals/{NAMESPACE}Principal")
    assert principal is not None
    assert [principal.findtext(NAMESPACE + name) for name in ("UserId", "LogonType", "RunLevel")] == expected


@pytest.mark.parametrize("who", [who for who, _ in PRINCIPALS])
def test_a_task_has_the_documented_order_and_settings(who: dict[str, Any]) -> None:
    root = tree(xml(**who))
    for parent in root.iter():
        names = [child.tag.removeprefix(NAMESPACE) for child in parent]
        order = ORDER.get(parent.tag.removeprefix(NAMESPACE), names)
        assert names == [name for name in order if name in names], parent.tag
        assert len(set(names)) == len(names)
    settings = {child.tag.removeprefix(NAMESPACE): child.text for child in root.iter() if child.text}
    expected = {"MultipleInstancesPolicy": "IgnoreNew", "ExecutionTimeLimit": "PT0S", "Priority": "5",
                "DisallowStartIfOnBatteries": "false", "StopIfGoingOnBatteries": "false", "Interval": "PT1M",
                "Command": ARGV[0], "Arguments": " ".join(ARGV[1:])}  # fmt: skip
    assert expected.items() <= settings.items()
    assert (root.find(f".//{NAMESPACE}BootTrigger") is not None) == who.get("elevated", True)


def as_written_back(text: str) -> str:
    """As the service exports it: another order, more elements, an URI."""
    before, after = text.split("  </RegistrationInfo>")
    text = before + "    <URI>\\provision\\ray-lab</URI>\n  </RegistrationInfo>" + after
    return text.replace("<Hidden>false</Hidden>", "<IdleSettings>\n<StopOnIdleEnd>true</StopOnIdleEnd></IdleSettings>")


OUTPUTS = {
    "as it is": lambda text: text,
    "with other line ends": lambda text: text.replace("\n", "\r\r\n"),
    "UTF-16 taken for the code page": lambda text: (b"\xff\xfe" + text.encode("utf-16-le")).decode("cp437"),
    "UTF-16 taken for the Korean code page": lambda text: text.encode("utf-16-le").decode("cp949", "replace"),
    "behind other lines": lambda text: "\n\n" + text + "\n\n",
}


@pytest.mark.parametrize("seen", OUTPUTS.values(), ids=list(OUTPUTS))
def test_what_is_registered_is_recognized(seen: Any) -> None:
    wanted, found = Registered(xml()), Registered(seen(as_written_back(xml())))
    assert len(found.fingerprint) == 16
    assert (found.fingerprint, found.command, found.arguments) == (wanted.fingerprint, ARGV[0], " ".join(ARGV[1:]))
    assert found.enabled


EDITED = [
    (xml(account="lee"), "fingerprint"),
    (xml(elevated=False), "fingerprint"),
    (xml().replace(">-I -S", ">-c x"), "arguments"),
    (xml().replace("<Command>C:", "<Command>D:"), "command"),
    (xml().replace("<AllowStartOnDemand>true</AllowStartOnDemand>\n    <Enabled>true", "<Enabled>false"), "enabled"),
    (xml().replace(" [", " "), "fingerprint"),
    ("", "command"),
    ("ERROR: 지정된 파일을 찾을 수 없습니다.", "fingerprint"),
]


@pytest.mark.parametrize(("text", "what"), EDITED)
def test_what_was_edited_is_seen(text: str, what: str) -> None:
    assert getattr(Registered(text), what) != getattr(Registered(xml()), what)


class Scheduler:
    """Schedule.Service, with what is handed over to it; only Windows has the real one."""

    def __init__(self, refusal: com.ComError | None = None) -> None:
        self.refusal = refusal
        self.told: list[tuple[Any, ...]] = []

    def object(self, name: str, *arguments: Any) -> Scheduler:
        return self

    def call(self, name: str, *arguments: Any) -> None:
        if name == "RegisterTask":
            if self.refusal:
                raise self.refusal
            self.told.append(arguments)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """Only Windows says who we are; what its registry says of tasks, by path, is returned."""
    found: dict[str, dict[str, Any]] = {}
    monkeypatch.setattr(access, "own_sid", lambda: SID)
    monkeypatch.setattr(
        access, "sid_of", lambda name: SID if name.lower() in ("kim", "pc1\\kim") else "S-1-5-21-" + name
    )
    monkeypatch.setattr(registry, "values", lambda key: found.get(key.removeprefix(scheduler.TREE), {}))
    return found


@pytest.fixture
def service_of_tasks(monkeypatch: pytest.MonkeyPatch) -> Scheduler:
    made = Scheduler()
    monkeypatch.setattr(com, "create", lambda name: made)
    return made


NO_TASK = {"schtasks.exe /Query": (1, "오류: 지정된 파일을 찾을 수 없습니다.")}


def define(host: Host) -> str:
    """Register the task and return the XML that was handed over."""
    Tasks().define(host, "ray-lab")  # type: ignore[arg-type]
    (text,) = host.platform.files.values()
    assert not list(host.root.rglob("*.xml")), "it is removed again"
    return text


def test_our_own_account_is_named_by_its_sid(tmp_path: Path) -> None:
    host = Host(tmp_path, "PC1\\Kim", "", {})
    assert f"<UserId>{SID}</UserId>\n      <LogonType>S4U<" in define(host)
    argv, _ = host.platform.ran[-1]
    assert argv[1:4] == ["/Create", "/F", "/XML"]
    assert argv[-2:] == ["/TN", "\\provision\\ray-lab"]


def test_a_password_is_in_no_command_and_in_no_file(tmp_path: Path, service_of_tasks: Scheduler) -> None:
    host = Host(tmp_path, "LAB\\lee", "hush", NO_TASK)
    Tasks().define(host, "ray-lab")  # type: ignore[arg-type]
    ((name, text, *rest),) = service_of_tasks.told
    assert "<UserId>LAB\\lee</UserId>\n      <LogonType>Password<" in str(text)
    assert (name, rest) == ("ray-lab", [6, "LAB\\lee", "hush", 1])
    assert "hush" not in repr(host.platform.ran)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [(path.name, path.stat().st_mode & 0o777) for path in written] == [("ray-lab.password.json", 0o600)]
    assert b"hush" not in written[0].read_bytes()


def test_a_password_that_changed_is_noticed_and_told_once(tmp_path: Path, service_of_tasks: Scheduler) -> None:
    host = Host(tmp_path, "LAB\\lee", "hush", NO_TASK)
    stale = []
    for password in ("hush", "hush", "other", "other"):
        host.account_password = password
        manager = Tasks()
        stale.append(manager.observe(host, "ray-lab")["stale"])  # type: ignore[arg-type]
        manager.define(host, "ray-lab")  # type: ignore[arg-type]
        host.platform.answers = {"schtasks.exe /Query": (0, as_written_back(str(service_of_tasks.told[-1][1])))}
    assert stale == [None, None, "its password changed", None]
    assert [told[4] for told in service_of_tasks.told] == ["hush", "other"]
    (tmp_path / "service" / "ray-lab.password.json").unlink()
    assert Tasks().observe(host, "ray-lab")["stale"] == "with a password that was not noted"  # type: ignore[arg-type]


def test_what_is_registered_already_is_not_registered_again(tmp_path: Path) -> None:
    host = Host(tmp_path, "kim", "", NO_TASK)
    text = define(host)
    manager, answer = Tasks(), {"schtasks.exe /Query": (0, as_written_back(text))}
    host.platform.answers, before = answer, len(host.platform.ran)
    manager.define(host, "ray-lab")  # type: ignore[arg-type]
    assert [argv[1] for argv, _ in host.platform.ran[before:]] == ["/Query"]
    manager.prepare(host, "ray-lab", r"C:\other\python.exe")  # type: ignore[arg-type]
    assert [argv[1] for argv, _ in host.platform.ran[before:]] == ["/Query", "/Create"]


def test_what_an_administrator_has_registered_is_good_enough(tmp_path: Path) -> None:
    text = define(Host(tmp_path, "kim", "", NO_TASK))
    host = Host(tmp_path, "kim", "", {"schtasks.exe /Query": (0, as_written_back(text))}, elevated=False)
    manager = Tasks()
    state = manager.observe(host, "ray-lab")  # type: ignore[arg-type]
    assert state["defined"] == manager.definition(host, "ray-lab")  # type: ignore[arg-type]
    manager.foresee(host, "ray-lab", "python3")  # type: ignore[arg-type]
    assert host.shared == {}
    manager.foresee(host, "ray-lab", "newer.exe")  # type: ignore[arg-type]
    assert len(host.shared[NEEDS_ELEVATION]) == 1


FLAWS: list[tuple[str, Any, list[tuple[str, str, str]]]] = [
    ("another account", lambda: xml("SYSTEM"), [(": account", "SYSTEM", "kim")]),
    ("somebody's SID", lambda: xml().replace("<UserId>kim<", "<UserId>S-1-5-21-1<").replace(" [", " [0"),
     [(": account", "lee", "kim")]),
    ("its own SID", lambda: xml().replace("<UserId>kim<", f"<UserId>{SID}<").replace(" [", " [0"), []),
    ("with a password", lambda: xml(password=True), [(": password", "kept by Windows", "none")]),
    ("of a standard account", lambda: xml(elevated=False), [(": starts with the machine", "no", "yes")]),
    ("of another release", lambda: xml().replace("<Priority>5", "<Priority>7").replace(" [", " [0"), []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "told"), [row[1:] for row in FLAWS], ids=[row[0] for row in FLAWS])
def test_what_differs_in_a_task_is_named(
    text: Any, told: list[tuple[str, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "name_of", {"S-1-5-21-1": "lee"}.__getitem__)
    monkeypatch.setattr(access, "sid_of", lambda name: SID if name == "kim" else name)
    host, manager = Host(tmp_path, "kim", "", {"schtasks.exe /Query": (0, as_written_back(text()))}), Tasks()
    host.service_manager = manager
    state = manager.observe(host, "ray-lab")  # type: ignore[arg-type]
    found = service.flaws(host, "ray-lab", state)  # type: ignore[arg-type]
    found = [each for each in found if "command" not in each[0]]
    expected = [(f"service ray-lab{what}", before, after) for what, before, after in told]
    assert found == expected


def test_a_task_that_is_missing_or_disabled_is_called_so(tmp_path: Path) -> None:
    host = Host(tmp_path, "kim", "", NO_TASK)
    host.service_manager = manager = Tasks()
    state = manager.observe(host, "ray-lab")  # type: ignore[arg-type]
    assert service.flaws(host, "ray-lab", state) == [("service ray-lab", "missing", "as declared")]  # type: ignore[arg-type]
    text = manager.definition(host, "ray-lab")  # type: ignore[arg-type]
    whole = {"defined": text, "enabled": False}
    assert service.flaws(host, "ray-lab", whole) == [("service ray-lab", "disabled", "enabled")]  # type: ignore[arg-type]
    same_command = {"defined": text.replace("<Priority>5", "<Priority>7"), "enabled": True}
    assert service.flaws(host, "ray-lab", same_command) == [("service ray-lab", "other settings", "as declared")]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("account", "password", "refused"),
    [("kim", "", False), ("PC1\\Kim", "", False), ("SYSTEM", "", False), ("lee", "hush", False), ("lee", "", True)],
)
def test_a_person_s_account_without_password_is_refused_before_anything_is_done(
    account: str, password: str, refused: bool, tmp_path: Path
) -> None:
    host = Host(tmp_path, account, password, NO_TASK)
    if not refused:
        return Tasks().require(host)  # type: ignore[arg-type]
    with pytest.raises(Failure, match="account lee without its password") as caught:
        Tasks().require(host)  # type: ignore[arg-type]
    assert "password: {from_env: NAME}" in caught.value.remedy
    assert host.platform.ran == []
    return None


NEEDED = [
    ("kim", "", "have Ray run while nobody is logged on, unless the machine's policy lets kim log on as a batch job"),
    ("SYSTEM", "", "have Ray run as SYSTEM"),
    ("LAB\\lee", "hush", "have Ray run as LAB\\lee"),
]


@pytest.mark.parametrize(("account", "password", "needed"), NEEDED)
def test_what_needs_an_administrator_is_known_before_it_is_refused(
    tmp_path: Path, account: str, password: str, needed: str
) -> None:
    host = Host(tmp_path, account, password, NO_TASK, elevated=False)
    for _ in range(2):
        Tasks().foresee(host, "ray-lab", "python.exe")  # type: ignore[arg-type]
    assert host.shared == {NEEDS_ELEVATION: [needed]}
    elevated = Host(tmp_path, account, password, NO_TASK)
    Tasks().foresee(elevated, "ray-lab", "python.exe")  # type: ignore[arg-type]
    assert elevated.shared == {}


def test_a_question_that_fails_is_no_missing_task(tmp_path: Path, known: dict[str, dict[str, Any]]) -> None:
    host = Host(tmp_path, "kim", "", {"schtasks.exe /Query": (1, "오류: 액세스가 거부되었습니다.")}, elevated=False)
    assert Tasks().observe(host, "ray-lab")["defined"] is None  # type: ignore[arg-type]
    known["\\provision\\ray-lab"] = {"Id": "{1}"}
    with pytest.raises(Failure, match=r"task \\provision\\ray-lab is: 오류: 액세스가 거부되었습니다.$") as caught:
        Tasks().observe(host, "ray-lab")  # type: ignore[arg-type]
    assert caught.value.remedy == "log in as an administrator: only they may do that"


def ran(result: int, at: str = "now") -> tuple[int, str]:
    row = ["PC1", r"\provision\ray-lab", "N/A", "준비", "Background only", at, str(result), "N/A"]
    return (0, ",".join(f'"{each}"' for each in row) + "\r\n")


BEFORE = ("then", 0x80070569)
RUNS = {
    "not begun since": (ran(-2147023511, "then"), False),
    "the right to log on is missing": (ran(-2147023511), True),
    "its program is missing": (ran(-2147024894), True),
    "its program gave up": (ran(1), True),
    "it runs": (ran(0x41301), False),
    "it waits": (ran(0x41325), False),
    "its last run seems to go on": (ran(-2147020576), False),
    "no answer": ((1, "ERROR: busy"), False),
}


@pytest.mark.parametrize(("answer", "failed"), RUNS.values(), ids=list(RUNS))
def test_whether_a_run_was_in_vain(tmp_path: Path, answer: tuple[int, str], failed: bool) -> None:
    host = Host(tmp_path, "kim", "", {"schtasks.exe /Query": answer})
    last = scheduler.last_run(host, "ray-lab")  # type: ignore[arg-type]
    assert scheduler.has_failed(BEFORE, last) is failed


REFUSED = [
    ("lee", "", {}, "Windows runs nothing under the account lee without its password"),
    (
        "kim",
        "",
        {**NO_TASK, "schtasks.exe /Create": (1, "오류: 액세스가\r\n거부되었습니다.")},
        "오류: 액세스가 거부되었습니다.$",
    ),
]


@pytest.mark.parametrize(("account", "password", "answers", "message"), REFUSED)
def test_a_refusal_is_a_sentence(
    tmp_path: Path, account: str, password: str, answers: dict[str, tuple[int, str]], message: str
) -> None:
    with pytest.raises(Failure, match=message):
        define(Host(tmp_path, account, password, answers))


def test_a_refused_password_is_a_sentence_without_it(tmp_path: Path, service_of_tasks: Scheduler) -> None:
    service_of_tasks.refusal = com.ComError("RegisterTask", 0x8007052E, "hush is no\r\npassword.")
    with pytest.raises(Failure, match=r"account lee: RegisterTask: \*\*\* is no password \(0x8007052E\)$"):
        Tasks().define(Host(tmp_path, "lee", "hush", NO_TASK), "ray-lab")  # type: ignore[arg-type]
    assert not list(tmp_path.rglob("*.json"))
