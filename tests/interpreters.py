"""Small relocatable interpreters, made from those at hand, and mirror folders of them that uv accepts.

An archive is laid out like python-build-standalone's ``install_only`` (one folder ``python``) and brings every shared
library but the C library's, so that it runs wherever it is unpacked, on a host that has no Python at all. Made once
(some seconds), then kept outside the tree: ``mirror(folder, [relocatable(python) for python in at_hand()])``.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

BUILD = "20260101"
"""The release that our mirrors claim to hold."""
_RELEASES = "https://github.com/astral-sh/python-build-standalone/releases/download"
_TRIPLES = {"linux": "{}-unknown-linux-gnu", "macos": "{}-apple-darwin", "windows": "{}-pc-windows-msvc"}
_UNNEEDED = {
    *("test", "tests", "idlelib", "turtledemo", "tkinter", "lib2to3", "ensurepip", "pydoc_data", "__pycache__"),
    *("site-packages", "dist-packages", "EXTERNALLY-MANAGED", "sitecustomize.py", "turtle.py", "lib-dynload"),
}
_UNNEEDED_MODULES = re.compile(r"(_tkinter|_test|_ctypes_test|_xx|xx|nis|_dbm|_gdbm|ossaudiodev)")
_OF_LIBC = re.compile(r"(linux-vdso|ld-linux.*|lib(c|m|dl|rt|pthread|util|resolv|nsl|anl|mvec|BrokenLocale))\.so")
_OLDEST_KEPT = 7 * 86400.0
"""Seconds after which an archive that nobody used is removed."""
_SYSCONFIG = (
    b"# system configuration generated and used by the sysconfig module\nbuild_time_vars = {'prefix': '/install'}\n"
)
_QUESTION = """
import json, os, sys
print(json.dumps([".".join(map(str, sys.version_info[:3])), sys.version_info[3], sys.base_prefix,
                  os.path.dirname(os.__file__), sys.implementation.name]))
"""


class Unavailable(RuntimeError):
    """An archive can't be made here; the message says why, in one line."""


@dataclass(frozen=True)
class Interpreter:
    """A CPython on this machine, possibly inside another system's root folder.

    Args:
        path: the program itself, no symlink.
        version: such as ``3.11.7``.
        prefix: its own prefix, such as ``/usr``, as this machine sees it.
        stdlib: its standard library.
        root: the root folder of the system it belongs to.
    """

    path: Path
    version: str
    prefix: Path
    stdlib: Path
    root: Path = Path("/")

    @property
    def minor(self) -> str:
        """The version without its patch: ``3.11``."""
        return self.version.rpartition(".")[0]


@dataclass(frozen=True)
class Archive:
    """An archive of one interpreter, for one platform in our own words (``linux``, ``x86_64``)."""

    path: Path
    version: str
    sha256: str
    os: str = "linux"
    arch: str = "x86_64"

    @property
    def filename(self) -> str:
        """Its name in a release of python-build-standalone."""
        return f"cpython-{self.version}+{BUILD}-{_TRIPLES[self.os].format(self.arch)}-install_only.tar.gz"


@functools.cache
def at_hand() -> tuple[Interpreter, ...]:
    """Every CPython from 3.10 on that an archive can be made of, one per version; the running one comes first."""
    if not sys.platform.startswith("linux"):
        return ()
    found: dict[str, Interpreter] = {}
    for path, root in _candidates():
        interpreter = _asked(path, root)
        if interpreter:
            found.setdefault(interpreter.version, interpreter)
    return tuple(found.values())


def two_patches() -> tuple[Interpreter, Interpreter]:
    """Two interpreters at hand of one minor version; Unavailable if there are no such two."""
    for one in at_hand():
        for other in at_hand():
            if one.minor == other.minor and one.version != other.version:
                return one, other
    versions = ", ".join(interpreter.version for interpreter in at_hand())
    raise Unavailable(f"there are no two patch versions of one Python here, only {versions or 'none at all'}")


def relocatable(interpreter: Interpreter | None = None) -> Archive:
    """Return the archive of an interpreter, made now if nobody did before; None: the running one."""
    if interpreter is None:
        if not at_hand():
            raise Unavailable("relocatable interpreters are made on Linux, of a CPython from 3.10 on")
        interpreter = at_hand()[0]
    _patchelf()
    home = _home()
    status = interpreter.path.stat()
    inputs = [Path(__file__).read_text(encoding="utf-8"), str(interpreter), f"{status.st_size} {status.st_mtime_ns}"]
    key = hashlib.sha256("\0".join([*inputs, shutil.which("strip") or ""]).encode()).hexdigest()[:12]
    final = home / f"{interpreter.version}-{key}.tar.gz"
    with FileLock(home / f"{key}.lock", timeout=300):
        if final.exists():
            os.utime(final)
        else:
            _discard_old(home)
            _make(interpreter, final)
    return Archive(final, interpreter.version, _sha256(final), "linux", platform.machine())


