"""Events in, exact lines out: the plain report, its summary, the JSON document and the fan-out."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from provisioner.events import (
    Difference,
    Doing,
    Event,
    Finding,
    HostConnected,
    HostFinished,
    HostObserved,
    NodeProven,
    Notice,
    RunFinished,
    RunStarted,
    TaskFinished,
    TaskStarted,
    Verb,
)
from provisioner.report import Reports, open_reports
from provisioner.report.lines import difference_line
from provisioner.report.plain import PlainReport

ADD = Difference("w1", "Variables", "add", "variable RAY_X=1")
CHANGE = Difference("w1", "Ray", "change", "Ray", "2.48", "2.49", "ray-worker")
REMOVE = Difference("w1", "Firewall", "remove", "rule", before="ray-6379")
ONE_SIDED = [
    (Difference("w1", "Ray", "change", "ray env X", after="1"), "~ ray env X: (none) -> 1"),
    (Difference("w1", "Ray", "change", "ray env X", "1"), "~ ray env X: 1 -> (none)"),
    (Difference("w1", "Ray", "add", "ray env X", after="1"), "+ ray env X: 1"),
    (Difference("w1", "Ray", "remove", "ray env X", "1", stops="Ray on w1"), "- ray env X: 1 (stops Ray on w1)"),
]


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISION_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("NO_COLOR", raising=False)


def started(verb: Verb = "apply", *hosts: str) -> RunStarted:
    return RunStarted(0, verb, "lab", "lab.yml", hosts or ("w1",), "/state/run.jsonl")


def seen(host: str) -> HostObserved:
    """All of a host was looked at, and nothing differs."""
    return HostObserved(1, host, ())


def plain(*events: Event, verbose: int = 0, color: bool = False) -> list[str]:
    stream = io.StringIO()
    report = PlainReport(stream, verbose, color)
    for event in events:
        report.emit(event)
    return stream.getvalue().splitlines()


def test_a_second_look_is_told_as_such() -> None:
    told = plain(
        started("apply", "w1", "w2"), HostObserved(1, "w1", (CHANGE,)), HostObserved(2, "w1", (ADD,), again=True),
        HostObserved(2, "w2", (), again=True),
    )  # fmt: skip
    assert told[1:] == [
        difference_line(CHANGE, "w1: ").text, "w1: looked at again, after another run:",
        difference_line(ADD, "w1: ").text, "w2: looked at again: another run has done it all meanwhile",
    ]  # fmt: skip


def test_a_misfortune_is_told_whatever_is_told_with_it() -> None:
    """What was kept back for all hosts comes with the last of them, which may be the one that does not answer."""
    told = plain(
        started("check", "w1", "w2"),
        Notice(1, "w1", "long paths are off", "switch them on"),
        seen("w1"),
        HostFinished(2, "w1", "ok"),
        HostFinished(3, "w2", "unreachable", message="did not answer", remedy="switch it on"),
        RunFinished(3, "check", 4),
    )
    assert "w1: note: long paths are off" in told
    assert "w2: unreachable: did not answer" in told


LINES: list[tuple[Event, list[str], list[str]]] = [
    (HostConnected(1, "w1", {"os": "linux", "arch": "arm64"}), [], ["w1: connected: arch arm64, os linux"]),
    (
        HostObserved(1, "w1", (ADD, CHANGE, REMOVE)),
        ["w1: + variable RAY_X=1", "w1: ~ Ray: 2.48 -> 2.49 (stops ray-worker)", "w1: - rule: ray-6379"],
        ["w1: + variable RAY_X=1", "w1: ~ Ray: 2.48 -> 2.49 (stops ray-worker)", "w1: - rule: ray-6379"],
    ),
    (Doing(1, "w1", "connecting"), [], ["w1: connecting"]),
    (TaskStarted(1, "w1", "all", "Install"), [], ["w1: begins: Install"]),
    (TaskFinished(1, "w1", "all", "Install", "ok", 0.04), [], ["w1: ok: Install (0.0 s)"]),
    (TaskFinished(1, "w1", "all", "Install", "skipped", 0, "no GPU"), [], ["w1: skipped: Install (0.0 s): no GPU"]),
    (
        TaskFinished(1, "w1", "all", "Install packages", "changed", 3.21, "42 wheels"),
        ["w1: changed: Install packages (3.2 s)"],
        ["w1: changed: Install packages (3.2 s): 42 wheels"],
    ),
    (
        TaskFinished(1, "w1", "all", "Install", "failed", 1, "disk full\nw2: ok", "free 4 GB"),
        ["w1: failed: Install (1.0 s): disk full", "      w2: ok", "  -> free 4 GB"],
        ["w1: failed: Install (1.0 s): disk full", "      w2: ok", "  -> free 4 GB"],
    ),
    (Notice(1, "w1", "clock is off", "set it"), ["w1: note: clock is off", "  -> set it"], ["w1: note: clock is off"]),
    (Notice(1, "", "hello"), ["note: hello"], ["note: hello"]),
    (Finding(1, "w1", "it sleeps", "powercfg"), ["w1: note: it sleeps", "  -> powercfg"], ["w1: note: it sleeps"]),
    (Finding(1, "w1", "Windows 11", severity="fine"), [], ["w1: fine: Windows 11"]),
    (
        Finding(1, "w1", "no rights", "log in", "needs elevation"),
        ["w1: needs an administrator: no rights", "  -> log in"],
        ["w1: needs an administrator: no rights", "  -> log in"],
    ),
    (HostFinished(1, "w1", "ok"), [], ["w1: ok"]),
    (HostFinished(1, "w1", "skipped", {}, "head failed"), ["w1: skipped: head failed"], ["w1: skipped: head failed"]),
    (
        HostFinished(1, "w1", "unreachable", {}, "no route", "ping w1"),
        ["w1: unreachable: no route", "  -> ping w1"],
        ["w1: unreachable: no route"],
    ),
    (
        NodeProven(1, "w1", "box", "Linux", "2.49", "3.12", 0.25),
        [],
        ["w1: proven: a task ran on box, Linux, Ray 2.49, Python 3.12 (0.2 s)"],
    ),
]


@pytest.mark.parametrize(("event", "quiet", "verbose"), LINES, ids=lambda value: type(value).__name__)
def test_a_line_per_event(event: Event, quiet: list[str], verbose: list[str]) -> None:
    seen = HostObserved(1, "w1", ())
    assert plain(started(), seen, event)[1:] == quiet
    told = plain(started(), seen, event, verbose=1)[1:]
    assert [line for line in told if line != "w1: HostObserved"][: len(verbose)] == verbose


@pytest.mark.parametrize(("difference", "text"), ONE_SIDED)
def test_a_difference_shows_its_direction(difference: Difference, text: str) -> None:
    assert difference_line(difference, "").text == text


def test_a_host_does_not_repeat_what_its_task_said() -> None:
    failed = TaskFinished(1, "w1", "all", "Install", "failed", 1, "disk full")
    assert len(plain(started(), failed, HostFinished(1, "w1", "failed", {}, "Install: disk full"))) == 2
    assert plain(started(), failed, HostFinished(1, "w1", "failed", {}, "gone"))[-1] == "w1: failed: gone"


def test_control_characters_are_shown_and_not_sent() -> None:
    nasty = "a\x1b[2Jb\x9b31m\rc\x07\u202ed\ud800\te"
    told = plain(started(), seen("w1"), Notice(1, "w1", nasty))[1]
    assert told == r"w1: note: a\x1b[2Jb\x9b31m\x0dc\x07\u202ed\ud800    e"
    clock = HostConnected(1, "w1", {"clock": 86400.5, "os": "linux"})
    assert plain(started(), clock, verbose=1)[1] == "w1: connected: clock 1970-01-02 00:00:00 UTC, os linux"
    facts = HostConnected(1, "w1", {"hostname": "x\x1b]0;pwned\x07\ny"})
    assert plain(started(), facts, verbose=1)[1] == r"w1: connected: hostname x\x1b]0;pwned\x07 y"


def test_colors_are_plain_codes_and_only_on_a_willing_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    changed = TaskFinished(1, "w1", "all", "Install", "changed", 1)
    PlainReport(stream).emit(changed)
    assert stream.getvalue() == "\x1b[33mw1: changed: Install (1.0 s)\x1b[0m\n"
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        monkeypatch.setenv(name, value)
        stream.truncate(stream.seek(0))
        PlainReport(stream).emit(changed)
        assert stream.getvalue() == "w1: changed: Install (1.0 s)\n"
        monkeypatch.delenv(name)


def test_an_encoding_without_the_letter_does_not_break() -> None:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="ascii")
    PlainReport(stream).emit(Notice(1, "", "größer"))
    assert buffer.getvalue().splitlines() == [rb"note: gr\xf6\xdfer"]


def test_check_ends_with_the_differences_and_the_plan() -> None:
    told = plain(
        started("check", "w1", "w2", "w3"),
        HostObserved(1, "w2", (ADD,)),
        HostObserved(1, "w1", (ADD, CHANGE)),
        HostFinished(2, "w1", "changed"),
        HostFinished(2, "w2", "changed"),
        HostFinished(2, "w3", "ok"),
        RunFinished(3, "check", 2),
    )
    assert told == [
        "check: cluster lab, 3 hosts, inventory lab.yml",
        "",
        "w1:",
        "  + variable RAY_X=1",
        "  ~ Ray: 2.48 -> 2.49 (stops ray-worker)",
        "w2:",
        "  + variable RAY_X=1",
        "",
        "Plan: 2 to add, 1 to change, 0 to remove.",
    ]


@pytest.mark.parametrize(
    ("verb", "status", "code", "last"),
    [
        ("check", "ok", 0, "No changes: cluster lab is as declared."),
        ("apply", "ok", 0, "No changes: cluster lab is as declared."),
        ("rollback", "ok", 0, "Nothing to do: cluster lab has gone back already; `apply` goes forward."),
        ("teardown", "ok", 0, "Nothing to remove: cluster lab is configured on no host, and runs on none."),
        ("apply", "changed", 0, "w1   : ok=0 changed=0 failed=0 skipped=0   changed"),
        ("check", "unreachable", 4, "Plan: 0 to add, 0 to change, 0 to remove. (1 host not known: w1)"),
    ],
)
def test_the_sentence_at_the_end(verb: Verb, status: Any, code: int, last: str) -> None:
    told = plain(started(verb), HostFinished(1, "w1", status), RunFinished(2, verb, code))
    assert last in told
    assert ("Run log: /state/run.jsonl" in told) == (code == 4)
    if code:
        assert not any("as declared" in line for line in told)


def test_apply_ends_with_recap_causes_proof_and_next_commands() -> None:
    told = plain(
        started("apply", "head", "w1.lab", "w2"),
        TaskFinished(1, "w1.lab", "all", "Install", "failed", 1, "disk full", "free 4 GB"),
        HostFinished(2, "head", "changed", {"ok": 3, "changed": 12}),
        HostFinished(2, "w1.lab", "failed", {"failed": 1}),
        *(TaskFinished(2, "head", "all", f"Task {number}", "changed", 1) for number in range(20)),
        NodeProven(3, "head", "box", "Linux 6.1", "2.49.0", "3.12.1", 0.2),
        RunFinished(4, "apply", 3, "http://head:8265", (("provision check", "what differs"), ("x", "y"))),
    )
    assert told[told.index("PLAY RECAP") :] == [
        "PLAY RECAP",
        "head     : ok=3 changed=12 failed=0 skipped=0   changed",
        "w1.lab   : ok=0 changed=0  failed=1 skipped=0   failed",
        "w2       : ok=0 changed=0  failed=0 skipped=0   unfinished",
        "",
        "w1.lab: failed: Install: disk full",
        "  -> free 4 GB",
        "",
        "Proven: a task ran on 1 node",
        "  HOST  HOSTNAME  OS         RAY     PYTHON",
        "  head  box       Linux 6.1  2.49.0  3.12.1",
        "",
        "Dashboard: http://head:8265",
        "",
        "Next:",
        "  provision check  what differs",
        "  x                y",
        "",
        "Run log: /state/run.jsonl",
    ]


SLEEPS = [Finding(1, host, "it sleeps", "powercfg") for host in ("w2", "w1")]
AMISS: list[tuple[str, list[Event], list[str]]] = [
    ("the same of two", [*SLEEPS, *map(seen, ("w1", "w2"))], ["w1, w2: note: it sleeps", "  -> powercfg"]),
    ("each its own", [SLEEPS[0], Notice(1, "w1", "clock"), *map(seen, ("w1", "w2"))],
     ["w2: note: it sleeps", "  -> powercfg", "w1: note: clock"]),
    ("somebody may still say it", [*SLEEPS, seen("w1")], []),
    ("somebody never will", [*SLEEPS, seen("w1"), HostFinished(1, "w2", "unreachable", {}, "no route")],
     ["w1, w2: note: it sleeps", "  -> powercfg", "w2: unreachable: no route"]),
    ("of the cluster", [Notice(1, "", "upstream")], ["note: upstream"]),
    ("later", [*map(seen, ("w1", "w2")), Notice(2, "w1", "full")], ["w1: note: full"]),
    ("of a dropped host", [Notice(2, "old", "stays"), *map(seen, ("w1", "w2"))], ["old: note: stays"]),
    ("what is fine", [Finding(1, "w1", "Windows 11", severity="fine"), *map(seen, ("w1", "w2"))], []),
]  # fmt: skip


@pytest.mark.parametrize(("events", "told"), [row[1:] for row in AMISS], ids=[row[0] for row in AMISS])
def test_what_is_amiss_on_several_hosts_is_said_once(events: list[Event], told: list[str]) -> None:
    assert plain(started("apply", "w1", "w2"), *events)[1:] == told


def test_what_is_amiss_on_many_hosts_fits_a_line() -> None:
    hosts = tuple(f"w{number:03d}" for number in range(50))
    events: list[Event] = [started("check", *hosts)]
    for host in hosts:
        events += [Finding(1, host, "it sleeps", "powercfg"), Finding(1, host, "Windows 11", severity="fine")]
        events += [Finding(1, host, "no rights", "log in", "needs elevation")] * (host > "w003")
    events.append(RunFinished(2, "check", 0))
    told = plain(*events)
    assert told[1:5] == [
        "all 50 hosts: note: it sleeps", "  -> powercfg",
        "w004, w005, w006, w007, w008 and 41 more (46 hosts): needs an administrator: no rights", "  -> log in",
    ]  # fmt: skip
    assert not [line for line in told if "Windows 11" in line]
    assert sum("Windows 11" in line for line in plain(*events, verbose=1)) == 50


DISK_FULL = HostFinished(2, "w1", "failed", {"failed": 1}, "disk full", "free 4 GB")


@pytest.mark.parametrize(
    ("verb", "lines_since", "live", "at_the_end"),
    [("apply", 0, True, False), ("apply", 30, True, True), ("check", 0, False, True), ("teardown", 3, True, False)],
)
def test_a_failure_is_told_once_unless_it_is_out_of_sight(
    verb: Verb, lines_since: int, live: bool, at_the_end: bool
) -> None:
    others = [TaskFinished(3, "w2", "all", f"Task {number}", "changed", 1) for number in range(lines_since)]
    told = plain(started(verb, "w1", "w2"), seen("w2"), DISK_FULL, *others, RunFinished(4, verb, 3))
    places = [number for number, line in enumerate(told) if line == "w1: failed: disk full"]
    assert len(places) == live + at_the_end
    assert (places[0] == 1) == live
    assert told.count("  -> free 4 GB") == len(places)


def test_the_recap_of_200_hosts_fits_a_screen() -> None:
    hosts = tuple(f"w{number:03d}" for number in range(200))
    events: list[Event] = [started("apply", *hosts)]
    for host in hosts:
        events.append(HostObserved(1, host, (ADD, CHANGE)))
        events.append(NodeProven(2, host, host, "Linux", "2.49", "3.12", 0.1))
        bad = host in {"w007", "w009"}
        message = "disk full" if bad else ""
        events.append(HostFinished(2, host, "failed" if bad else "changed", {"changed": 2}, message))
    told = plain(*events, RunFinished(3, "apply", 3))
    assert told[1] == "w000: 1 to add, 1 to change, 0 to remove (stops ray-worker)"
    assert told[told.index("PLAY RECAP") :] == [
        "PLAY RECAP",
        "w000 and 197 more   : ok=0 changed=2 failed=0 skipped=0   changed",
        "w007                : ok=0 changed=2 failed=0 skipped=0   failed",
        "w009                : ok=0 changed=2 failed=0 skipped=0   failed",
        "",
        "w007, w009: failed: disk full",
        "",
        "Proven: a task ran on 200 nodes",
        "  HOST               HOSTNAME  OS     RAY   PYTHON",
        "  w000 and 199 more  w000 ...  Linux  2.49  3.12",
        "",
        "Run log: /state/run.jsonl",
    ]


class Broken:
    """A report that cannot write."""

    closed = False

    def emit(self, event: Event) -> None:
        raise OSError(28, "No space left on device")

    def close(self) -> None:
        self.closed = True


def test_a_broken_report_is_left_out_with_one_notice() -> None:
    stream, broken = io.StringIO(), Broken()
    with Reports([broken, PlainReport(stream)]) as reports:
        reports.emit(Notice(0, "", "one"))
        reports.emit(Notice(0, "", "two"))
    reason = "a report (Broken) cannot be written, the run goes on without it: [Errno 28] No space left on device"
    assert stream.getvalue().splitlines() == [f"note: {reason}", "note: one", "note: two"]
    assert broken.closed


def test_twenty_threads_write_whole_lines() -> None:
    stream = io.StringIO()
    hosts = [f"w{number}" for number in range(20)]

    def work(host: str) -> None:
        for number in range(50):
            reports.emit(Notice(0, host, f"{number}\nmore", "do"))
            reports.emit(HostObserved(0, host, (ADD,)))

    with open_reports(verb="apply", cluster="lab", stream=stream, secrets=["hunter2"]) as reports:
        threads = [threading.Thread(target=work, args=(host,)) for host in hosts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert str(reports.plan) == "20 to add, 0 to change, 0 to remove"
    told = [line for line in stream.getvalue().splitlines() if ": + " not in line]
    expected = [[f"{host}: note: {number}", "      more", "  -> do"] for host in hosts for number in range(50)]
    assert sorted(told[at : at + 3] for at in range(0, len(told), 3)) == sorted(expected)
    log = Path(reports.log).read_text().splitlines()
    assert len([json.loads(line) for line in log]) == 2000


def test_rich_is_not_imported_without_a_terminal() -> None:
    code = (
        "import sys; from provisioner.report import open_reports\n"
        "open_reports(verb='apply', cluster='lab').close(); sys.exit('rich' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE)
