"""One HTML page of a run: what differed, what failed and why, and what took how long.

It holds all it needs and asks for nothing: its policy (CSP) lets a browser load nothing and run no script. What hosts
said is escaped by Jinja; secrets are not in the run log, and so not here.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from provisioner.events import Difference, Finding, Notice
from provisioner.report.page.chart import charts
from provisioner.report.page.plan import SIGNS, state, topology
from provisioner.report.record import BAD, HostRecord, RunRecord
from provisioner.report.replay import Replay
from provisioner.report.text import counted, several
from provisioner.report.timeline import critical_path, steps


def html_page(run: Replay) -> str:
    """The page of a run."""
    record, done = run.record, steps(run.events)
    path = critical_path(done)
    tone, verdict = _verdict(run)
    seconds = max(event.at for event in run.events)
    return (
        _templates()
        .get_template("page.html.j2")
        .render(
            alone=False,
            begun=f"{run.begun:%Y-%m-%d %H:%M:%S} UTC",
            begun_iso=run.begun.isoformat(),
            charts=charts(done, path, list(record.hosts), seconds),
            counts=sorted(Counter(map(state, record.hosts.values())).items()),
            css=Markup(_css()),  # noqa: S704 (our own file)
            css_hash=base64.b64encode(hashlib.sha256(_css().encode()).digest()).decode(),
            differences=_differences(record),
            failures=_failures(record),
            name=run.name,
            notes=_notes(record),
            path=path,
            plan=topology(record),
            record=record,
            seconds=f"{seconds:.1f} s",
            signs=SIGNS,
            steps=sorted(done, key=lambda step: (step.host, step.begin)),
            tone=tone,
            verdict=verdict,
        )
    )


def svg_picture(run: Replay) -> str:
    """The hosts of a run as a picture of its own, for a README."""
    css = Markup(_css())  # noqa: S704 (our own file)
    return _templates().get_template("topology.svg.j2").render(alone=True, css=css, plan=topology(run.record)) + "\n"


def _templates() -> Environment:
    loader = PackageLoader("provisioner.report.page", "")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined)


def _css() -> str:
    return (resources.files(__name__) / "page.css").read_text(encoding="utf-8")


def _verdict(run: Replay) -> tuple[str, str]:
    """How it looks, and the one sentence to remember."""
    record = run.record
    if not run.ended:
        return "failed", "The run was broken off: its log has no end."
    if record.interrupted:
        return "failed", "The run was interrupted before its time."
    bad = [host.name for host in record.hosts.values() if host.status in BAD]
    if bad:
        return "failed", f"{counted(len(bad), 'host')} failed or could not be reached: {several(bad)}."
    if record.verb == "check" and record.plan:
        return "changed", f"Plan: {record.plan}."
    if record.exit_code:
        return "failed", f"The run ended with exit code {record.exit_code}."
    if record.plan:
        return "ok", f"Done. The plan was: {record.plan}."
    return "ok", "Everything is as declared."


def _grouped(hosts: Iterable[HostRecord], key: Callable[[HostRecord], Hashable]) -> list[list[HostRecord]]:
    groups: dict[Hashable, list[HostRecord]] = {}
    for host in hosts:
        groups.setdefault(key(host), []).append(host)
    return list(groups.values())


def _names(group: list[HostRecord]) -> str:
    """``w1, w2 and 3 more (5 hosts)``."""
    names = several([host.name for host in group])
    return names if len(group) == 1 else f"{names} ({len(group)} hosts)"


def _failures(record: RunRecord) -> list[dict[str, str]]:
    """Why hosts failed or were skipped, each cause once."""
    troubled = [host for host in record.hosts.values() if host.status in BAD | {"skipped"}]
    groups = _grouped(troubled, lambda host: (host.status, host.cause))
    return [
        {"hosts": _names(group), "status": group[0].status, "message": group[0].cause[0], "remedy": group[0].cause[1]}
        for group in sorted(groups, key=lambda group: group[0].status == "skipped")
    ]


def _differences(record: RunRecord) -> list[dict[str, Any]]:
    """What differed; hosts that differed in the same share a table."""

    def what(each: Difference) -> Hashable:
        return each.task, each.action, each.what, each.before, each.after, each.stops

    differing = [host for host in record.hosts.values() if host.differences]
    groups = _grouped(differing, lambda host: tuple(map(what, host.differences)))
    return [{"hosts": _names(group), "differences": group[0].differences} for group in groups]


def _notes(record: RunRecord) -> list[dict[str, str]]:
    """Notices, and what was found that is not fine; the same is said once for all hosts."""
    found = [each for host in record.hosts.values() for each in host.findings if each.severity != "fine"]
    hosts: dict[tuple[str, str], list[str]] = {}
    said: list[Notice | Finding] = [*record.notices, *found]
    for each in said:
        hosts.setdefault((each.message, each.remedy), []).append(each.host)
    return [
        {"hosts": several(filter(None, names)), "message": message, "remedy": remedy}
        for (message, remedy), names in hosts.items()
    ]
