"""``--json``: the whole run as one JSON document on stdout, written at the end; nothing else is written there.

The keys, always all present and in this order::

    {
      "verb": "apply" | "check" | "rollback" | "teardown",   # and "lock" | "versions", if they are refused
      "cluster": str,
      "inventory": str,                  # path as the user gave it
      "exit_code": int | null,           # null: the run was broken off
      "interrupted": bool,               # by Ctrl-C or SIGTERM; hosts that were not waited for have no status
      "log": str,                        # path of the run log, "" if there is none
      "hosts": {                         # by inventory name, in the inventory's order
        "<name>": {
          "status": "ok" | "changed" | "failed" | "unreachable" | "skipped" | null,  # null: not finished
          "message": str,                # why it failed or was skipped
          "remedy": str,                 # what to do about it
          "facts": {...},                # os, arch, hostname, python ... as observed, sorted
          "differences": [{"task", "action": "add" | "change" | "remove", "what", "before", "after", "stops"}],
          "tasks": [{"play", "task", "status", "seconds", "message", "remedy"}],
          "findings": [{"severity": "fine" | "notice" | "needs elevation", "message", "remedy"}],
          "proven": {"hostname", "os", "ray", "python", "seconds"} | null
        }
      },
      "plan": {"add": int, "change": int, "remove": int},   # all differences, counted
      "notices": [{"host", "message", "remedy"}],
      "dashboard": str,                  # URL, "" if unknown
      "next": [{"command", "explanation"}]
    }

Mistakes in the input come as a notice and exit code 1. Secrets are ``***``; everything beyond ASCII is escaped.
"""

from __future__ import annotations

import threading
from typing import Any, TextIO

from provisioner.errors import ProvisionError
from provisioner.events import Event, Notice
from provisioner.report.record import HostRecord, RunRecord
from provisioner.report.text import plain_json

_DIFFERENCE = ("task", "action", "what", "before", "after", "stops")
_TASK = ("play", "task", "status", "seconds", "message", "remedy")
_PROVEN = ("hostname", "os", "ray", "python", "seconds")
_FINDING = ("severity", "message", "remedy")
_NOTICE = ("host", "message", "remedy")


class JsonReport:
    """Gathers silently and writes the document when closed."""

    def __init__(self, stream: TextIO, verb: str = "", cluster: str = "") -> None:
        self._stream = stream
        self._record = RunRecord(verb=verb, cluster=cluster)
        self._lock = threading.Lock()
        self._written = False

    def emit(self, event: Event) -> None:
        """Take the event into the document."""
        with self._lock:
            self._record.take(event)

    def close(self) -> None:
        """Write the document, once."""
        with self._lock:
            if not self._written:
                self._written = True
                self._stream.write(plain_json(document(self._record), indent=2) + "\n")
                self._stream.flush()


def refusal(verb: str, error: ProvisionError) -> str:
    """Return the document of a command that ended before any host was contacted."""
    where = f"{error.place}: " if error.place else ""
    notice = Notice(0.0, error.host, where + error.message, error.remedy)
    return plain_json(document(RunRecord(verb=verb, exit_code=error.exit_code, notices=[notice])), indent=2)


def document(record: RunRecord) -> dict[str, Any]:
    """The document for what is known of a run."""
    plan = record.plan
    return {
        "verb": record.verb,
        "cluster": record.cluster,
        "inventory": record.inventory,
        "exit_code": record.exit_code,
        "interrupted": record.interrupted,
        "log": record.log,
        "hosts": {name: _host(host) for name, host in record.hosts.items()},
        "plan": {"add": plan.add, "change": plan.change, "remove": plan.remove},
        "notices": [_pick(notice, _NOTICE) for notice in record.notices],
        "dashboard": record.dashboard,
        "next": [{"command": command, "explanation": what} for command, what in record.next_commands],
    }


def _host(host: HostRecord) -> dict[str, Any]:
    message, remedy = host.cause
    return {
        "status": host.status or None,
        "message": message,
        "remedy": remedy,
        "facts": dict(sorted(host.facts.items())),
        "differences": [_pick(difference, _DIFFERENCE) for difference in host.differences],
        "tasks": [_pick(task, _TASK) for task in host.tasks],
        "findings": [_pick(finding, _FINDING) for finding in host.findings],
        "proven": _pick(host.proven, _PROVEN) if host.proven else None,
    }


def _pick(source: object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(source, name) for name in names}
