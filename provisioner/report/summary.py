"""The end of a run in words: what differs or what was done, why hosts failed, what is proven, what to type next."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

from provisioner.events import NodeProven
from provisioner.report.lines import MANY, Line, difference_line, lines, status_tone
from provisioner.report.record import BAD, UNFINISHED, HostRecord, RunRecord
from provisioner.report.text import counted, flat, several

COUNTS = ("ok", "changed", "failed", "skipped")
_QUIET_EXIT_CODES = (0, 2)


def summary(record: RunRecord, told: frozenset[str] = frozenset()) -> list[Line]:
    """All lines of the end, its parts separated by blank lines.

    Args:
        record: what is known of the run.
        told: hosts of which the user still sees why they failed or were skipped.
    """
    parts = [
        _differences(record) if record.verb == "check" else _recap(record),
        _causes(record, told),
        _proven(record),
        _total(record),
        _dashboard(record),
        _next(record),
        _log(record),
    ]
    return [line for part in parts if part for line in (Line(""), *part)]


def _grouped(
    hosts: Iterable[HostRecord], key: Callable[[HostRecord], Hashable], together: bool
) -> list[list[HostRecord]]:
    """Hosts with the same key in one group (only if ``together``), in the order of their first."""
    groups: dict[Hashable, list[HostRecord]] = {}
    for host in hosts:
        groups.setdefault((key(host), "" if together else host.name), []).append(host)
    return list(groups.values())


def _names(hosts: Iterable[HostRecord], shown: int = 3) -> str:
    return several((flat(host.name) for host in hosts), shown)


def _differences(record: RunRecord) -> list[Line]:
    """The differences per host; with many hosts those that differ in the same share a list."""
    differing = [host for host in record.hosts.values() if host.differences]
    told: list[Line] = []
    for group in _grouped(differing, _what_differs, together=len(record.hosts) > MANY):
        number = f" ({len(group)} hosts)" if len(group) > 1 else ""
        told.append(Line(f"{_names(group)}{number}:", "title"))
        told.extend(difference_line(each, "  ") for each in group[0].differences)
    return told


def _what_differs(host: HostRecord) -> Hashable:
    return tuple(difference_line(each, "").text for each in host.differences)


def _recap(record: RunRecord) -> list[Line]:
    """A line per host; with many hosts, healthy ones of which the same is to be said share one."""

    def same(host: HostRecord) -> Hashable:
        healthy = host.status in {"ok", "changed", "skipped"}
        return (host.status, *_counts(host)) if healthy else host.name

    groups = _grouped(record.hosts.values(), same, together=len(record.hosts) > MANY)
    if not groups:
        return []
    names = [_names(group, shown=1) for group in groups]
    counts = [_counts(group[0]) for group in groups]
    name_width = max(map(len, names)) + 2
    widths = [max(len(row[column]) for row in counts) for column in range(len(COUNTS))]
    told = [Line("PLAY RECAP", "title")]
    for name, row, group in zip(names, counts, groups, strict=True):
        status = flat(group[0].status) or UNFINISHED
        columns = " ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
        told.append(Line(f"{name.ljust(name_width)} : {columns}   {status}", status_tone(status)))
    return told


def _counts(host: HostRecord) -> list[str]:
    return [f"{status}={host.counts.get(status, 0)}" for status in COUNTS]


def _causes(record: RunRecord, visible: frozenset[str]) -> list[Line]:
    """Why hosts failed or were skipped and what to do; the same cause is told once, whatever the number of hosts, and
    not again where it still is before the user's eyes."""

    def cause(host: HostRecord) -> Hashable:
        return host.status, host.cause

    concerned = [host for host in record.hosts.values() if host.status in BAD or (host.status and host.cause[0])]
    troubled = [host for host in concerned if host.status not in {"ok", "changed"}]
    told: list[Line] = []
    for group in _grouped(troubled, cause, together=True):
        if all(host.name in visible for host in group):
            continue
        message, remedy = group[0].cause
        text = f"{_names(group)}: {group[0].status}"
        told += lines(f"{text}: {message}" if message else text, status_tone(group[0].status), remedy)
    return told


def _proven(record: RunRecord) -> list[Line]:
    """The nodes on which a task ran, as a table."""
    proven = {host.name: host.proven for host in record.hosts.values() if host.proven}
    if not proven:
        return []

    def same(host: HostRecord) -> Hashable:
        node = proven[host.name]
        return node.os, node.ray, node.python

    hosts = [host for host in record.hosts.values() if host.proven]
    table = [("HOST", "HOSTNAME", "OS", "RAY", "PYTHON")]
    for group in _grouped(hosts, same, together=len(record.hosts) > MANY):
        table.append(_node(_names(group, shown=1), proven[group[0].name], len(group)))
    widths = [max(len(row[column]) for row in table) for column in range(5)]
    rows = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return [Line(f"Proven: a task ran on {counted(len(hosts), 'node')}", "title"), *(Line(f"  {row}") for row in rows)]


def _node(name: str, node: NodeProven, hosts: int) -> tuple[str, str, str, str, str]:
    hostname = flat(node.hostname) if hosts == 1 else f"{flat(node.hostname)} ..."
    return name, hostname, flat(node.os), flat(node.ray), flat(node.python)


def _total(record: RunRecord) -> list[Line]:
    """The one sentence to remember, true only for the hosts that could be asked."""
    unknown = [host for host in record.hosts.values() if host.status in {*BAD, "skipped", ""}]
    missing = f" ({counted(len(unknown), 'host')} not known: {_names(unknown)})" if unknown else ""
    if record.verb == "check" and (record.plan or missing):
        return lines(f"Plan: {record.plan}.{missing}", "title")
    changed = record.plan or any(host.status == "changed" for host in record.hosts.values())
    if missing or changed or record.exit_code != 0 or not record.hosts:
        return []
    if record.verb == "teardown":
        return lines(f"Nothing to remove: cluster {record.cluster} is configured on no host, and runs on none.", "good")
    if record.verb == "rollback":
        return lines(f"Nothing to do: cluster {record.cluster} has gone back already; `apply` goes forward.", "good")
    return lines(f"No changes: cluster {record.cluster} is as declared.", "good")


def _dashboard(record: RunRecord) -> list[Line]:
    return lines(f"Dashboard: {record.dashboard}", "note") if record.dashboard else []


def _next(record: RunRecord) -> list[Line]:
    """The commands to type next, each with what it does."""
    if not record.next_commands:
        return []
    width = max(len(flat(command)) for command, _ in record.next_commands)
    rows = [f"  {flat(command).ljust(width)}  {flat(what)}".rstrip() for command, what in record.next_commands]
    return [Line("Next:", "title"), *(Line(row) for row in rows)]


def _log(record: RunRecord) -> list[Line]:
    wanted = record.log and record.exit_code not in _QUIET_EXIT_CODES
    return lines(f"Run log: {record.log}", "note") if wanted else []
