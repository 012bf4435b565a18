"""The remote program as it travels: one archive, named by the hash of what is in it."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import zipfile
from functools import cache
from importlib import resources

FOLDER = ".provision/program"
"""Where it is cached, seen from the home folder of the user who logs in."""
ALWAYS = (1980, 1, 1, 0, 0, 0)
"""Time stamp of every entry, so that equal contents are equal archives."""
_reading = threading.Lock()


@cache
def files() -> dict[str, bytes]:
    """Return what the archive holds: path -> content."""
    found = {"provisioner/__init__.py": b""}
    pending = [("provisioner/remote", resources.files("provisioner") / "remote")]
    while pending:
        path, folder = pending.pop()
        for entry in folder.iterdir():
            if entry.is_dir() and entry.name != "__pycache__":
                pending.append((f"{path}/{entry.name}", entry))
            elif entry.name.endswith(".py"):
                found[f"{path}/{entry.name}"] = entry.read_bytes()
    found["__main__.py"] = found["provisioner/remote/boot.py"]
    found["run.py"] = found["provisioner/remote/run.py"]
    return dict(sorted(found.items()))


def identity() -> str:
    """Return the hash under which hosts cache the program; read once, however many hosts are begun at the same time."""
    with _reading:
        return _identity()


@cache
def _identity() -> str:
    digest = hashlib.sha256()
    for path, content in files().items():
        digest.update(f"{path}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:20]


def archive() -> bytes:
    """Return the archive: a zip that Python runs and that unpacks itself beside itself."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for path, content in files().items():
            bundle.writestr(zipfile.ZipInfo(path, ALWAYS), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def cached_folder() -> str:
    """Return where the program is on a host which has it, with what starts it (see boot.py)."""
    return f"{FOLDER}/{identity()}"


def archive_path() -> str:
    """Return where to send the archive: a new name every time, since hosts may share a home folder."""
    return f"{FOLDER}/{identity()}.{os.urandom(4).hex()}.zip"


def first_command(interpreter: str, path: str) -> str:
    """Return the command line that runs the archive, after it was sent to that path, on an interpreter of the host."""
    return f"{interpreter} -I -S {path}"
