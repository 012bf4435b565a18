"""environment: a virtual environment with Ray and the other packages, built aside and used only when complete."""

from __future__ import annotations

import json
import os

from provisioner.remote.failure import Failure
from provisioner.remote.files import remove_tree
from provisioner.remote.folders import flush
from provisioner.remote.resource import Resource, difference
from provisioner.remote.resources.python_search import remember

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Sequence

    from provisioner.remote.host import Host
    from provisioner.remote.resource import Difference

STAMP = "environment.json"
"""Written last into an environment: without it nothing there is used."""
LOCK_LIMIT = 600.0
"""Seconds for the controller to lock the packages, and in which something of a download must arrive there."""
INSTALL_LIMIT = 600.0
"""Seconds for uv to install everything from local files."""
COMPILING = {"PYTHONHOME": "", "PYTHONPATH": "", "UV_COMPILE_BYTECODE_TIMEOUT": "300"}
"""For uv, which starts Python to write byte code: variables of the session would lead that astray (empty, they count as
none), and on a busy machine its start may take longer than uv's own limit of 60 s."""
ROOM = 6
"""An environment with the wheels it came from takes about this many times the wheels' size."""


class Environment(Resource):
    """Params: ``id`` (hash of what goes in), ``requirements``, ``check`` (modules to import), ``versions`` that they
    must have, ``lock`` (digest of the packages, if they were settled before the run).

    The folder carries the host's exact Python and the id, so a new version is built beside the old one, and whatever
    starts from an environment names it: that is the switch. A folder counts only with the ``environment.json`` that is
    written last.
    """

    kind = "environment"
    breaks_off = True

    def observe(self, host: Host) -> List[Difference]:
        found = _complete(host, self.params["id"])
        what = "environment %s" % os.path.basename(host.environment(self.params["id"]))
        if found:
            if found.get("lock") != self.params.get("lock", found.get("lock")):
                raise Failure(
                    "%s holds other packages than were locked: it was made by a run without that lock" % what,
                    "`provision lock --upgrade` has another one made beside it",
                )
            return []
        return [difference("add", what, after=", ".join(self.params["requirements"]))]

    def ensure(self, host: Host) -> str:
        if not self.observe(host):
            return "made by another run meanwhile"  # Ray may run out of it: it must not be built anew
        interpreter = host.interpreter()
        if interpreter is None:
            raise Failure("no task has looked for Python", "put a task with `python: {}` before this one")
        lock = self._lock(host)
        self._check_room(host, lock)
        files = host.store.fetch_all([*lock["wheels"], lock["uv"]], "packages")
        host.doing("installing %d packages" % len(lock["wheels"]))
        folder = host.environment(self.params["id"])
        self._build(host, lock, files, folder)
        made_of = sorted(each["sha256"] for each in (*lock["wheels"], lock["uv"]))
        stamp = {"id": self.params["id"], "python": host.python, "lock": lock["digest"], "files": made_of}
        remember(host, host.python, interpreter)
        host.write(os.path.join(folder, STAMP), json.dumps(stamp).encode("ascii"))
        return "%d packages" % len(lock["wheels"])

    def _lock(self, host: Host) -> Dict[str, Any]:
        host.doing("waiting for the package lock")
        args = {"facts": host.platform.facts(), "python": host.python}
        lock: Dict[str, Any] = host.wire.ask("controller", "lock", args, LOCK_LIMIT)
        return lock

    def _check_room(self, host: Host, lock: Dict[str, Any]) -> None:
        from provisioner.remote.folders import require_room
        from provisioner.remote.resources.old_environments import spare

        needed = ROOM * sum(wheel["size"] for wheel in lock["wheels"])
        require_room(host.folder("env"), needed, "the environment", lambda: spare(host))

    def _build(self, host: Host, lock: Dict[str, Any], files: Dict[str, str], folder: str) -> None:
        """Install and try everything; what only the installation needs is removed meanwhile, whatever comes of it."""
        from concurrent.futures import ThreadPoolExecutor

        work = folder + ".work"
        for path in (folder, work):
            remove_tree(path)
        with ThreadPoolExecutor(1) as aside:
            try:
                self._install(host, lock, files, folder, work)
            finally:
                aside.submit(remove_tree, work)
            # A power cut must not leave empty files behind a stamp that says that all is there: 0.3 s for 300 MB on an
            # idle disk, hidden behind the first import.
            flushed = aside.submit(flush, folder)
            self._verify(host, folder)
            flushed.result()
        if os.path.isdir(work):  # where a program that runs can't be removed, nor any other name that it has
            remove_tree(work)

    def _install(self, host: Host, lock: Dict[str, Any], files: Dict[str, str], folder: str, work: str) -> None:
        uv = _unpack_uv(files[lock["uv"]["sha256"]], work)
        wheelhouse = os.path.join(work, "wheels")
        os.makedirs(wheelhouse)
        for wheel in lock["wheels"]:
            _link(files[wheel["sha256"]], os.path.join(wheelhouse, wheel["filename"]))
        requirements = os.path.join(work, "requirements.txt")
        with open(requirements, "w", encoding="utf-8") as file:
            file.write(lock["requirements"])
        settings = ["--no-config", "--offline", "--cache-dir", os.path.join(work, "cache"), "--quiet"]
        _run(host, [uv, "venv", *settings, "--python", host.shared["interpreter"], folder])
        install = ["--no-index", "--find-links", wheelhouse, "--require-hashes", "--no-deps", "-r", requirements]
        install += ["--compile-bytecode"] * self._is_compiled_ahead(host)
        python = host.platform.interpreter_of(folder)
        _run(host, [uv, "pip", "install", *settings, "--python", python, *install])
        host.platform.complete_environment(folder)

    def _is_compiled_ahead(self, host: Host) -> bool:
        """Tell whether byte code is written now: it takes seconds, and Ray writes what it needs at its first start.

        Where a node runs, that start is the time for which the cluster is away; and the account that Ray runs under may
        not be able to write here, so that each of Ray's processes would compile anew.
        """
        from provisioner.remote.service import read_spec, service_name

        return read_spec(host, service_name(host)) is not None or not host.platform.may_write(host.root, host.account)

    def _verify(self, host: Host, folder: str) -> None:
        host.doing("trying the installation")
        try_out(host, folder, host.versions(self.params.get("versions", {})), self.params["check"])


