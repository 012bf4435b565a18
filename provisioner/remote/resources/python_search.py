"""Looking for an interpreter that is on the host already, and remembering it: starting one takes its time."""

from __future__ import annotations

import json
import os
import sys

from provisioner.remote.failure import Failure, NoProgram

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional, Tuple

    from provisioner.remote.host import Host

    Fits = Callable[[str], bool]

NOTE = "python.json"
"""The file under the root with the interpreter of the last run; it is no trace to undo, so not in the marker."""
HERE = "%d.%d.%d" % sys.version_info[:3]


def search(host: Host, version: str, path: Optional[str], minor: bool) -> Tuple[str, str]:
    """Return version and path of the interpreter to use.

    Args:
        version: the exact version that is wanted.
        path: this interpreter and no other.
        minor: another patch version of the same minor will do; the exact one is preferred.

    Raises:
        Failure: the host has none that fits; says what it has, and every way out.
    """
    series = version.rpartition(".")[0] + "."
    known = recall(host, path, lambda found: found == version or (minor and found.startswith(series)))
    if known:
        return known
    seen = []
    for candidate in [path] if path else host.platform.find_interpreters(version, minor):
        found = version_of(host, candidate)
        if found == version:
            return found, candidate
        seen.append((found, candidate))
    fitting = [each for each in seen if minor and each[0].startswith(series)]
    if fitting:
        return fitting[0]
    raise _unfit(host, version, path, seen)


def _unfit(host: Host, version: str, path: Optional[str], seen: List[Tuple[str, str]]) -> Failure:
    has = ", ".join("%s at %s" % each for each in dict.fromkeys(seen)) or "%s at %s" % (HERE, sys.executable)
    remedy = "write `python: {version: %s, source: managed}` to have it brought, or install it there" % version
    patches = [found for found, _ in seen if found.rpartition(".")[0] == version.rpartition(".")[0]]
    if patches:
        remedy += "; hosts with another patch version, such as %s here, may stay so with `match: minor`" % patches[0]
    elif path is None:
        remedy += "; or write `python: %s` if all hosts have it" % HERE
    return Failure("Python %s is wanted, and this host has %s" % (version, has), remedy)


def version_of(host: Host, path: str) -> str:
    """Return the version of an interpreter, or what it is in place of one, in words."""
    if os.path.realpath(path) == os.path.realpath(sys.executable):
        return HERE
    try:
        code, output = host.platform.run([path, "-I", "-S", "-c", "import platform;print(platform.python_version())"])
    except NoProgram:
        return "no Python"
    except Failure:
        return "nothing that may be run"
    return output.strip() if code == 0 else "a broken Python"


def recall(host: Host, path: Optional[str], fits: Fits) -> Optional[Tuple[str, str]]:
    """Return version and path of the interpreter of the last run, if it fits and is the same file as then."""
    try:
        with open(host.path(NOTE), encoding="ascii") as file:
            note = json.load(file)
        found: Tuple[str, str] = (note["version"], note["path"])
        same = fits(found[0]) and note["stamp"] == stamp(found[1]) and path in (None, found[1])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if same else None


def remember(host: Host, version: str, path: str) -> None:
    """Note an interpreter of the host's own, with what tells whether it is still the same file."""
    if path.startswith(host.path("python", "")):
        return
    note = {"version": version, "path": path, "stamp": stamp(path)}
    host.write(host.path(NOTE), json.dumps(note).encode("ascii"))


def stamp(path: str) -> Any:
    """Return what changes when a file is replaced; None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_size, int(found.st_mtime)]
