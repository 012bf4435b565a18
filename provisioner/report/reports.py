"""All reports of a run behind one ``emit``: secrets are taken out first, and no report can break the run."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from types import TracebackType
from typing import Protocol, TextIO, runtime_checkable

from provisioner.events import Event, Notice
from provisioner.report.record import Plan, RunRecord
from provisioner.report.redact import Redactor


class Report(Protocol):
    """A consumer of events; ``emit`` may be called by many threads at once."""

    def emit(self, event: Event) -> None:
        """Take an event, without secrets."""
        ...

    def close(self) -> None:
        """Finish; may be called again."""
        ...


@runtime_checkable
class Suspendable(Protocol):
    """A report that occupies the terminal and can give it away for a while."""

    def suspend(self) -> AbstractContextManager[None]:
        """Leave the terminal to somebody else inside the ``with`` block."""
        ...


class Reports:
    """The reports of a run. A context manager: leaving it closes them.

    Args:
        reports: who gets the events, in this order.
        secrets: values that nobody may see; more may come by ``hide``.
        log: path of the run log, for ``RunStarted``; empty if there is none.
    """

    def __init__(self, reports: Sequence[Report], secrets: Iterable[str] = (), log: str = "") -> None:
        self.log = log
        self._redactor = Redactor(secrets)
        self._lock = threading.Lock()
        self._reports = tuple(reports)
        self._record = RunRecord()

    def emit(self, event: Event) -> None:
        """Give the event to every report; one that cannot take it is left out from then on, with one notice."""
        event = self._redactor.event(event)
        with self._lock:
            self._record.take(event)
        for report in self._reports:
            try:
                report.emit(event)
            except Exception as error:
                self._drop(report, error, event.at)

    def hide(self, secrets: Iterable[str]) -> None:
        """Secrets learned later, as a password that was asked for."""
        self._redactor.add(secrets)

    def redact(self, text: str) -> str:
        """A text without secrets, for what must be said outside of a run."""
        return self._redactor.text(text)

    @property
    def plan(self) -> Plan:
        """All differences known so far, counted: ``str`` of it is ``2 to add, 1 to change, 0 to remove``."""
        with self._lock:
            return self._record.plan

    @contextmanager
    def suspend(self) -> Iterator[None]:
        """The terminal without a live view, for a question to the user; all lines so far are above it."""
        with ExitStack() as stack:
            for report in self._reports:
                if isinstance(report, Suspendable):
                    stack.enter_context(report.suspend())
            yield

    def close(self) -> None:
        """Close all reports."""
        for report in self._reports:
            with suppress(Exception):
                report.close()

    def __enter__(self) -> Reports:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _drop(self, report: Report, error: Exception, at: float) -> None:
        with self._lock:
            if report not in self._reports:
                return
            self._reports = tuple(each for each in self._reports if each is not report)
        with suppress(Exception):
            report.close()
        what = "the run log" if type(report).__name__ == "RunLog" else f"a report ({type(report).__name__})"
        reason = str(error) or type(error).__name__
        self.emit(Notice(at=at, host="", message=f"{what} cannot be written, the run goes on without it: {reason}"))


def open_reports(
    *,
    verb: str,
    cluster: str,
    json: bool = False,
    verbose: int = 0,
    stream: TextIO | None = None,
    secrets: Iterable[str] = (),
    plain: bool = False,
) -> Reports:
    """The reports for a run: the run log, and one for the stream (stdout if not given).

    That one is the JSON document if asked for; a live view on a terminal that can move its cursor, unless ``plain``;
    else plain lines.
    """
    from provisioner.report.runlog import RunLog

    secrets = list(secrets)
    cluster = Redactor(secrets).text(cluster)
    log = RunLog(verb, cluster)
    shown = _shown(stream or sys.stdout, verb, cluster, json=json, verbose=verbose, plain=plain)
    return Reports([log, shown], secrets, log.path)


def _shown(stream: TextIO, verb: str, cluster: str, *, json: bool, verbose: int, plain: bool) -> Report:
    if json:
        from provisioner.report.jsondoc import JsonReport

        return JsonReport(stream, verb, cluster)
    from provisioner.report.plain import PlainReport, is_dumb

    if plain or not stream.isatty() or is_dumb():
        return PlainReport(stream, verbose)
    from provisioner.report.console import ConsoleReport  # the only import of rich, and not a quick one

    return ConsoleReport(stream, verbose)
