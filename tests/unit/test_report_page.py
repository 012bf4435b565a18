"""The page of a run: what it tells, what it never holds, and how a log is read again."""

from __future__ import annotations

import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from provisioner.cli.main import cli
from provisioner.errors import InputError
from provisioner.events import (
    Difference,
    Event,
    HostConnected,
    HostFinished,
    HostObserved,
    Notice,
    RunFinished,
    RunStarted,
    TaskFinished,
    TaskStarted,
)
from provisioner.report import Reports
from provisioner.report.page import html_page, svg_picture
from provisioner.report.replay import Replay, find_run, read_run
from provisioner.report.runlog import RunLog
from provisioner.report.timeline import Step, critical_path

HOSTILE = "</title></style><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7*7 }} \x1b[31m"
SECRET = "correct-horse-battery"


def a_run(hosts: int = 3, said: str = "the disk is full", remedy: str = "make room") -> list[Event]:
    """An apply: the head takes 10 s, workers start after it, the last one fails."""
    names = tuple(f"w{number}" for number in range(hosts))
    events: list[Event] = [RunStarted(0, "apply", "lab", "lab.yml", names, "", "w0")]
    for name in names:
        events.append(HostConnected(1, name, {"os": "linux", "arch": "x86_64"}))
        events.append(HostObserved(2, name, (Difference(name, "Install Ray", "add", "Ray", "", "2.49.0", "a job"),)))
    for number, name in enumerate(names):
        begin = 2.0 if number == 0 else 12.0
        status = "failed" if number and number == hosts - 1 else "changed"
        events.append(TaskStarted(begin, name, "Start", "Start Ray"))
        told = (said, remedy) if status == "failed" else ("", "")
        events.append(TaskFinished(begin + 10, name, "Start", "Start Ray", status, 10, *told))  # type: ignore[arg-type]
        events.append(HostFinished(begin + 10, name, status, {}, *told))  # type: ignore[arg-type]
    return [*events, Notice(22, "w1", said), RunFinished(23, "apply", 3)]


def replay(tmp_path: Path, events: list[Event]) -> Replay:
    """The run by way of a log on disk, as users have it."""
    log = RunLog("apply", "lab", tmp_path)
    with Reports([log], [SECRET], log.path) as reports:
        for event in events:
            reports.emit(event)
    return read_run(Path(log.path))


