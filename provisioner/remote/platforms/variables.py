"""Files in which environment variables are kept, line by line: ``/etc/environment`` and ``~/.profile``.

The last line that names a variable counts. Indented lines are left alone: in a profile they hang on a condition.
"""

from __future__ import annotations

import os

from provisioner.remote.failure import Failure
from provisioner.remote.marker import write_atomically
from provisioner.remote.platforms.base import Variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional


class VariablesFile(Variables):
    """``/etc/environment``, as pam_env(8) reads it: quotes around a value go, nothing is escaped.

    Args:
        path: the file, whether or not it exists.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def line(self, name: str, value: str) -> str:
        return '%s="%s"' % (name, value)

    def value(self, text: str) -> str:
        if text[:1] not in ('"', "'"):
            return text
        return text[1:-1] if text[-1:] in ('"', "'") and len(text) > 1 else text[1:]

    def get(self, name: str) -> Optional[str]:
        found = [line for line in self._lines() if _names(line, name)]
        return self.value(found[-1].split("=", 1)[1].strip()) if found else None

    def set(self, name: str, value: str) -> None:
        """Have the variable hold that value, in the line it has if there is one."""
        if "\n" in value or "\0" in value:
            raise Failure("the value of %s has more than one line" % name, "%s can't hold that" % self.path)
        self._replace(name, [self.line(name, value)])

    def keep(self, name: str) -> Dict[str, Any]:
        """Return what ``put_back`` needs to make the file what it is now."""
        return {"lines": [line for line in self._lines() if _names(line, name)], "file": os.path.exists(self.path)}

    def put_back(self, name: str, kept: Dict[str, Any]) -> None:
        self._replace(name, kept["lines"])
        if not kept["file"] and not self._lines() and os.path.exists(self.path):
            os.unlink(self.path)

    def _replace(self, name: str, new: List[str]) -> None:
        """Put other lines where those of a variable are, or at the end if it has none."""
        before = self._lines()
        places = [number for number, line in enumerate(before) if _names(line, name)]
        place = places[0] if places else len(before)
        lines = [line for line in before if not _names(line, name)]
        lines[place:place] = new
        if lines == before:
            return
        mode = os.stat(self.path).st_mode & 0o7777 if os.path.exists(self.path) else 0o644
        text = "".join(line + "\n" for line in lines)
        write_atomically(self.path, text.encode("utf-8", "surrogateescape"), mode)

    def _lines(self) -> List[str]:
        try:
            with open(self.path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
                text = file.read()
        except FileNotFoundError:
            return []
        return text[:-1].split("\n") if text.endswith("\n") else text.split("\n") if text else []


class ProfileFile(VariablesFile):
    """``~/.profile``, as a shell reads it."""

    def line(self, name: str, value: str) -> str:
        import shlex

        return "export %s=%s" % (name, shlex.quote(value))

    def value(self, text: str) -> str:
        import shlex

        try:
            words = shlex.split(text, comments=True)
        except ValueError:
            return text
        return words[0] if words else ""


def _names(line: str, name: str) -> bool:
    text = line[len("export ") :].lstrip() if line.startswith("export ") else line
    return text.startswith(name + "=")