def pretended(folder: Path, version: str, os_name: str = "windows", arch: str = "x86_64", size: int = 1000) -> Archive:
    """Return an archive for any platform that uv accepts and nobody can run: to be sent about and looked at."""
    minor = version.rpartition(".")[0]
    content = hashlib.shake_256(f"{version} {os_name} {arch}".encode()).digest(size)
    files = {"python.exe": content, "Lib/os.py": b""}
    if os_name != "windows":
        files = {f"bin/python{minor}": content, f"lib/python{minor}/_sysconfigdata__{os_name}_.py": _SYSCONFIG}
    path = folder / f"{version}-{os_name}-{arch}.tar.gz"
    folder.mkdir(parents=True, exist_ok=True)
    with deterministic(path) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"python/{name}")
            entry.size, entry.mode = len(data), 0o755
            archive.addfile(entry, io.BytesIO(data))
    return Archive(path, version, _sha256(path), os_name, arch)


def mirror(folder: Path, archives: Iterable[Archive]) -> str:
    """Lay out a mirror folder with its own catalogue and return its ``file://`` URL.

    The same as uv wants of ``--mirror``, with a ``download-metadata.json`` beside for ``--python-downloads-json-url``.
    """
    catalogue = {}
    release = folder / BUILD
    release.mkdir(parents=True, exist_ok=True)
    for archive in archives:
        libc = "gnu" if archive.os == "linux" else "none"
        os_name = "darwin" if archive.os == "macos" else archive.os
        major, minor, patch = (int(part) for part in archive.version.split("."))
        catalogue[f"cpython-{archive.version}-{os_name}-{archive.arch}-{libc}"] = {
            "name": "cpython",
            "arch": {"family": archive.arch, "variant": None},
            "os": os_name,
            "libc": libc,
            "major": major,
            "minor": minor,
            "patch": patch,
            "prerelease": "",
            "url": f"{_RELEASES}/{BUILD}/{archive.filename.replace('+', '%2B')}",
            "sha256": archive.sha256,
            "variant": None,
            "build": BUILD,
        }
        shutil.copyfile(archive.path, release / archive.filename)
    (folder / "download-metadata.json").write_text(json.dumps(catalogue, indent=1), encoding="utf-8")
    return folder.resolve().as_uri()


def unpack(archive: Archive, folder: Path) -> Path:
    """Unpack an archive of this machine's platform; returns the interpreter."""
    with tarfile.open(archive.path) as tar:
        tar.extraction_filter = getattr(tarfile, "fully_trusted_filter", lambda member, path: member)
        tar.extractall(folder)
    return folder / "python" / "bin" / "python3"


def _candidates() -> Iterator[tuple[Path, Path]]:
    """Yield programs that may be interpreters, with the root folder of their system."""
    here = Path("/")
    yield Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info[1]}", here
    places = [Path("/usr/bin"), Path("/usr/local/bin"), *sorted(Path.home().glob(".pyenv/versions/3.*/bin"))]
    for place in places:
        yield from ((path, here) for path in sorted(place.glob("python3.[0-9][0-9]")))
    for root in sorted(_lab_home().glob("golden-*/root")):
        yield from ((path, root) for path in sorted(root.glob("usr/bin/python3.[0-9][0-9]")))


def _asked(path: Path, root: Path) -> Interpreter | None:
    try:
        argv = [str(path), "-I", "-S", "-c", _QUESTION]
        done = subprocess.run(argv, capture_output=True, encoding="utf-8", timeout=20, env={}, check=True)
        version, level, prefix, stdlib, name = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    if name != "cpython" or level != "final" or tuple(int(part) for part in version.split(".")) < (3, 10):
        return None
    return Interpreter(path.resolve(), version, Path(prefix), Path(stdlib), root)


def _make(interpreter: Interpreter, final: Path) -> None:
    """Build aside, try it, and only then give it its name."""
    with tempfile.TemporaryDirectory(prefix="building-", dir=final.parent) as aside:
        python = Path(aside) / "python"
        _copy_library(interpreter, python / "lib" / f"python{interpreter.minor}")
        _copy_program(interpreter, python / "bin")
        _bring_libraries(interpreter, python)
        _try(python, interpreter)
        half = Path(aside) / "archive.tar.gz"
        with deterministic(half) as archive:
            archive.add(python, "python", filter=_anonymous)
        half.replace(final)


