"""What the build needs from outside: tools and sources from Debian, wheels from the package index, by their clients."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from uv import find_uv_bin

from ..lab.golden import error_line
from ..lab.shell import LabUnavailable, run

COMPILER = "x86_64-w64-mingw32-gcc"
OBJDUMP = "x86_64-w64-mingw32-objdump"
NEEDED = {
    "mmdebstrap": "mmdebstrap",
    COMPILER: "gcc-mingw-w64-x86-64-win32",
    "unshare": "util-linux",
    "chroot": "coreutils",
}
KEYRINGS = Path("/usr/share/keyrings")
WINDOWS = "x86_64-pc-windows-msvc"
LINUX = "x86_64-manylinux_2_28"


def debian_root(root: Path, suite: str, packages: Sequence[str]) -> None:
    """Unpack a small Debian of another suite than this machine's, from the mirror that this machine uses."""
    source = f"deb [signed-by={_keyring()}] {_mirror()} {suite} main"
    argv = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}", suite, str(root), source]
    done = run(argv, check=False, timeout=600)
    if done.returncode != 0:
        raise LabUnavailable(f"mmdebstrap cannot build the stand-ins' root: {error_line(done.stderr)}")


def debian_source(place: Path, package: str, suite: str) -> Path:
    """Return the original source archive of a Debian package, as its authors released it; apt checks its signature."""
    lists = place / "lists"
    (lists / "partial").mkdir(parents=True)
    sources = place / "source.list"
    sources.write_text(f"deb-src [signed-by={_keyring()}] {_mirror()} {suite} main\n", encoding="utf-8")
    options = {"Dir::Etc::sourcelist": sources, "Dir::Etc::sourceparts": "/dev/null", "Dir::State::lists": lists}
    flags = [*(f"-o{name}={value}" for name, value in options.items()), "-oAPT::Sandbox::User=root"]
    for step in (["update"], ["source", "--download-only", package]):
        argv = ["sh", "-c", 'cd "$1"; shift; exec "$@"', "sh", str(place), "apt-get", "-q", *flags, *step]
        done = run(argv, check=False, timeout=300)
        if done.returncode != 0:
            raise LabUnavailable(f"apt cannot fetch the source of {package}: {error_line(done.stderr)}")
    return next(place.glob("*.orig.tar.*"))


def install_for_linux(target: Path, python: str, requirements: Sequence[str]) -> None:
    """Unpack wheels for the stand-ins' own Python, which runs their services."""
    _install(target, LINUX, python, requirements)


def install_for_windows(target: Path, python: str, requirements: Sequence[str]) -> None:
    """Unpack Windows wheels."""
    _install(target, WINDOWS, python, requirements)


def _install(target: Path, platform: str, python: str, requirements: Sequence[str]) -> None:
    argv = [find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--link-mode", "copy"]
    argv += ["--target", str(target), "--python-platform", platform, "--python-version", python, *requirements]
    env = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(argv, capture_output=True, encoding="utf-8", env=env, timeout=400, check=False)
    if done.returncode != 0:
        raise LabUnavailable(f"uv cannot fetch {' '.join(requirements)}: {done.stderr.strip().splitlines()[-1:]}")


def _mirror() -> str:
    """Return the Debian mirror that this machine's own apt uses."""
    files = [*sorted(Path("/etc/apt/sources.list.d").glob("*")), Path("/etc/apt/sources.list")]
    for file in files:
        text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
        found = re.search(r"(?m)^(?:URIs:|deb(?: \[[^\]]*\])?)\s+(\S+/debian/?)(?=\s|$)", text)
        if found:
            return found[1]
    raise LabUnavailable("no Debian mirror in /etc/apt/sources.list.d or /etc/apt/sources.list")


def _keyring() -> str:
    found = sorted(KEYRINGS.glob("debian-archive-keyring.*"))
    if not found:
        raise LabUnavailable("no debian-archive-keyring in /usr/share/keyrings: apt-get install debian-archive-keyring")
    return str(found[0])