CHECK = ("ray", "redis")
"""Modules that every environment must be able to import."""


def try_out(host: Host, folder: str, versions: Dict[str, str], modules: Sequence[str] = CHECK) -> None:
    """Raise a Failure unless the modules can be imported there and are of these versions (``python``: its own).

    Nothing is stopped for an environment that was not tried out on its host: a processor that lacks instructions, a
    folder from which nothing may be run or a library of the system that is missing only show here.
    """
    python = host.platform.interpreter_of(folder)
    code = TRY % (", ".join(modules), [name for name in versions if name != "python"])
    status, output = host.platform.run([python, "-I", "-c", code], TRY_LIMIT)
    last = (output.strip().splitlines() or ["exit code %d" % status])[-1]
    if status:
        missing = "cannot open shared object file" in last
        remedy = "install the package of the system that has this library" if missing else ""
        raise Failure("the installed packages can't be imported: %s" % last, remedy)
    found = json.loads(last)
    wrong = ["%s %s in place of %s" % (name, found[name], wanted) for name, wanted in sorted(versions.items())
             if found[name] != wanted]  # fmt: skip
    if wrong:
        raise Failure("%s has %s" % (folder, ", ".join(wrong)), "remove that folder and `provision apply` again")


TRY = """\
import json, platform, sys
import %s
print(json.dumps(dict({name: sys.modules[name].__version__ for name in %r}, python=platform.python_version())))
"""
TRY_LIMIT = 120.0
"""Seconds for the first import, which writes the byte code."""


def read_stamp(folder: str) -> Optional[Dict[str, Any]]:
    """Return what was written into an environment when it was complete; None if it is not."""
    try:
        with open(os.path.join(folder, STAMP), encoding="ascii") as file:
            stamp = json.load(file)
    except (OSError, ValueError):
        return None
    return stamp if isinstance(stamp, dict) else None


def _complete(host: Host, identity: str) -> Optional[Dict[str, Any]]:
    """Return the stamp of the environment with that identity, None if it is not complete."""
    folder = host.environment(identity)
    stamp = read_stamp(folder)
    if stamp is None or stamp.get("id") != identity or not os.path.exists(host.platform.interpreter_of(folder)):
        return None
    return stamp


def _unpack_uv(wheel: str, folder: str) -> str:
    """Take the one program out of uv's wheel; returns its path."""
    import shutil
    import zipfile

    os.makedirs(folder)
    with zipfile.ZipFile(wheel) as bundle:
        inside = next(name for name in bundle.namelist() if name.endswith(("/scripts/uv", "/scripts/uv.exe")))
        path = os.path.join(folder, os.path.basename(inside))
        with bundle.open(inside) as source, open(path, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    os.chmod(path, 0o700)
    return path


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        import shutil

        shutil.copyfile(source, target)


def _run(host: Host, argv: List[str]) -> None:
    code, output = host.platform.run(argv, INSTALL_LIMIT, COMPILING)
    if not code:
        return
    text = " ".join(output.split())
    if "No space left" in text or "Disk quota" in text:
        raise Failure("the disk is full (%s)" % host.root, "free some space there and run the same command again")
    raise Failure("uv %s failed: %s" % (argv[1], text[-600:]))