class Page(HTMLParser):
    """What a browser would make of it: elements with their attributes, and the texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_log_gives_back_what_was_written(tmp_path: Path) -> None:
    events = a_run()
    assert list(replay(tmp_path, events).events) == events


@pytest.mark.parametrize(
    ("wanted"),
    [
        "apply of cluster lab", "1 host failed or could not be reached: w2.", "the disk is full", "make room", "Ray",
        "2.49.0", "stops a job", "Linux x86_64", "Critical path", "Start Ray",
    ],
)  # fmt: skip
def test_page_tells(tmp_path: Path, wanted: str) -> None:
    assert wanted in Page(html_page(replay(tmp_path, a_run()))).text


def test_page_holds_no_code_of_hosts_and_no_secret(tmp_path: Path) -> None:
    text = html_page(replay(tmp_path, a_run(said=HOSTILE + SECRET, remedy=HOSTILE)))
    page = Page(text)
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "img", "iframe", "object", "embed", "link", "base"})
    assert not [name for _, given in page.elements for name in given if name.startswith("on") or name == "style"]
    assert "{{ 7*7 }}" in page.text
    assert "\x1b" not in text
    assert SECRET not in text


def test_page_asks_for_nothing(tmp_path: Path) -> None:
    page = Page(html_page(replay(tmp_path, a_run())))
    policy = next(given["content"] for _, given in page.elements if given.get("http-equiv"))
    assert policy and policy.startswith("default-src 'none'; style-src 'sha256-")
    addresses = [given[name] for _, given in page.elements for name in ("href", "src", "action") if given.get(name)]
    assert addresses == ["#failures"]


def test_ids_are_there_once_and_every_picture_has_a_name(tmp_path: Path) -> None:
    page = Page(html_page(replay(tmp_path, a_run())))
    ids = [given["id"] for _, given in page.elements if "id" in given]
    assert len(ids) == len(set(ids))
    assert {given["aria-labelledby"] for _, given in page.elements if "aria-labelledby" in given} <= set(ids)
    pictures = [given for tag, given in page.elements if tag == "svg"]
    assert len(pictures) == 2
    assert all(given["role"] == "img" and given["aria-label"] for given in pictures)


def test_picture_is_whole_xml_with_its_own_colours(tmp_path: Path) -> None:
    picture = svg_picture(replay(tmp_path, a_run(said=HOSTILE)))
    root = ElementTree.fromstring(picture)
    space = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{space}svg"
    assert [each.text for each in root.iter(f"{space}text")][:1] == ["w0"]
    assert root.find(f"{space}style") is not None


def test_500_hosts_are_few_tiles_and_quick(tmp_path: Path) -> None:
    run = replay(tmp_path, a_run(500))
    begun = time.process_time()
    text = html_page(run)
    assert time.process_time() - begun < 5
    assert len(text) < 2_000_000
    page = Page(text)
    assert "498 hosts" in page.text
    assert "40 of 500 hosts" in page.text
    assert "The other 460 hosts" in page.text


@pytest.mark.parametrize(
    ("steps", "path"),
    [
        pytest.param([("a", "x", 0, 5)], ["x"], id="one step"),
        pytest.param([("a", "x", 0, 5), ("b", "y", 0, 3), ("b", "z", 5, 9)], ["x", "z"], id="a gate between hosts"),
        pytest.param([("b", "y", 0, 5), ("a", "x", 0, 5.01), ("b", "z", 5.01, 9)], ["y", "z"], id="own host at a tie"),
        pytest.param([("a", "x", 0, 5), ("b", "y", 0, 9)], ["y"], id="the slowest one alone"),
        pytest.param([("a", "x", 0, 0), ("a", "y", 0, 0)], ["y"], id="no time at all"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_critical_path(steps: list[tuple[str, str, float, float]], path: list[str]) -> None:
    assert [step.task for step in critical_path(Step(*each) for each in steps)] == path


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        pytest.param([], "is no run log", id="empty"),
        pytest.param(["[1]", "{}"], ":1 is no event", id="other JSON"),
        pytest.param(["{", "{}"], ":1 is no event", id="no JSON"),
        pytest.param(['{"event": "Notice", "at": 1, "host": "", "message": "m"}'], "is no run log", id="no beginning"),
        pytest.param(['{"event": "Notice", "at": "soon", "host": "", "message": ""}', ""], ":1 is no event", id="time"),
        pytest.param(['{"event": "Notice", "at": 1}', ""], ":1 is no event", id="a field is missing"),
    ],
)
def test_what_is_no_run_log_is_said_in_a_sentence(tmp_path: Path, lines: list[str], wanted: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=re.escape(wanted)):
        read_run(path)


def test_a_run_that_was_killed_is_shown_as_broken_off(tmp_path: Path) -> None:
    run = replay(tmp_path, a_run())
    path = next(tmp_path.glob("*.jsonl"))
    path.write_text("\n".join(path.read_text().splitlines()[:-2]) + '\n{"event": "RunFin')
    assert run.ended
    assert not read_run(path).ended
    assert "broken off" in html_page(read_run(path))


def test_a_kind_of_event_of_later_versions_is_passed_over(tmp_path: Path) -> None:
    run = replay(tmp_path, a_run())
    path = next(tmp_path.glob("*.jsonl"))
    first, *others = path.read_text().splitlines()
    path.write_text("\n".join([first, json.dumps({"event": "Unheard", "at": 1}), *others, ""]))
    assert read_run(path).events == run.events


@pytest.mark.parametrize(
    ("which", "found"),
    [("", "20260102T000000Z-check-lab"), ("20260101", "20260101T000000Z-apply-lab"), ("2026", ""), ("1999", "")],
)
def test_a_run_is_found_by_the_beginning_of_its_name(tmp_path: Path, which: str, found: str) -> None:
    for name in ("20260101T000000Z-apply-lab", "20260102T000000Z-check-lab"):
        (tmp_path / f"{name}.jsonl").touch()
    if found:
        assert find_run(which, tmp_path).stem == found
        return
    with pytest.raises(InputError, match="begin"):
        find_run(which, tmp_path)


def test_without_a_run_the_command_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run has left a log"):
        find_run("", tmp_path / "none")


def test_the_command_writes_the_page_of_the_newest_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROVISION_STATE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    run = replay(tmp_path / "runs", a_run())
    cli(["report"], standalone_mode=False)
    cli(["report", "--svg", "-o", "lab.svg"], standalone_mode=False)
    assert capsys.readouterr().out.split() == [str(tmp_path / f"{run.name}.html"), str(tmp_path / "lab.svg")]
    assert (tmp_path / f"{run.name}.html").read_text(encoding="utf-8") == html_page(run)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == ["", ".html", ".svg"]
