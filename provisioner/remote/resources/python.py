"""python: the interpreter that Ray runs on: brought to the host, or found there."""

from __future__ import annotations

import json
import os

from provisioner.remote.failure import Failure
from provisioner.remote.files import remove_tree, rename
from provisioner.remote.folders import flush
from provisioner.remote.resource import Resource, difference
from provisioner.remote.resources.python_search import search, stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

    from provisioner.remote.host import Host
    from provisioner.remote.resource import Difference

COMPLETE = "provision.json"
"""Written last into the folder of an interpreter: without it nothing there is used."""
ASK_LIMIT = 900.0
"""Seconds in which something of an archive that the controller lacks must arrive there."""
TRY_LIMIT = 120.0
ROOM = 6
"""An interpreter takes about this many times its archive's size: unpacked, compiled, and the archive itself."""
TRY = "import ssl, sqlite3, ctypes, zlib, platform; print(platform.python_version())"
COMPILE = (
    "import compileall, re, sysconfig; compileall.compile_dir(sysconfig.get_path('stdlib'), quiet=2, "
    "rx=re.compile(r'[\\\\/](tests?|idlelib|lib2to3|tkinter|turtledemo|ensurepip|site-packages)[\\\\/]'))"
)


class Python(Resource):
    """Params: ``version`` (exact), ``source`` (managed, system or the path of an interpreter), ``match`` (exact or
    minor), ``mirror`` (URL or None).

    A managed one lies in ``python/VERSION`` under the root: archives of python-build-standalone run from any folder.
    """

    kind = "python"
    breaks_off = True

    def observe(self, host: Host) -> List[Difference]:
        if self.params["source"] == "managed":
            return self._observe_managed(host)
        path = None if self.params["source"] == "system" else self.params["source"]
        version, found = search(host, self.params["version"], path, self.params["match"] == "minor")
        host.shared.update(python=version, interpreter=found)
        return []

    def ensure(self, host: Host) -> str:
        folder = self._folder(host)
        if self.params["source"] == "managed" and not self._is_complete(host, folder):
            self._bring(host, folder)
        return "Python %s at %s" % (host.python, host.shared["interpreter"])

    def _observe_managed(self, host: Host) -> List[Difference]:
        folder = self._folder(host)
        host.shared.update(python=self.params["version"], interpreter=self._interpreter(host, folder))
        if self._is_complete(host, folder):
            return []
        what = "Python %s" % self.params["version"]
        if os.path.exists(os.path.join(folder, COMPLETE)):
            return [difference("change", what, "damaged", "as it was brought", self._stops(host))]
        return [difference("add", what, after=folder)]

    def _stops(self, host: Host) -> str:
        """Name what runs on the interpreter: it loses the files of its library while they are exchanged."""
        from provisioner.remote import service

        name = service.service_name(host)
        environment = os.path.basename((service.read_spec(host, name) or {}).get("environment", ""))
        uses = environment.startswith(self.params["version"] + "-")
        return "Ray on %s" % host.name if uses and host.service_manager.observe(host, name)["active"] else ""

    def _folder(self, host: Host) -> str:
        return host.path("python", self.params["version"])

    def _interpreter(self, host: Host, folder: str) -> str:
        return host.platform.interpreter_in(folder, self.params["version"])

    def _is_complete(self, host: Host, folder: str) -> bool:
        note = read_note(folder)
        return note is not None and note.get("stamp") == stamp(self._interpreter(host, folder))

    def _bring(self, host: Host, folder: str) -> None:
        """Build it aside and put it in its place in one step; what stood there was not complete."""
        work, old = folder + ".work", folder + ".old"
        if os.path.isdir(old) and not os.path.isdir(folder):
            rename(old, folder)  # a run was ended between the two steps of putting it in its place
        archive = self._fetch(host)
        for path in (work, old):
            remove_tree(path)
        host.doing("unpacking Python %s" % self.params["version"])
        try:
            self._unpack(archive, work)
            self._try(host, work)
            flush(work)
            note = {
                "version": self.params["version"],
                "stamp": stamp(self._interpreter(host, work)),
                "archive": os.path.basename(os.path.dirname(archive)),
            }
            host.write(os.path.join(work, COMPLETE), json.dumps(note).encode("ascii"))
            _put_in_place(work, folder, old)
        finally:
            for path in (work, old) if os.path.isdir(folder) else (work,):
                remove_tree(path)

    def _fetch(self, host: Host) -> str:
        from provisioner.remote.brought import adopt
        from provisioner.remote.folders import require_room
        from provisioner.remote.resources.old_environments import spare

        host.doing("waiting for Python %s" % self.params["version"])
        question = {key: self.params[key] for key in ("version", "mirror")}
        told: Dict[str, Any] = host.wire.ask(
            "controller", "interpreter", dict(question, facts=host.platform.facts()), ASK_LIMIT
        )
        what = "Python %s" % self.params["version"]
        require_room(host.folder("python"), ROOM * told["size"], what, lambda: spare(host))
        adopt(host, told["sha256"], told["filename"])
        return host.store.fetch_all([told], what)[told["sha256"]]

    def _unpack(self, archive: str, folder: str) -> None:
        from provisioner.remote.unpacking import BadArchive, unpack

        try:
            unpack(archive, folder)
        except BadArchive as error:
            raise Failure("the archive of Python %s can't be used: %s" % (self.params["version"], error)) from None

    def _try(self, host: Host, folder: str) -> None:
        """Run it, and compile its library: the account that Ray runs under may not write there, and every process
        of Ray would compile anew (0.3 s each)."""
        python = self._interpreter(host, folder)
        try:
            code, output = host.platform.run([python, "-I", "-c", TRY], TRY_LIMIT)
        except Failure as failure:
            code, output = 1, failure.message
        said = (output.strip().splitlines() or ["exit code %d" % code])[-1]
        if code or said != self.params["version"]:
            raise Failure(
                "Python %s, as it was brought, does not run here: %s" % (self.params["version"], said),
                "see that %s may hold programs, and that the host's C library is no older than 2.17" % host.root,
            )
        host.platform.run([python, "-I", "-c", COMPILE], TRY_LIMIT)


def _put_in_place(work: str, folder: str, old: str) -> None:
    """Give it its final name; what had that name is there again if that fails."""
    if os.path.isdir(folder):
        rename(folder, old)
    try:
        rename(work, folder)
    except OSError:
        if os.path.isdir(old):
            rename(old, folder)
        raise


def read_note(folder: str) -> Optional[Dict[str, Any]]:
    """Return what was written into an interpreter's folder when it was complete; None if it is not."""
    try:
        with open(os.path.join(folder, COMPLETE), encoding="ascii") as file:
            note = json.load(file)
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) else None
