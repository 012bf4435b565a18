"""python: the interpreter of the exact version, found on the host."""

from __future__ import annotations

import json
import os
import sys

from provisioner.remote.failure import Failure
from provisioner.remote.resource import Resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional

    from provisioner.remote.host import Host
    from provisioner.remote.resource import Difference

NOTE = "python.json"
"""The file under the root with the interpreter of the last run; it is no trace to undo, so not in the marker."""


class Python(Resource):
    """Params: ``version`` (exact), ``path`` (optional: this interpreter and no other)."""

    kind = "python"

    def observe(self, host: Host) -> List[Difference]:
        host.shared["interpreter"] = self._remembered(host) or self._find(host)
        return []

    def ensure(self, host: Host) -> str:
        return "Python %s at %s" % (self.params["version"], host.shared["interpreter"])

    def _find(self, host: Host) -> str:
        version = self.params["version"]
        path = self.params.get("path")
        seen = []
        for candidate in [path] if path else host.platform.find_interpreters(version):
            found = self._version(host, candidate)
            if found == version:
                return candidate
            seen.append("%s at %s" % (found, candidate))
        here = "%d.%d.%d" % sys.version_info[:3]
        others = ", ".join(seen) or "%s at %s" % (here, sys.executable)
        raise Failure(
            "Python %s is wanted, and this host has %s" % (version, others),
            "install %s there, or write `python: %s` if all hosts have it" % (version, here),
        )

    def _version(self, host: Host, path: str) -> str:
        if _is_running(path):
            return "%d.%d.%d" % sys.version_info[:3]
        code, output = host.platform.run([path, "-I", "-S", "-c", "import platform;print(platform.python_version())"])
        return output.strip() if code == 0 else "a broken Python"

    def _remembered(self, host: Host) -> Optional[str]:
        """Return the interpreter of the last run, if the file is the same as then: saves starting it."""
        try:
            with open(host.path(NOTE), encoding="ascii") as file:
                note = json.load(file)
            path: str = note["path"]
            same = note["version"] == self.params["version"] and note["stamp"] == _stamp(path)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return path if same and self.params.get("path") in (None, path) else None


def remember(host: Host, version: str, path: str) -> None:
    """Note an interpreter, with what tells whether it is still the same file."""
    note = {"version": version, "path": path, "stamp": _stamp(path)}
    host.write(host.path(NOTE), json.dumps(note).encode("ascii"))


def _stamp(path: str) -> Any:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_size, int(found.st_mtime)]


def _is_running(path: str) -> bool:
    """Tell whether that interpreter is the one that runs this program."""
    return os.path.realpath(path) == os.path.realpath(sys.executable)
