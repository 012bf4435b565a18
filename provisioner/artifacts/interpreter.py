"""Interpreters for hosts: python-build-standalone's archive of an exact version, fetched by uv and kept in the cache.

uv knows where each archive is and what it must hash to; it is told to install into a folder that is thrown away, and
what it downloaded for that is kept. It does so for any platform, whatever this machine is (seen with uv 0.12.0 and
0.13.9 on Linux; 0.10.0 could not do it for Windows).
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from provisioner.artifacts.cache import Cache
from provisioner.artifacts.catalogue import Origin, available, described, uv_key
from provisioner.artifacts.platform import Platform
from provisioner.artifacts.program import REINSTALL, uv_program
from provisioner.errors import InputError, ProvisionError

Progress = Callable[[int, int], None]
"""Called with the bytes that arrived and the bytes to come in all."""

LIMIT = 1800.0
"""Seconds that uv may take to fetch one archive (20 to 60 MB), with its own further attempts."""
_POLL = 0.2
_FORMAT = 1
"""Raised when what is kept about an archive changes its meaning: it is then fetched anew."""
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Archive:
    """One interpreter, packed: a tar.gz with a folder ``python``. The file is in the cache under its sha256."""

    version: str
    """Exact, such as ``3.11.9``."""
    platform_key: str
    """Such as ``linux-x86_64``: hosts that can share it have the same."""
    filename: str
    sha256: str
    size: int
    """In bytes."""
    url: str
    """Where it comes from, never with credentials; empty if uv does not say."""

    def to_json(self) -> str:
        """Return it as text; see from_json."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Archive:
        """Read what to_json wrote; ValueError if it is not such a text."""
        data = json.loads(text)
        if not isinstance(data, dict) or data.pop("format", None) != _FORMAT:
            raise ValueError("no record of an interpreter")
        try:
            return cls(**data)
        except TypeError as error:
            raise ValueError(str(error)) from error


def interpreter_fingerprint(platform: Platform, version: str, origin: Origin) -> str:
    """Return the name under which an interpreter is kept; HostFailed if Ray can't run on that platform.

    It does not depend on uv's version: an interpreter that was fetched once stays the one for its version.
    """
    inputs = json.dumps(["interpreter", _FORMAT, uv_key(platform, version), *origin.identity])
    return hashlib.sha256(inputs.encode()).hexdigest()[:32]


def resolve_interpreter(
    platform: Platform, version: str, origin: Origin, cache: Cache, progress: Progress | None = None
) -> Archive:
    """Return the archive of an interpreter, in the cache: from before, or fetched now.

    Args:
        platform: of the host.
        version: exact.
        origin: where from.
        cache: of this machine.
        progress: told about the download.

    Raises:
        InputError: the version is not an exact one.
        HostFailed: Ray can't run on that platform.
        ProvisionError: there is no such archive, or it cannot be fetched.
    """
    if not re.fullmatch(r"3\.\d+\.\d+", version):
        raise InputError(f"{version!r} is not an exact version of Python", remedy="Write it in full, such as 3.11.9.")
    name = interpreter_fingerprint(platform, version, origin)
    if archive := kept_interpreter(name, cache):
        return archive
    what = f"Python {version} for {described(platform)}"
    with cache.exclusive(cache.lock_file(name).with_suffix(".lock"), what=what):
        if archive := kept_interpreter(name, cache):
            return archive
        with cache.workspace() as work:
            archive = _fetch(platform, version, origin, cache, work, progress)
        cache.write_lock(name, archive.to_json())
        return archive


def kept_interpreter(name: str, cache: Cache) -> Archive | None:
    """Return the archive that is kept under a fingerprint if its file is there, whole."""
    try:
        archive = Archive.from_json(cache.read_lock(name) or "")
    except ValueError:
        return None
    return archive if cache.find(archive.sha256, archive.size) else None


def _fetch(
    platform: Platform, version: str, origin: Origin, cache: Cache, work: Path, progress: Progress | None
) -> Archive:
    """Have uv download and verify the archive, and keep it."""
    downloads = work / "downloads"
    _check_folder(origin)
    _install(platform, version, origin, work, downloads, progress)
    file = _downloaded(downloads)
    sha256, size = _digest(file), file.stat().st_size
    filename = re.sub(r"^[0-9a-f]{9}-", "", re.sub(r"[^\w.+-]", "-", file.name))
    _check_layout(file, filename)
    cache.keep(sha256, filename, lambda: _chunks(file), size=size)
    if progress:
        progress(size, size)
    url = available(platform, origin).get(version, "")
    return Archive(version, f"{platform.os}-{platform.arch}", filename, sha256, size, url)


