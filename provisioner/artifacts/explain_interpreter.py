"""What uv says when it cannot fetch an interpreter, in one or two plain sentences."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from provisioner.artifacts.addresses import redact, shown
from provisioner.artifacts.catalogue import Origin, local_path, nearest
from provisioner.errors import ProvisionError

_CAUSE = re.compile(r"^\s*(?:error|cause|warning): ")
_SOUGHT = re.compile(r"failed to query metadata of file `([^`]+)`")
_STATUS = re.compile(r"HTTP status (?:client|server) error \((\d+)")
_SUMS = re.compile(r"Expected:\s*(\w+)\s+Computed:\s*(\w+)")
_FOLDER = re.compile(r"/installed/[^/`]+/([^`]+)/EXTERNALLY-MANAGED`: No such file")
_LONGEST = 300
_OTHERWISE = "or install that Python on the hosts and write `source: system` under `python:`"


@dataclass(frozen=True)
class Wanted:
    """What was to be fetched.

    Args:
        version: the exact version of Python; empty if the catalogue itself was asked for.
        target: the platform, as a user would say it.
        origin: where from.
        available: address by version of all there is, as far as it is known.
    """

    version: str
    target: str
    origin: Origin
    available: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"Python {self.version} for {self.target}" if self.version else f"the list of Pythons for {self.target}"

    @property
    def url(self) -> str:
        """Where its archive is, fit for a message: a path if it is a file of this machine."""
        return _place(self.available.get(self.version, ""))


def explain_interpreter(stderr: str, wanted: Wanted) -> ProvisionError:
    """Return the error a user should see, without credentials.

    Args:
        stderr: all that uv printed there.
        wanted: what it was about.
    """
    text = redact(stderr)
    lines = [_CAUSE.sub("", line).strip() for line in text.splitlines() if line.strip()]
    flat = " ".join(lines)
    for sign, explanation in _TABLE:
        if re.search(sign, flat):
            return explanation(flat, lines, wanted)
    reason = " ".join(line for line in lines if not re.match(r"(Downloading|Extracting|Downloaded|Extracted) ", line))
    return ProvisionError(
        f"uv could not fetch {wanted}: {_shortened(reason) or 'it gave no reason'}",
        remedy=f"Look at what uv says, {_OTHERWISE}.",
    )


def unknown(wanted: Wanted) -> ProvisionError:
    """Return the error for a version that no archive is known of."""
    catalogue, build = wanted.origin.catalogue, wanted.origin.build
    where = f" in {_place(catalogue)}" if catalogue else ""
    where += f" of build {build} (UV_PYTHON_CPYTHON_BUILD)" if build else ""
    others = nearest(wanted.version, wanted.available)
    if wanted.version in wanted.available or not others:
        return ProvisionError(
            f"there is no archive of {wanted}{where}", remedy=f"Choose another version, {_OTHERWISE}."
        )
    those = "those there are next to it" if len(others) > 1 else "the nearest there is"
    return ProvisionError(
        f"there is no archive of {wanted}{where}", remedy=f"Write {' or '.join(others)} ({those}), {_OTHERWISE}."
    )


def lacking(wanted: Wanted, file: str = "") -> ProvisionError:
    """Return the error for a folder that does not have a file; empty: the one that is known."""
    return ProvisionError(
        f"the mirror lacks {wanted}: there is no {file or wanted.url}",
        remedy="Put that file of python-build-standalone there, or name another `mirror:`.",
    )


def _unknown(flat: str, lines: list[str], wanted: Wanted) -> ProvisionError:
    return unknown(wanted)


def _damaged_sum(flat: str, lines: list[str], wanted: Wanted) -> ProvisionError:
    sums = _SUMS.search(flat)
    found = f": its sha256 is {sums[2]}, expected {sums[1]}" if sums else ""
    file = wanted.url or str(wanted)
    return ProvisionError(f"{file} is not the archive that it should be{found}", remedy=_anew(wanted))


def _damaged(flat: str, lines: list[str], wanted: Wanted) -> ProvisionError:
    reason = _shortened(lines[-1])
    return ProvisionError(f"{wanted.url or wanted} is damaged: {reason}", remedy=_anew(wanted))


def _misshaped(flat: str, lines: list[str], wanted: Wanted) -> ProvisionError:
    lacking = _FOLDER.search(flat)
    reason = f"it has no folder {lacking[1]}" if lacking else _shortened(lines[-1])
    return ProvisionError(
        f"{wanted.url or wanted} is not laid out as it should be: {reason}",
        remedy="Pack it like the `install_only` archives of python-build-standalone.",
    )


def _lacking(flat: str, lines: list[str], wanted: Wanted) -> ProvisionError:
    match = _SOUGHT.search(flat)
    return lacking(wanted, match[1] if match else "")


def _status(flat: str, lines: list[str], wanted: Wanted) -> ProvisionError:
    match = _STATUS.search(flat)
    status = int(match[1]) if match else 0
    where = wanted.url or _address(flat)
    if status in (401, 403, 407):
        return ProvisionError(
            f"the server refused {wanted} to us: {where} (HTTP {status})",
            remedy="Put user and password into UV_PYTHON_INSTALL_MIRROR (https://USER:PASSWORD@...).",
        )
    if status >= 500 or status == 429:
        return ProvisionError(f"the server is in trouble: {where} (HTTP {status})", remedy="Try again in a while.")
    return ProvisionError(
        f"the server lacks {wanted}: there is no {where} (HTTP {status})",
        remedy=f"Put that file there, name another `mirror:`, {_OTHERWISE}.",
    )


def _unreachable(flat: str, lines: list[str], wanted: Wanted) -> ProvisionError:
    where = _address(flat) or wanted.url
    if "certificate" in flat:
        remedy = "If a proxy opens TLS here, set SSL_CERT_FILE to the file with its certificate authority."
    else:
        remedy = (
            "Only this machine needs the internet: look at its connection, set HTTPS_PROXY for a proxy, name a "
            f"copy of the archives (`mirror:` under `python:`, or UV_PYTHON_INSTALL_MIRROR), {_OTHERWISE}."
        )
    return ProvisionError(f"{wanted} cannot be fetched from {where}: {_shortened(lines[-1])}", remedy=remedy)


def _full(flat: str, lines: list[str], wanted: Wanted) -> ProvisionError:
    return ProvisionError(
        f"the disk is full: there is no room for {wanted}",
        remedy="Make room (300 MB), or set PROVISION_CACHE to a folder that has it.",
    )


def _forbidden(flat: str, lines: list[str], wanted: Wanted) -> ProvisionError:
    return ProvisionError(
        f"uv was told never to download an interpreter, and {wanted} has not been fetched yet",
        remedy=f"Set UV_PYTHON_DOWNLOADS=manual for the first run, {_OTHERWISE}.",
    )


def _offline(flat: str, lines: list[str], wanted: Wanted) -> ProvisionError:
    return ProvisionError(
        f"uv was told to stay offline, and {wanted} has not been fetched yet",
        remedy="Unset UV_OFFLINE for the first run, or name a folder with the archives (`mirror:` under `python:`).",
    )


def _bad_catalogue(flat: str, lines: list[str], wanted: Wanted) -> ProvisionError:
    where = _place(wanted.origin.catalogue or "")
    return ProvisionError(
        f"the catalogue of interpreters {where} cannot be read: {_shortened(lines[-1])}",
        remedy="Look at that file (or UV_PYTHON_DOWNLOADS_JSON_URL); its format is uv's download-metadata.json.",
    )


def _bad_address(flat: str, lines: list[str], wanted: Wanted) -> ProvisionError:
    return ProvisionError(
        f"the mirror {shown(wanted.origin.mirror or '')} is no address of archives: {_shortened(lines[-1])}",
        remedy="Write a folder, file:///FOLDER or https://... as `mirror:`.",
    )


_TABLE: tuple[tuple[str, Callable[[str, list[str], Wanted], ProvisionError]], ...] = (
    ("No space left|[Dd]isk quota|not enough space", _full),
    ("Python downloads are not allowed", _forbidden),
    ("offline Python installation was requested|[Nn]etwork was disabled", _offline),
    (
        "Unable to parse the JSON|Error while fetching remote python downloads|failed to open file `[^`]*json`",
        _bad_catalogue,
    ),
    ("No download found for request", _unknown),
    ("Hash mismatch", _damaged_sum),
    ("failed to query metadata of file", _lacking),
    ("HTTP status (client|server) error", _status),
    ("Failed to extract archive|Invalid (tar|zip) file|[Ii]nvalid gzip", _damaged),
    ("_sysconfigdata_|EXTERNALLY-MANAGED|externally managed", _misshaped),
    ("Invalid download URL|URL scheme is not allowed|builder error", _bad_address),
    (
        "error sending request|dns error|Request failed after|error decoding response|timed out|Failed to fetch",
        _unreachable,
    ),
)
"""uv's words (a regular expression over all of them, the first that fits) and what they mean."""


def _anew(wanted: Wanted) -> str:
    if wanted.origin.folder:
        catalogue = wanted.origin.catalogue
        correct = f", or correct the sum in {_place(catalogue)}" if catalogue else ""
        return f"Put the right file there{correct}."
    return "A proxy or a mirror served another file: try again, or look at what is between."


def _place(address: str) -> str:
    """Return an address fit for a message: a path if it is a file of this machine."""
    return str(local_path(address) or shown(address))


def _address(text: str) -> str:
    match = re.search(r"https?://[^\s`)>]+", text)
    return shown(match[0]) if match else ""


def _shortened(text: str) -> str:
    text = re.sub(r" \(os error \d+\)", "", text).rstrip(". ")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1].rsplit(" ", 1)[0] + " …"
