"""The jobs of a cluster as a table, and as a document."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from provisioner.report.lines import Line
from provisioner.report.status import duration
from provisioner.report.table import write_lines, write_table
from provisioner.report.text import flat, plain_json

Row = Mapping[str, Any]
FIELDS = ("submission_id", "job_id", "type", "status", "message", "entrypoint", "start_time", "end_time")


def write(stream: TextIO, rows: Sequence[Row]) -> None:
    """Write a line for each job."""
    if not rows:
        write_lines(stream, [Line("No jobs.", "note")])
        return
    head = ("JOB", "STATUS", "BEGUN", "TIME", "COMMAND")
    write_table(stream, head, [_cells(row) for row in rows], marked="SUCCEEDED")


def document(rows: Sequence[Row]) -> str:
    """Return the jobs as one JSON document."""
    return plain_json({"jobs": [{name: row.get(name) for name in FIELDS} for row in rows]}, indent=2)


def _cells(row: Row) -> tuple[str, str, str, str, str]:
    begun, ended = _seconds(row.get("start_time")), _seconds(row.get("end_time"))
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(begun)) if begun else ""
    took = duration((ended or time.time()) - begun) if begun else ""
    name = str(row.get("submission_id") or row.get("job_id") or "")
    return name, str(row.get("status") or ""), when, took, flat(str(row.get("entrypoint") or ""))[:100]


def _seconds(value: object) -> float | None:
    return float(value) / 1000 if isinstance(value, (int, float)) and 0 < value < 1e14 else None
