"""What all stand-ins share, built once: Debian with Wine and a golden drive C:, our programs, the Windows CPython."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..interpreters import Archive
from ..lab.golden import locked, require_tools
from ..lab.shell import LabError, run
from . import cpython
from .registry import REPLACED_PROGRAMS, golden_registry
from .stages import HERE, LONGEST_BUILD, compile_program, fingerprint, stage
from .tools import NEEDED, debian_root, install_for_linux

SUITE = "trixie"
PACKAGES = (
    "wine",
    "wine64",
    "openssh-server",
    "python3",
    "locales",
    "ca-certificates",
    "libarchive-tools",
    "procps",
)
SITE_PACKAGES = ("tree-sitter==0.25.2", "tree-sitter-powershell==0.26.4")
USER = "winadmin"
DRIVE_C = Path("opt/w/prefix/drive_c")
"""Drive C: inside a stand-in's root and inside every layer of it."""
BANNER = b"OpenSSH_for_Windows_9.5"
SSHD = ("usr/sbin/sshd", "usr/lib/openssh/sshd-session", "usr/lib/openssh/sshd-auth")

IN_ROOT = """\
r=$1; shift; mount --make-rprivate /; mount -t proc proc $r/proc; mount --bind /sys $r/sys; mount --rbind /dev $r/dev
exec chroot $r /usr/bin/env -i HOME=/root PATH=/usr/bin:/bin:/usr/sbin:/sbin LANG=C.UTF-8 XDG_RUNTIME_DIR=/run \\
  WINEPREFIX=/opt/w/prefix WINEARCH=win64 WINEDEBUG=-all "WINEDLLOVERRIDES=mscoree=;mshtml=" bash -c "$1"
"""
# Wine's services keep the descriptors they inherit, hence /dev/null; wineboot returns before its set-up has ended: -w.
WINEBOOT = r"""
exec </dev/null >/dev/null 2>&1; W=/usr/lib/wine
$W/wine64 wineboot -i; $W/wineserver -w; $W/wine64 regedit /S 'Z:\opt\w\golden.reg'; $W/wineserver -k; $W/wineserver -w
"""


@dataclass(frozen=True)
class Golden:
    """The layers of a stand-in's disk, and its Python as an archive."""

    system: Path
    programs: Path
    python: Path
    archive: Archive
    """The Windows CPython as python-build-standalone would offer it (``install_only``)."""
    mirror: str
    """URL of a mirror folder that holds just this archive."""

    def layers(self, python: bool) -> list[Path]:
        """Return the layers, the uppermost first; ``python``: with one installed in C:\\Program Files."""
        return [*([self.python] if python else []), self.programs, self.system]


def golden(home: Path) -> Golden:
    """Return the layers of the present recipe; builds what is not there yet (about 100 s from nothing)."""
    place = home / "windows"
    with locked(place / "tools.lock", "apt", LONGEST_BUILD):
        require_tools(NEEDED, 400)
    sources = sorted((HERE / "win").glob("*.c"))
    recipe = fingerprint(HERE / "golden.py", HERE / "registry.py", HERE / "tools.py")
    system = stage(place, "system", recipe, _build_system)
    programs = stage(place, "programs", fingerprint(recipe, *sources), _build_programs)
    key = fingerprint(HERE / "cpython.py", HERE / "tools.py", HERE.parent / "interpreters.py", *sources)
    python = stage(place, "cpython", key, cpython.build)
    archive = cpython.archive(python)
    return Golden(system / "root", programs, python / "layer", archive, (python / "mirror").as_uri())


def _build_system(place: Path) -> None:
    root = place / "root"
    debian_root(root, SUITE, PACKAGES)
    for locale in ("ko_KR", "en_US"):
        run(["chroot", str(root), "localedef", "-i", locale, "-f", "UTF-8", f"{locale}.UTF-8"], timeout=60)
    first_user(root, USER)
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()  # every stand-in makes its own
    for folder in ("run/sshd", "opt/w", "opt/stand-in"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for program in SSHD:
        _rename_banner(root / program)
    install_for_linux(root / "opt/stand-in-site", "3.13", SITE_PACKAGES)
    _build_drive(root)


def _build_drive(root: Path) -> None:
    """Have Wine make its drive C: and registry, and turn them into those of a Windows machine."""
    (root / "opt/w/golden.reg").write_bytes(golden_registry())
    argv = ["unshare", "-m", "-p", "-f", "--kill-child", "bash", "-c", IN_ROOT, "in-root", str(root), WINEBOOT]
    run(argv, check=False, timeout=300)
    registry = root / "opt/w/prefix/system.reg"
    text = registry.read_text(encoding="utf-8", errors="replace") if registry.exists() else ""
    if '"OS"="Windows_NT"' not in text or "DriverData" not in text:
        raise LabError("Wine did not finish its drive C:")
    drive = root / DRIVE_C
    (drive / "users").rename(drive / "Users")
    for link in [entry for entry in (drive / "Users" / USER).iterdir() if entry.is_symlink()]:
        link.unlink()  # Wine's links into /root
    for folder in ("Desktop", "Documents", "Downloads", "AppData/Local/Temp"):
        (drive / "Users" / USER / folder).mkdir(parents=True, exist_ok=True)
    for folder in ("ProgramData/ssh", "windows/system32/Tasks"):
        (drive / folder).mkdir(parents=True)
    (drive / "windows/system32/wbem/wmic.exe").unlink(missing_ok=True)  # gone since Windows 11 24H2


def _build_programs(place: Path) -> None:
    """Compile our own programs and put them where Windows has those of these names."""
    drive = place / DRIVE_C
    system = drive / "windows/system32"
    apps = drive / "Users" / USER / "AppData/Local/Microsoft/WindowsApps"
    power_shell = system / "WindowsPowerShell/v1.0"
    for folder in (power_shell, drive / "stand-in", apps):
        folder.mkdir(parents=True)
    compile_program("launch", drive / "stand-in/launch.exe")
    compile_program("taskkill", system / "taskkill.exe")
    compile_program("taskschd", system / "taskschd.dll", "-shared", "-lws2_32", "-loleaut32", "-luuid")
    shim = place / "shim.exe"
    compile_program("shim", shim, "-lws2_32")
    for name in REPLACED_PROGRAMS:
        if name not in {"taskkill", "powershell"}:
            shutil.copy(shim, system / f"{name}.exe")
    shim.rename(power_shell / "powershell.exe")
    compile_program("store", apps / "python.exe")
    shutil.copy(apps / "python.exe", apps / "python3.exe")


def first_user(root: Path, name: str) -> None:
    """Name the user: Wine takes the first name of uid 0 for its user's."""
    passwd = root / "etc/passwd"
    lines = passwd.read_text(encoding="utf-8")
    passwd.write_text(f"{name}:x:0:0::/root:/bin/bash\n{lines}", encoding="utf-8")


def _rename_banner(program: Path) -> None:
    """Give a private copy of sshd the version text of Win32-OpenSSH.

    The text goes into the hash of the key exchange, so it has to be right inside sshd itself; a proxy could not do it.
    """
    data = program.read_bytes()
    for old in set(re.findall(rb"OpenSSH_[0-9][0-9.p]+ Debian-[0-9A-Za-z.+~-]+\0", data)):
        if len(old) <= len(BANNER):
            raise LabError(f"{program.name} has no room for the banner of Windows: {old!r}")
        data = data.replace(old, BANNER.ljust(len(old), b"\0"))
    program.write_bytes(data)
