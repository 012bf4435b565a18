"""Secrets appear nowhere, whatever field they come in and however they are quoted; and the run log's file."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import json
import os
import shlex
import stat
import typing
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from rich.console import Console

from provisioner import events
from provisioner.events import Difference, Event, HostFinished, HostObserved, Notice, RunFinished, RunStarted
from provisioner.ray import certificates
from provisioner.report import Reports, open_reports, redact
from provisioner.report.console import ConsoleReport
from provisioner.report.jsondoc import JsonReport
from provisioner.report.plain import PlainReport
from provisioner.report.redact import HIDDEN, Redactor
from provisioner.report.runlog import KEPT, RunLog

SECRET = 'hunt\'er "2"\\&ö/$x'
EVENT_TYPES = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)]


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROVISION_STATE", str(tmp_path / "state"))
    return tmp_path / "state" / "runs"


def filled(kind: type, text: str) -> Any:
    """An instance with the text in every string it can hold, those that ought to be one of our words included."""
    hints = typing.get_type_hints(kind)
    return kind(**{field.name: value_of(hints[field.name], text) for field in dataclasses.fields(kind)})


def value_of(hint: Any, text: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is str or origin is typing.Literal:
        return text
    if origin is tuple:
        return tuple(value_of(each, text) for each in arguments if each is not Ellipsis)
    if origin is dict:
        return {text: 1} if arguments[1] is int else {text: [text, {"deep": (text, 1)}], "raw": text.encode()}
    if dataclasses.is_dataclass(hint):
        return filled(typing.cast(type, hint), text)
    return 1


FORMS = {
    "plain": SECRET,
    "json": json.dumps(SECRET)[1:-1],
    "json unicode": json.dumps(SECRET, ensure_ascii=False)[1:-1],
    "repr": repr(SECRET)[1:-1],
    "url": quote(SECRET, safe=""),
    "url path": quote(SECRET),
    "url form": quote_plus(SECRET),
    "url lower": quote(SECRET, safe="").replace("%C3%B6", "%c3%b6").replace("%5C", "%5c").replace("%2F", "%2f"),
    "shell": shlex.quote(SECRET),
    "repr of bytes": repr(SECRET.encode())[2:-1],
    "html": html.escape(SECRET),
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "base64 url": base64.urlsafe_b64encode(SECRET.encode()).decode(),
    "hex": SECRET.encode().hex(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_every_form_is_hidden(form: str) -> None:
    assert Redactor([SECRET]).text(f"<{form}>") == f"<{HIDDEN}>"


@pytest.mark.parametrize("before", ["", "a", "ab", "user:", "user0:"])
def test_base64_of_a_longer_text_is_hidden(before: str) -> None:
    encoded = base64.b64encode(f"{before}correct horse:rest".encode()).decode()
    hidden = Redactor(["correct horse"]).text(encoded)
    assert HIDDEN in hidden
    left = b"".join(base64.b64decode(part + "=" * (-len(part) % 4)) for part in hidden.split(HIDDEN) if len(part) > 1)
    assert b"corr" not in left and b"horse" not in left


def test_lines_of_a_key_are_hidden_and_our_words_stay() -> None:
    key = "-----BEGIN KEY-----\nabcdefgh\nab\n-----END KEY-----\n"
    assert Redactor([key]).text("got abcdefgh") == f"got {HIDDEN}"
    weak = Redactor(["ok", "", "  "])
    assert weak.event(HostFinished(1, "w1", "ok", {"ok": 1}, "ok?")) == HostFinished(1, "w1", "ok", {"ok": 1}, "***?")
    assert weak.text("a  b") == "a  b"


def test_a_secret_in_any_field_appears_in_no_report(runs: Path) -> None:
    plain, document, screen = io.StringIO(), io.StringIO(), io.StringIO()
    console = Console(file=screen, force_terminal=True, width=400, height=50)
    live = ConsoleReport(verbose=2, console=console, per_second=0)
    log = RunLog("apply", "lab")
    reports = Reports([log, PlainReport(plain, 2), JsonReport(document), live], [SECRET], log.path)
    assert len(EVENT_TYPES) >= 11
    for kind in sorted(EVENT_TYPES, key=lambda kind: (kind is RunFinished, kind is not RunStarted)):
        for form in FORMS.values():
            if kind is not RunFinished or form == SECRET:
                reports.emit(filled(kind, f"a {form} b"))
                live.refresh()
    reports.close()
    outputs = [plain.getvalue(), document.getvalue(), screen.getvalue(), Path(log.path).read_text()]
    for output in outputs:
        assert HIDDEN in output
        for form in (*FORMS.values(), "hunt", "er%20", json.dumps(SECRET)[5:-1]):
            assert form not in output


def test_secrets_learned_later_and_in_names(runs: Path) -> None:
    stream = io.StringIO()
    with open_reports(verb="apply", cluster="hunter2", stream=stream, secrets=["hunter2"]) as reports:
        reports.hide(["late-one"])
        reports.emit(Notice(0, "", "late-one hunter2"))
        assert reports.redact("late-one!") == "***!"
    assert stream.getvalue() == "note: *** ***\n"
    assert "hunter2" not in reports.log


def test_the_run_log_has_every_event(runs: Path) -> None:
    with open_reports(verb="apply", cluster="my lab/../x", stream=io.StringIO()) as reports:
        assert Path(reports.log).parent == runs
        assert Path(reports.log).name.endswith("Z-apply-my_lab_.._x.jsonl")
        reports.emit(RunStarted(0, "apply", "lab", "lab.yml", ("w1",), reports.log))
        reports.emit(HostObserved(1.5, "w1", (Difference("w1", "t", "add", "ö\x1b"),)))
        written = [json.loads(line) for line in Path(reports.log).read_text().splitlines()]  # before it is closed
    assert [line["event"] for line in written] == ["RunStarted", "HostObserved"]
    assert written[1]["at"] == 1.5
    assert written[1]["differences"][0]["what"] == "ö\x1b"
    assert "\x1b" not in Path(reports.log).read_text()
    if os.name == "posix":
        assert stat.S_IMODE(Path(reports.log).stat().st_mode) == 0o600
        assert stat.S_IMODE(runs.stat().st_mode) == 0o700


def test_run_logs_are_unique_and_only_the_newest_stay(runs: Path) -> None:
    runs.mkdir(parents=True)
    (runs / "notes.txt").touch()
    for number in range(60):
        (runs / f"20200101T0000{number:02d}Z-apply-lab.jsonl").touch()
    logs = [RunLog("apply", "lab") for _ in range(3)]
    for log in logs:
        log.emit(Notice(0, "", "x"))
        log.close()
    left = sorted(path.name for path in runs.iterdir())
    assert len({log.path for log in logs}) == 3
    assert len(left) == KEPT + 1 and "notes.txt" in left
    assert left[0] == "20200101T000013Z-apply-lab.jsonl"
    empty = RunLog("apply", "lab")
    empty.close()
    assert not Path(empty.path).exists()


def test_a_run_log_that_cannot_be_written_is_one_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PROVISION_STATE", str(tmp_path / "file"))
    stream = io.StringIO()
    with open_reports(verb="apply", cluster="lab", stream=stream) as reports:
        assert reports.log == ""
        for _ in range(3):
            reports.emit(Notice(0, "", "x"))
    told = stream.getvalue().splitlines()
    assert told[0].startswith("note: the run log cannot be written, the run goes on without it: ")
    assert told[1:] == ["note: x"] * 3


KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIHUSH\nHUSHHUSH==\n-----END EC PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (KEY, "***"),
        (f"a {KEY} b {KEY}\n", "a *** b ***\n"),
        (json.dumps({"key": KEY}), '{"key": "***"}'),
        (KEY.replace("EC ", "")[:-20], "***"),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", None),
        ("PRIVATE KEY-----", None),
    ],
)
def test_no_private_key_is_shown_whosever_it_is(text: str, shown: str | None) -> None:
    assert Redactor().text(text) == (text if shown is None else shown)


@pytest.mark.parametrize(
    "shown",
    [str, repr, json.dumps, lambda lines: "\n".join(lines), lambda lines: "\\r\\n".join(lines), lambda lines: lines[0]],
    ids=["a list", "its repr", "JSON", "as it is", "escaped", "one line"],
)
def test_the_lines_of_a_nodes_key_are_not_shown_by_themselves(shown: Callable[[list[str]], str]) -> None:
    authority = certificates.make_authority("lab", datetime.now(timezone.utc))
    lines = authority.key.strip().splitlines()[1:-1]
    said = Redactor().text(f"it broke off: {shown(lines)} on h1 of the cluster")
    assert [line for line in lines if line[-20:] in said] == []
    assert said.startswith("it broke off: ")
    assert said.endswith("on h1 of the cluster")


def test_what_is_known_is_not_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred workers ask for one token."""
    worked_out: list[str] = []

    def forms(secret: str) -> set[str]:
        worked_out.append(secret)
        return {secret}

    monkeypatch.setattr(redact, "forms", forms)
    redactor = Redactor(["first"])
    for _ in range(200):
        redactor.add(["first", "0123456789abcdef"])
    assert worked_out == ["first", "0123456789abcdef"]
    assert redactor.text("first 0123456789abcdef") == "*** ***"
