"""Every call of ``launchctl``: one small class, which knows what its codes and its output mean.

``launchctl bootout`` returns while a service still ends, and a ``bootstrap`` that comes too early is refused with 5 or
37 (measured on macOS 26.5: for about 5 s, headroomlabs-ai/headroom#1289; system log in ancwrd1/snx-rs#241). So both are
followed by looking until it is as it should be, with a limit. ``bootout --wait`` does not exist on macOS 15
(pingdotgg/t3code#11995).
"""

from __future__ import annotations

import time

from provisioner.remote.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, List, Optional, Tuple

    from provisioner.remote.platforms.base import Platform

PROGRAM = "/bin/launchctl"
GONE = (3, 113)
"""``No such process`` (bootout) and ``Could not find service`` (print, kickstart): it is not loaded."""
BUSY = (5, 36, 37)
"""``Input/output error``, ``Operation now in progress``, ``Operation already in progress``: it is still ending, or is
loaded already; which of them, only ``print`` tells."""
LOOK = 0.2
"""Seconds between two looks."""
SETTLE_LIMIT = 20.0
"""Seconds in which launchd must take a service that was just taken out."""


class Job:
    """A service as launchd has it.

    Args:
        state: in launchd's words, such as ``running``, ``not running`` or ``spawn scheduled``.
        pid: 0 if it does not run.
        runs: how often it was started since it was loaded.
        ended: how it last ended, such as ``1`` or ``78: EX_CONFIG``; empty if it never did.
    """

    def __init__(self, state: str, pid: int, runs: int, ended: str) -> None:
        self.state = state
        self.pid = pid
        self.runs = runs
        self.ended = ended


class Launchctl:
    """Speaks to launchd about services of the whole system.

    Args:
        platform: runs programs.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def job(self, label: str) -> Optional[Job]:
        """Return a service as launchd has it, None if it is not loaded.

        Raises:
            Failure: launchd does not say.
        """
        code, output = self._run(["print", "system/" + label])
        if code in GONE:
            return None
        if code:
            raise _refused("print system/" + label, code, output)
        return parse_job(output)

    def bootstrap(self, plist: str, label: str) -> None:
        """Load a service, which starts it if it is to run at load; one that is loaded already stays.

        Raises:
            Failure: launchd does not take it.
        """
        deadline = time.monotonic() + SETTLE_LIMIT
        while True:
            code, output = self._run(["bootstrap", "system", plist])
            if code == 0:
                return
            if "disabled" in output.lower():  # somebody switched it off with `launchctl disable`
                self._run(["enable", "system/" + label])
            elif code not in BUSY:
                break
            elif self.job(label) is not None:
                return
            if time.monotonic() > deadline:
                break
            time.sleep(LOOK)
        remedy = "on the host: plutil -lint %s; sudo launchctl print-disabled system" % plist
        remedy += "; and see System Settings > General > Login Items"
        raise Failure(_refused("bootstrap system " + plist, code, output).message, remedy)

    def bootout(self, label: str, limit: float) -> None:
        """End a service and take it out, and wait until it is gone.

        Args:
            label: of the service, whether or not it is loaded.
            limit: seconds that it may take to end.

        Raises:
            Failure: it is still there after that.
        """
        code, output = self._run(["bootout", "system/" + label], limit)
        if code in GONE:
            return
        if code and code not in BUSY:
            raise _refused("bootout system/" + label, code, output)
        deadline = time.monotonic() + limit
        while self.job(label) is not None:
            if time.monotonic() > deadline:
                raise Failure(
                    "launchd did not end %s within %d s (%s)" % (label, limit, _said(output) or "it said nothing"),
                    "on the host: sudo launchctl print system/%s; a reboot ends it in any case" % label,
                )
            time.sleep(LOOK)

    def kickstart(self, label: str) -> None:
        """Start a service that is loaded and does not run."""
        code, output = self._run(["kickstart", "system/" + label])
        if code and code not in BUSY:
            raise _refused("kickstart system/" + label, code, output)

    def getenv(self, name: str) -> Optional[str]:
        """Return a variable that launchd gives to what it starts, None if it has none of that name."""
        code, output = self._run(["getenv", name])
        return output.rstrip("\n") if code == 0 and output.strip("\n") else None

    def setenv(self, name: str, value: Optional[str]) -> None:
        """Set a variable for what launchd starts from now on; None: it has none any more."""
        self._run(["unsetenv", name] if value is None else ["setenv", name, value])

    def _run(self, arguments: List[str], limit: float = 30.0) -> Tuple[int, str]:
        return self._platform.run([PROGRAM, *arguments], max(limit, 30.0))


def parse_job(output: str) -> Job:
    """Return what ``launchctl print system/LABEL`` says of a service.

    Its form is no interface ("NOT API in any sense", launchctl(1)), but there is no other: ``list`` may answer for
    another domain (Homebrew/brew#19602). Only four lines are taken, from the outermost block, which have had this form
    from 10.14 to 26: ``state``, ``pid``, ``runs``, and how it last ended.
    """
    told = dict(_outermost(output))
    ended = told.get("last exit code", "")
    for other in ("last exit reason", "last terminating signal"):
        ended = told.get(other) or ended
    return Job(
        state=told.get("state", ""),
        pid=_number(told.get("pid", "")),
        runs=_number(told.get("runs", "")),
        ended="" if "never exited" in ended else ended,
    )


def _outermost(output: str) -> Iterator[Tuple[str, str]]:
    depth = 0
    for line in output.splitlines():
        text = line.strip()
        if text.endswith("{"):
            depth += 1
        elif text == "}":
            depth -= 1
        elif depth == 1 and " = " in text:
            name, _, value = text.partition(" = ")
            yield name, value


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _said(output: str) -> str:
    """Return the line that says what went wrong: the hint below it is for people at a keyboard."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith(HINTS)]
    return lines[-1] if lines else ""


HINTS = ("Try re-running", "Try running", "Bad request")


def _refused(what: str, code: int, output: str) -> Failure:
    if "Operation not permitted" in output or "not privileged" in output.lower():
        return Failure("launchctl %s needs root" % what, "set `become: true`")
    said = _said(output) or "code %d" % code
    return Failure("launchctl %s failed: %s" % (what, said), "run that command with sudo on the host")
