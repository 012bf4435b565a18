"""What uv says when it cannot lock, in one or two plain sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence

from provisioner.artifacts.addresses import redact, shown
from provisioner.errors import ProvisionError

_DECORATION = re.compile(r"^[\s×╰─▶│├]*(?:(?:error|cause|Caused by):\s*)?")
_NEXT_STEP = re.compile(r"\.\s+(?=And because |Because |So, because )")
_CONCLUSION = re.compile(r",? we can conclude that .*|^(?:And because|Because|So, because) ")
_NETWORK = ("Failed to fetch", "error sending request", "dns error", "Request failed after", "Could not connect")
_WITHOUT_WHEEL = re.compile(r"(\S+) ha(?:ve|s) no (?:usable wheels|wheels with a matching)")
_NO_REQUIREMENT = re.compile(r"Couldn't parse requirement in `([^`]+)` at position \d+ (.*)")
_LONGEST = 400
LOGIN_REMEDY = (
    "Give the right user and password: `artifacts: {index: {url:, username:, password:}}`, "
    "UV_DEFAULT_INDEX or ~/.netrc."
)


class Unsatisfiable(ProvisionError):
    """No set of packages fits.

    ``names`` are those that have no wheel to use, ``about`` is the requirement that can't be met, if it is one alone.
    """

    names: frozenset[str] = frozenset()
    about: str = ""


def explain(stderr: str, requirements: Sequence[str], target: str, nearest: str = "") -> ProvisionError:
    """Return the error a user should see.

    Args:
        stderr: all that uv printed there.
        requirements: what was to be locked.
        target: the platform and Python it was for, as a user would say it.
        nearest: the versions next to one that does not exist, in words, if any.
    """
    text, _, hint = redact(stderr).partition("hint:")
    lines = [line for line in (_DECORATION.sub("", line).strip() for line in text.splitlines()) if line]
    flat, hint = " ".join(lines), " ".join(hint.split())
    if "Unauthorized" in flat + hint or "Forbidden" in flat + hint:
        return _refused(flat + " " + hint)
    if "network was disabled" in hint or "network was disabled" in flat:
        return ProvisionError(
            f"the packages for {target} are not all in uv's cache, and uv was told to stay offline",
            remedy="Unset UV_OFFLINE for the first run.",
        )
    if any(sign in flat for sign in _NETWORK):
        return _unreachable(flat, lines[-1])
    if "No solution found" in flat:
        error = _unsatisfiable(flat, hint, requirements, target, nearest)
        error.names = frozenset(_name(match) for match in _WITHOUT_WHEEL.findall(flat))
        error.about = _sole_subject(flat)
        return error
    if match := _NO_REQUIREMENT.search(flat):
        return ProvisionError(
            f"a line of {match[1]} is no requirement: {_shortened(match[2])}",
            remedy="Write one on each line, such as numpy<2.",
        )
    reason = _shortened(flat) or "uv gave no reason"
    return ProvisionError(f"uv could not lock the packages for {target}: {reason}", remedy=_shortened(hint))


def _refused(text: str) -> ProvisionError:
    return ProvisionError(
        f"the package index {_address(text)} refused us",
        remedy=LOGIN_REMEDY,
    )


def _unreachable(flat: str, last: str) -> ProvisionError:
    remedy = (
        "If a proxy opens TLS here, set SSL_CERT_FILE to the file with its certificate authority."
        if "certificate" in flat
        else "Only this machine needs the internet: look at its connection, set HTTPS_PROXY for a proxy, "
        "or name a mirror (`artifacts: {index: URL}`, or UV_DEFAULT_INDEX)."
    )
    reason = re.sub(r" \(os error \d+\)", "", last)
    return ProvisionError(f"the package index {_address(flat)} cannot be used: {reason}", remedy=remedy)


def missing_version(stderr: str) -> tuple[str, str] | None:
    """Return the name and the version of an exact requirement that can't be had, if uv named one."""
    flat = " ".join(line for line in (_DECORATION.sub("", line).strip() for line in stderr.splitlines()) if line)
    match = re.search(r"there is no version of (\S+?)==(\S+?),? and ", flat)
    match = match or re.search(r"(\S+?)==(\S+) has no (?:wheels with a matching|usable wheels)", flat)
    return (_name(match[1]), match[2]) if match else None


def _unsatisfiable(flat: str, hint: str, requirements: Sequence[str], target: str, nearest: str) -> Unsatisfiable:
    names = {_name(requirement) for requirement in requirements}
    choice = f"Choose one that exists; the nearest: {nearest}." if nearest else ""
    if (match := re.search(r"there is no version of (\S+?),? and ", flat)) and _name(match[1]) in names:
        return Unsatisfiable(
            f"{match[1]} does not exist in the package index",
            remedy=choice or "Choose a version that it has, or look at which index is asked.",
        )
    if (match := re.search(r"(\S+) was not found in the package registry", flat)) and _name(match[1]) in names:
        return Unsatisfiable(f"the package index has no package {match[1]}", remedy="Look at how its name is spelt.")
    if match := re.search(r"(\S+) has no wheels with a matching", flat):
        uv_says = f"{_shortened(hint)}." if hint else "Choose a version that has one."
        remedy = f"Choose one that has; the nearest: {nearest}." if nearest else uv_says
        return Unsatisfiable(f"{match[1]} has no wheel for {target}", remedy=remedy)
    if match := re.search(r"(\S+) ha(?:ve|s) no usable wheels", flat):
        build = f"`artifacts: {{sdists: [{_name(match[1])}]}}`"
        return Unsatisfiable(
            f"{match[1]} has no wheel, only a source archive, and hosts do not build packages",
            remedy=f"Choose a version that has wheels, or have this machine build it: {build}.",
        )
    steps = _NEXT_STEP.split(flat[flat.find("Because") :])
    reason = "; ".join(_CONCLUSION.sub("", step).strip() for step in steps)
    return Unsatisfiable(
        f"no set of packages satisfies what is asked for on {target}: {_shortened(reason)}",
        remedy="Loosen or change one of the versions named above.",
    )


def _sole_subject(flat: str) -> str:
    """Return the package that cannot be had whatever the others are, if there is one."""
    signs = (r"there is no version of (\S+?),? and ", r"(\S+) was not found in the package registry",
             r"(\S+) has no wheels with a matching", r"(\S+) ha(?:ve|s) no usable wheels")  # fmt: skip
    found = (match for sign in signs if (match := re.search(sign, flat)))
    return next((_name(match[1]) for match in found), "")


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0].lower().replace("_", "-")


def _address(text: str) -> str:
    match = re.search(r"https?://[^\s`)>]+", text)
    return shown(match[0]) if match else ""


def _shortened(text: str) -> str:
    text = text.rstrip(". ")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1].rsplit(" ", 1)[0] + " …"
