"""Programs of a host's own that fetch a file over HTTP: what they are told in a file, and the command that starts them.

In a file, for the token is nobody else's business: command lines are shown to every account of a host. They go on with
what is there of the file, print the answer's head, and use no proxy: the mirror is a neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from provisioner.transport.shell import Said

CONNECT_LIMIT = 5
"""Seconds to get through to the mirror."""
STALLED = 30
"""Seconds after which one that sends next to nothing is given up."""
SLOWEST = 32 * 1024
"""Bytes in a second over that time; below that it is no help."""


@dataclass(frozen=True)
class Request:
    """One file: its URL, the token that lets us have it, where it goes, and the address to come from (may be empty)."""

    url: str
    token: str
    target: str
    own: str


class Fetcher(Protocol):
    """A program that fetches files."""

    def settings(self, request: Request) -> str:
        """Return what it is told in a file that nobody else may read."""

    def command(self, settings: str, request: Request) -> str:
        """Return the command line that starts it; ``settings`` is the path of that file."""

    def is_bound_elsewhere(self, said: Said) -> bool:
        """Tell whether it could not come from the address it was told."""


class Curl:
    """curl, from 7.19 on; every macOS has it, and Windows from 10 (1803) on as ``curl.exe``."""

    def __init__(self, program: str = "curl") -> None:
        self._program = program

    def settings(self, request: Request) -> str:
        told = {
            "url": request.url,
            "header": f"Authorization: Bearer {request.token}",
            "output": request.target,
            "continue-at": "-",
            "dump-header": "-",
            "noproxy": "*",
            "connect-timeout": str(CONNECT_LIMIT),
            "speed-limit": str(SLOWEST),
            "speed-time": str(STALLED),
            **({"interface": request.own} if request.own else {}),
        }
        rows = [f'{name} = "{value}"' for name, value in told.items()]
        return "\n".join(["fail", "silent", "show-error", "globoff", *rows, ""])

    def command(self, settings: str, request: Request) -> str:
        return f"{self._program} -q -K {settings}"

    def is_bound_elsewhere(self, said: Said) -> bool:
        return "curl: (45)" in said.err  # CURLE_INTERFACE_FAILED; PowerShell makes a 1 of the exit code


class Wget:
    """GNU wget, from 1.14 on (``--config``); busybox' takes the token on its command line only."""

    def settings(self, request: Request) -> str:
        told = {
            "header": f"Authorization: Bearer {request.token}",
            "output_document": request.target,
            "continue": "on",
            "server_response": "on",
            "verbose": "off",
            "use_proxy": "off",
            "tries": "1",
            "connect_timeout": str(CONNECT_LIMIT),
            "read_timeout": str(STALLED),
            **({"bind_address": request.own} if request.own else {}),
        }
        return "\n".join([*(f"{name} = {value}" for name, value in told.items()), ""])

    def command(self, settings: str, request: Request) -> str:
        return f"wget --config={settings} {request.url}"

    def is_bound_elsewhere(self, said: Said) -> bool:
        return "annot assign requested address" in said.err
