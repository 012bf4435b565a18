"""What the doctor found, told host by host with the likeliest cause first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, TextIO

from provisioner.report.lines import Line, Tone, lines
from provisioner.report.table import write_lines
from provisioner.report.text import clean, counted, flat, plain_json

Kind = Literal["cause", "symptom", "note"]
_TONES: dict[Kind, Tone] = {"cause": "bad", "symptom": "change", "note": "note"}


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    A ``cause`` keeps a node out by itself, a ``symptom`` follows from one, a ``note`` may do harm some day. ``area`` is
    the step of the examination; ``evidence`` is what was seen, line by line.
    """

    host: str
    kind: Kind
    area: str
    message: str
    remedy: str = ""
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """All that was found; ``members`` are the hosts whose nodes live."""

    cluster: str
    hosts: tuple[str, ...]
    members: tuple[str, ...]
    findings: tuple[Finding, ...]
    connections: int = 0
    seconds: float = 0.0

    @property
    def is_well(self) -> bool:
        """Whether every host's node lives and nothing keeps one out."""
        return set(self.hosts) <= set(self.members) and not any(each.kind == "cause" for each in self.findings)


def as_json(diagnosis: Diagnosis) -> str:
    """Return all that was found as one JSON document."""
    return plain_json({**asdict(diagnosis), "well": diagnosis.is_well}, indent=2)


def write(stream: TextIO, diagnosis: Diagnosis) -> None:
    """Write what was found."""
    write_lines(stream, told(diagnosis))


def told(diagnosis: Diagnosis) -> list[Line]:
    """Return the lines: a title, each host with its findings, and what was looked at."""
    alive = sum(host in diagnosis.members for host in diagnosis.hosts)
    counts = f"{alive} of {counted(len(diagnosis.hosts), 'node')} in the cluster"
    found = [Line(f"Cluster {diagnosis.cluster}: {counts}", "title")]
    for host in diagnosis.hosts:
        mine = [each for each in diagnosis.findings if each.host == host]
        if mine or host not in diagnosis.members:
            found += _host(host, host in diagnosis.members, mine)
    tried = f", {counted(diagnosis.connections, 'connection')} tried" if diagnosis.connections else ""
    found.append(Line(""))
    found.append(
        Line(f"Looked at {counted(len(diagnosis.hosts), 'host')}{tried} in {diagnosis.seconds:.1f} s.", "note")
    )
    if diagnosis.is_well:
        found.append(Line("Nothing keeps a node out.", "good"))
    return found


def _host(host: str, member: bool, findings: Sequence[Finding]) -> list[Line]:
    state = "in the cluster" if member else "NOT in the cluster"
    found = [Line(""), Line(f"{host}: {state}", "title" if member else "bad")]
    if not findings:
        found.append(Line("  nothing was found that keeps it out: `provision apply` starts it", "note"))
    for each in findings:
        found += lines(f"{each.area}: {flat(clean(each.message))}", _TONES[each.kind], each.remedy, indent="  ")
        found += [Line(f"      | {flat(clean(line))[:200]}", "quiet") for line in each.evidence]
    return found