def _install(
    platform: Platform, version: str, origin: Origin, work: Path, downloads: Path, progress: Progress | None
) -> None:
    """Run ``uv python install``: its download is what we are after.

    uv verifies the checksum while it unpacks, so a download counts only if the installation succeeded as well.
    """
    argv = [uv_program(), "python", "install", uv_key(platform, version), "--no-bin", "--no-registry"]
    argv += ["--install-dir", str(work / "installed"), "--project", str(work), "--color", "never"]
    environment = {**origin.environment(os.environ), "UV_PYTHON_CACHE_DIR": str(downloads)}
    messages = work / "messages"
    try:
        status = _run(argv, environment, messages, lambda: _tell(progress, downloads, messages))
    except TimeoutError:
        raise ProvisionError(
            f"fetching Python {version} for {described(platform)} took longer than {LIMIT / 60:.0f} minutes",
            remedy="Look at the connection, or name a folder with the archives (`mirror:` under `python:`).",
        ) from None
    except OSError as error:
        raise ProvisionError(f"uv does not start: {error.strerror or error}", remedy=REINSTALL) from error
    if status != 0:
        raise _explained(messages.read_text(encoding="utf-8", errors="replace"), platform, version, origin)


def _run(argv: list[str], environment: dict[str, str], messages: Path, watch: Callable[[], None]) -> int:
    """Run a program to its end, with a look at it now and then; TimeoutError if there is none within the limit."""
    deadline = time.monotonic() + LIMIT
    with messages.open("wb") as stderr:
        process = subprocess.Popen(
            argv,
            env=environment,
            cwd=messages.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    atexit.register(process.kill)
    try:
        while time.monotonic() < deadline:
            try:
                return process.wait(_POLL)
            except subprocess.TimeoutExpired:
                watch()
        raise TimeoutError
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        atexit.unregister(process.kill)


def _tell(progress: Progress | None, downloads: Path, messages: Path) -> None:
    """Report how much has arrived; uv says how much there is to come, in MiB, and writes it into its cache folder."""
    announced = re.search(r"\(download\) \(([\d.]+)MiB\)", messages.read_text(encoding="utf-8", errors="replace"))
    if progress is None or announced is None:
        return
    arrived = 0
    for path in downloads.rglob("*"):
        try:
            arrived += path.stat().st_size if path.is_file() else 0
        except OSError:  # renamed while we looked
            return
    progress(arrived, max(arrived, int(float(announced[1]) * (1 << 20))))


def _explained(stderr: str, platform: Platform, version: str, origin: Origin) -> ProvisionError:
    from provisioner.artifacts.explain_interpreter import Wanted, explain_interpreter

    try:
        known = available(platform, origin)
    except ProvisionError:
        known = {}
    return explain_interpreter(stderr, Wanted(version, described(platform), origin, known))


def _check_folder(origin: Origin) -> None:
    if origin.folder and not origin.folder.is_dir():
        raise ProvisionError(
            f"the mirror {origin.folder} is not there",
            remedy="Name a folder of archives as `mirror:` under `python:` (or in UV_PYTHON_INSTALL_MIRROR).",
        )


def _downloaded(folder: Path) -> Path:
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    if len(files) != 1:
        raise ProvisionError(f"uv left {len(files)} archives instead of one", remedy="Report this: uv has changed.")
    return files[0]


def _check_layout(file: Path, filename: str) -> None:
    """Hosts unpack with Python's own means, and expect what python-build-standalone's archives have."""
    import tarfile

    try:
        with tarfile.open(file, "r:gz") as archive:
            first = archive.next()
    except (OSError, tarfile.TarError):
        first = None
    if first is None or first.name.split("/")[0] != "python":
        raise ProvisionError(
            f"{filename} is no tar.gz with a folder `python`, which hosts expect",
            remedy="Pack it like the `install_only` archives of python-build-standalone.",
        )


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    for chunk in _chunks(file):
        digest.update(chunk)
    return digest.hexdigest()


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as source:
        while chunk := source.read(_CHUNK):
            yield chunk
