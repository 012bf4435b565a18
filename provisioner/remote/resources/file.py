"""file: a file with the wanted content, mode and owner."""

from __future__ import annotations

import hashlib
import os

from provisioner.remote.failure import Failure
from provisioner.remote.files import unlink
from provisioner.remote.folders import missing_folders, remove_if_empty
from provisioner.remote.resource import Resource, difference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

    from provisioner.remote.host import Host
    from provisioner.remote.resource import Difference


CONTENT = "content"
"""Names it in the store."""
OTHERS = 0o007
"""What in a mode is for everybody."""


class File(Resource):
    """Params: ``path``, ``sha256`` and ``size`` of its content (sent on demand), ``mode``, ``owner``.

    A file that was there before is kept in the root and put back by remove.
    """

    kind = "file"

    @property
    def key(self) -> str:
        return "file:%s" % self.params["path"]

    def observe(self, host: Host) -> List[Difference]:
        path, what = self.params["path"], "file %s" % self.params["path"]
        if os.path.isdir(path):
            raise Failure("%s is a folder" % path, "choose another path, or remove the folder")
        if not os.path.exists(path):
            return [difference("add", what, after="%d bytes" % self.params["size"])]
        found = []
        if _digest(path) != self.params["sha256"]:
            found.append(difference("change", what, "other content", "%d bytes" % self.params["size"]))
        mode = host.platform.mode(path) if self.params.get("mode") else None
        if mode is not None and int(mode, 8) != int(self.params["mode"], 8):
            found.append(difference("change", "mode of " + path, mode, self.params["mode"]))
        owner = self.params.get("owner")
        if owner and not host.platform.owned_by(path, owner):
            found.append(difference("change", "owner of " + path, host.platform.owner(path), owner))
        if self._is_private() and os.path.lexists(host.store.path_of(self.params["sha256"], CONTENT)):
            found.append(difference("remove", "a copy of %s in the store" % path, before="left by an earlier run"))
        return found

    def ensure(self, host: Host) -> str:
        path = self.params["path"]
        entry = host.marker.get(self.key)
        if entry is None:
            entry = {"kind": self.kind, "before": _keep(host, path), "folders": missing_folders(path)}
        host.marker.put(self.key, dict(entry, params=self.params))
        access = host.platform.access(path) if os.path.exists(path) else None
        mode = self._mode(access)
        if access is None or _digest(path) != self.params["sha256"]:
            self._write(host, path, mode)
        if access:
            host.platform.set_access(path, dict(access, mode=mode))
        host.platform.shield(path, mode, self.params.get("owner") or "")
        if self.params.get("owner"):
            host.platform.give(path, self.params["owner"])
        if not mode & OTHERS:  # what an earlier release, or a run that was cut off, left
            host.store.forget(self.params["sha256"], CONTENT)
        return str(path)

    def traces(self, host: Host) -> List[Difference]:
        entry = host.marker.get(self.key)
        if not entry:
            return []
        return [difference("remove", "file %s" % self.params["path"], after="as before" if entry["before"] else "")]

    def remove(self, host: Host) -> str:
        entry, path = host.marker.get(self.key), self.params["path"]
        if entry is None:
            return ""
        before = entry["before"]
        if before:
            with open(before["copy"], "rb") as file:
                host.write(path, file.read(), before["access"]["mode"])
            host.platform.set_access(path, before["access"])
        elif os.path.exists(path):
            unlink(path)
        for folder in entry["folders"]:
            remove_if_empty(folder)
        host.marker.drop(self.key)
        if before:  # last: while the marker names it, the next run needs it
            unlink(before["copy"])
        return "%s %s" % (path, "put back" if before else "removed")

    def _write(self, host: Host, path: str, mode: int) -> None:
        """Write the content, which is nobody else's while it lies in the store: there, its folder protects nothing."""
        content = host.fetch(self.params["sha256"], CONTENT, self.params["size"], direct=True, private=True)
        with open(content, "rb") as file:
            host.write(path, file.read(), mode)

    def _is_private(self) -> bool:
        return bool(self.params.get("mode")) and not int(self.params["mode"], 8) & OTHERS

    def _mode(self, access: Optional[Dict[str, Any]]) -> int:
        """Return the mode the file gets: the wanted one, else the one it has."""
        if self.params.get("mode"):
            return int(self.params["mode"], 8)
        return int(access["mode"]) if access else 0o644


def _keep(host: Host, path: str) -> object:
    """Copy the stranger's file away and return how to put it back; None if there is none."""
    if not os.path.exists(path):
        return None
    copy = host.path("before", hashlib.sha256(path.encode()).hexdigest()[:16])
    with open(path, "rb") as file:
        host.write(copy, file.read(), 0o600)
    return {"copy": copy, "access": host.platform.access(path)}


def _digest(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()