def _copy_library(interpreter: Interpreter, target: Path) -> None:
    """Copy the standard library and its extension modules, without what no test needs."""

    def unneeded(folder: str, names: list[str]) -> set[str]:
        # a symlink out of another system's root would lead into ours
        links = [name for name in names if Path(folder, name).is_symlink()]
        away = {name for name in links if Path(folder, name).readlink().is_absolute()}
        return away | {name for name in names if name in _UNNEEDED or name.startswith("config-")}

    shutil.copytree(interpreter.stdlib, target, ignore=unneeded, ignore_dangling_symlinks=True)
    dynload = target / "lib-dynload"
    dynload.mkdir()
    for module in (interpreter.stdlib / "lib-dynload").glob("*.so"):
        if not _UNNEEDED_MODULES.match(module.name):
            shutil.copy(module, dynload)
    (target / "site-packages").mkdir()
    for data in target.glob("_sysconfigdata*.py"):  # /install is what python-build-standalone has there
        text = data.read_text(encoding="utf-8")
        if interpreter.prefix != Path("/usr"):
            data.write_text(text.replace(str(interpreter.prefix), "/install"), encoding="utf-8")


def _copy_program(interpreter: Interpreter, target: Path) -> None:
    target.mkdir()
    name = f"python{interpreter.minor}"
    shutil.copy(interpreter.path, target / name)
    (target / "python3").symlink_to(name)
    (target / "python").symlink_to(name)


def _bring_libraries(interpreter: Interpreter, python: Path) -> None:
    """Copy what the program and the modules are linked with, and make each find the others from where it lies."""
    library = python / "lib"
    files = [next((python / "bin").glob("python3.*")), *library.glob("python3.*/lib-dynload/*.so")]
    origins = dict.fromkeys(files, interpreter.path)
    for file in files:  # grows while it is walked
        _strip(file)
        names = [name for name in _elf("--print-needed", str(file)).split() if not _OF_LIBC.match(name)]
        found = {name: _find(name, file, origins[file], interpreter.root) for name in names}
        missing = [name for name, origin in found.items() if origin is None]
        if missing and file.parent.name == "lib-dynload":
            file.unlink()  # can't be imported here either
            continue
        if missing:
            raise Unavailable(f"{origins[file]} is linked with {missing[0]}, which is nowhere to be found")
        for name, origin in found.items():
            copy = library / name
            if origin and not copy.exists():
                shutil.copy(origin, copy)
                files.append(copy)
                origins[copy] = origin
        file.chmod(0o755)
        _elf("--set-rpath", f"$ORIGIN/{os.path.relpath(library, file.parent)}", str(file))


def _find(name: str, file: Path, origin: Path, root: Path) -> Path | None:
    """Find a shared library that a file needs, as the loader of that system would; ``origin`` is what it came from."""
    paths = f"{_elf('--print-rpath', str(file)).strip()}:{_elf('--print-rpath', str(origin)).strip()}".split(":")
    triple = f"{platform.machine()}-linux-gnu"
    usual = [root / part for part in (f"usr/lib/{triple}", f"lib/{triple}", "usr/lib64", "lib64", "usr/lib", "lib")]
    folders = [*(Path(path) for path in paths if path.startswith("/")), origin.parent, *usual, root / "usr/local/lib"]
    return next((folder / name for folder in folders if (folder / name).exists()), None)


def _try(python: Path, interpreter: Interpreter) -> None:
    code = "import ssl, sqlite3, ctypes, sys; print('.'.join(map(str, sys.version_info[:3])))"
    argv = [str(python / "bin" / "python3"), "-I", "-B", "-c", code]
    done = subprocess.run(argv, capture_output=True, encoding="utf-8", timeout=60, env={}, check=False)
    if done.stdout.strip() != interpreter.version:
        raise Unavailable(f"{interpreter.path} does not run elsewhere: {done.stderr.strip().splitlines()[-1:]}")


def _elf(*arguments: str) -> str:
    return subprocess.run(
        [_patchelf(), *arguments], capture_output=True, encoding="utf-8", timeout=60, check=True
    ).stdout


@functools.cache
def _patchelf() -> str:
    found = shutil.which("patchelf", path=sysconfig.get_path("scripts")) or shutil.which("patchelf")
    if not found:
        raise Unavailable("patchelf is missing: run `make setup`")
    return found


def _strip(file: Path) -> None:
    """Take the symbols out, where binutils are installed; before patchelf, whose work strip would undo."""
    if shutil.which("strip"):
        subprocess.run(["strip", "--strip-unneeded", str(file)], capture_output=True, timeout=60, check=False)


@contextmanager
def deterministic(path: Path) -> Iterator[tarfile.TarFile]:
    """Write a tar.gz that is the same whenever it is written from the same files."""
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        yield archive


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    return entry


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _lab_home() -> Path:
    return Path(os.environ.get("PROVISION_LAB") or "/var/tmp/provision-lab")


def _home() -> Path:
    """Where archives are kept: beside the lab for root, whose it is; else of the user's own."""
    home = _lab_home() / "interpreters"
    if os.geteuid() != 0:
        home = Path(tempfile.gettempdir()) / f"provision-interpreters-{os.geteuid()}"
    home.mkdir(parents=True, exist_ok=True)
    return home


def _discard_old(home: Path) -> None:
    for path in home.iterdir():
        if path.is_file() and time.time() - path.stat().st_mtime > _OLDEST_KEPT:
            path.unlink(missing_ok=True)
