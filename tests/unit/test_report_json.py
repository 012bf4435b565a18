"""Events in, one JSON document out."""

from __future__ import annotations

import io
import json
from typing import Any

from provisioner.events import (
    Finding,
    HostConnected,
    HostFinished,
    HostObserved,
    NodeProven,
    Notice,
    RunFinished,
    TaskFinished,
)
from provisioner.report import open_reports
from provisioner.report.jsondoc import JsonReport

from .test_report import CHANGE, started


def test_the_json_document() -> None:
    stream = io.StringIO()
    report = JsonReport(stream)
    for event in (
        started("apply", "w2", "w1"),
        HostConnected(1, "w1", {"os": "linux", "arch": "arm64"}),
        HostObserved(1, "w1", (CHANGE,)),
        TaskFinished(2, "w1", "all", "Install", "failed", 1.5, "disk full", "free 4 GB"),
        Notice(2, "w1", "clock is off"),
        Finding(2, "w1", "Windows 11", severity="fine"),
        HostFinished(2, "w1", "failed"),
        NodeProven(3, "w2", "box", "Linux", "2.49", "3.12", 0.2),
        RunFinished(4, "apply", 3, "http://w2:8265", (("x", "y"),)),
    ):
        report.emit(event)
    assert stream.getvalue() == ""
    report.close()
    report.close()
    nothing: dict[str, Any] = {
        "status": None, "message": "", "remedy": "", "facts": {}, "differences": [], "tasks": [], "findings": []
    }  # fmt: skip
    proven = {"hostname": "box", "os": "Linux", "ray": "2.49", "python": "3.12", "seconds": 0.2}
    task = {"play": "all", "task": "Install", "status": "failed", "seconds": 1.5}
    change = {"task": "Ray", "action": "change", "what": "Ray", "before": "2.48", "after": "2.49"}
    expected = {
        "verb": "apply",
        "cluster": "lab",
        "inventory": "lab.yml",
        "exit_code": 3,
        "interrupted": False,
        "log": "/state/run.jsonl",
        "hosts": {
            "w2": {**nothing, "proven": proven},
            "w1": {
                "status": "failed",
                "message": "Install: disk full",
                "remedy": "free 4 GB",
                "facts": {"arch": "arm64", "os": "linux"},
                "differences": [{**change, "stops": "ray-worker"}],
                "tasks": [{**task, "message": "disk full", "remedy": "free 4 GB"}],
                "findings": [{"severity": "fine", "message": "Windows 11", "remedy": ""}],
                "proven": None,
            },
        },
        "plan": {"add": 0, "change": 1, "remove": 0},
        "notices": [{"host": "w1", "message": "clock is off", "remedy": ""}],
        "dashboard": "http://w2:8265",
        "next": [{"command": "x", "explanation": "y"}],
    }
    assert stream.getvalue() == json.dumps(expected, indent=2) + "\n"


def test_a_json_document_even_of_a_run_that_never_began() -> None:
    stream = io.StringIO()
    with open_reports(verb="check", cluster="lab", json=True, stream=stream) as reports:
        reports.emit(Notice(0, "", "lab.yml:3:1: no such key", "remove it"))
        reports.emit(RunFinished(0, "check", 1))
    document = json.loads(stream.getvalue())
    assert (document["verb"], document["cluster"], document["exit_code"]) == ("check", "lab", 1)
    assert document["notices"] == [{"host": "", "message": "lab.yml:3:1: no such key", "remedy": "remove it"}]
