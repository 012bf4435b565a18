"""What differs from OS to OS before any Python of ours runs on a host: one small class each.

Every command line is short, needs no quotes, and means the same in whatever shell the account logs in with; what is
put into it is ours (hashes, versions, names of hosts) and holds nothing that a shell would read.
"""

from __future__ import annotations

import re
from typing import Any, Protocol

from fabric import Connection
from paramiko import SFTPClient

from provisioner.errors import HostFailed
from provisioner.transport.fetchers import Curl, Fetcher, Wget
from provisioner.transport.refusals import is_windows
from provisioner.transport.shell import Said, Shell

Facts = dict[str, Any]

UNPACK_LIMIT = 300.0
"""Seconds that a slow disk may take to unpack an interpreter."""
_SYSTEMS = {"Linux": "linux", "Darwin": "macos"}
_PROCESSORS = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
_OLDEST_GLIBC = "2.17"
"""What every archive of python-build-standalone runs with; taken where the host can't say."""


class System(Protocol):
    """What first contact needs to know of a kind of system. Paths are with ``/`` everywhere but in command lines."""

    inside: str
    """The interpreter in an unpacked archive."""
    plain: re.Pattern[str]
    """Paths that no shell there reads anything into."""
    has_sudo: bool
    """Whether more rights come through sudo; else who logs in has all that it ever gets."""
    has_modes: bool
    """Whether a file's mode keeps others from it; else they have no access to the home folder at all."""

    has_code_page: bool
    """Whether programs print in a code page of the system's."""

    def roots(self, cluster: str) -> tuple[str, ...]:
        """Return where a cluster's root folder may be unless it is declared, but for the home folder's own."""

    def fetcher(self, shell: Shell) -> Fetcher | None:
        """Return what fetches files over HTTP there; None: nothing that keeps a token to itself."""

    def start(self, folder: str) -> str:
        """Return the command that starts the program in a folder (see remote/boot.py)."""

    def program(self, path: str) -> str:
        """Return how a command line names a program by its path."""

    def interpreters(self, version: str, brings: bool) -> tuple[str, ...]:
        """Return how a Python of the system may be called; ``brings``: the cluster's can be had in its place."""

    def facts(self, shell: Shell) -> Facts:
        """Return what an interpreter is chosen by: os, arch, libc, libc_version.

        Raises:
            HostFailed: the host says nothing of the kind.
        """

    def free(self, shell: Shell, folder: str) -> int | None:
        """Return how many bytes a folder's disk has left, None if the host can't say."""

    def sha256(self, shell: Shell, file: str) -> str | None:
        """Return the hash of a file, None if the host can't say."""

    def unpack(self, shell: Shell, archive: str, folder: str) -> Said:
        """Unpack a tar.gz, with the account's own id in place of the archive's."""

    def remove(self, shell: Shell, path: str) -> None:
        """Remove a file, or a folder with everything in it, if it is there."""


class Posix:
    """Linux and macOS: sh, and what POSIX has beside it."""

    inside = "bin/python3"
    plain = re.compile(r"[A-Za-z0-9_./+:@~-]+")
    has_sudo = True
    has_modes = True
    has_code_page = False

    def roots(self, cluster: str) -> tuple[str, ...]:
        return (f"/opt/provision/{cluster}",)

    def fetcher(self, shell: Shell) -> Fetcher | None:
        if shell.run("curl --version").code == 0:
            return Curl()
        return Wget() if "GNU Wget" in shell.run("wget --version").out else None

    def start(self, folder: str) -> str:
        return f"sh {folder}/start"

    def program(self, path: str) -> str:
        return path

    def interpreters(self, version: str, brings: bool) -> tuple[str, ...]:
        """macOS' sshd has a short PATH, and RHEL's python3 is old."""
        named = "python" + version.rpartition(".")[0]
        return ("python3", *(() if brings else (named, "/usr/local/bin/python3", "/opt/homebrew/bin/python3")))

    def facts(self, shell: Shell) -> Facts:
        said = shell.run("uname -s -m")
        words = (said.out.strip().splitlines() or [""])[-1].split()  # a login may print a greeting before
        if said.code or len(words) != 2:
            raise HostFailed(
                f"the host does not say what it is: `uname -s -m` gave {said.last!r}",
                remedy="hosts need Linux or macOS with the usual commands; or install Python 3.8 or newer there",
            )
        facts: Facts = {"os": _SYSTEMS.get(words[0], words[0].lower()), "arch": _PROCESSORS.get(words[1], words[1])}
        return {**facts, **self._libc(shell)} if facts["os"] == "linux" else facts

    def _libc(self, shell: Shell) -> Facts:
        told = re.search(r"^glibc (2\.\d+)", shell.run("getconf GNU_LIBC_VERSION").out, re.M)
        if told is None and "ld-musl-" in shell.run("ls /lib").out:
            return {"libc": "musl", "libc_version": ""}
        return {"libc": "glibc", "libc_version": told[1] if told else _OLDEST_GLIBC}

    def free(self, shell: Shell, folder: str) -> int | None:
        row = re.search(r"\s(\d+)\s+(\d+)\s+(-?\d+)\s+\d+%", shell.run(f"df -Pk {folder}").out)
        return int(row[3]) * 1024 if row else None

    def sha256(self, shell: Shell, file: str) -> str | None:
        for command in (f"sha256sum {file}", f"shasum -a 256 {file}"):
            found = re.search(r"^\\?([0-9a-f]{64})\s", shell.run(command, UNPACK_LIMIT).out, re.M)
            if found:
                return found[1]
        return None

    def unpack(self, shell: Shell, archive: str, folder: str) -> Said:
        return shell.run(f"tar -xzof {archive} -C {folder}", UNPACK_LIMIT)

    def remove(self, shell: Shell, path: str) -> None:
        shell.run(f"rm -rf {path}", UNPACK_LIMIT)


class Windows:
    """Windows: cmd.exe, whether the account logs in with it or with PowerShell, and what Windows has beside it.

    No Python is trusted because it is on PATH: ``python`` there may open the Microsoft Store. What a command prints is
    in the language and the code page of the system: only numbers are read from it.
    """

    inside = "python.exe"
    plain = re.compile(r"[A-Za-z0-9_./\\+:~-]+")
    has_sudo = False
    has_modes = False
    has_code_page = True

    def roots(self, cluster: str) -> tuple[str, ...]:
        """The drive of the system is C: nearly everywhere; elsewhere a host counts as one that has nothing of ours."""
        return (f"/C:/provision/{cluster}",)

    def fetcher(self, shell: Shell) -> Fetcher | None:
        """Windows has curl from 10 (1803) on; what PowerShell calls curl is something else."""
        return Curl("curl.exe") if shell.run("curl.exe --version").code == 0 else None

    def start(self, folder: str) -> str:
        return self.program(f"{folder}/start.cmd")

    def program(self, path: str) -> str:
        """cmd.exe takes what follows a ``/`` for an option."""
        return path.replace("/", "\\")

    def interpreters(self, version: str, brings: bool) -> tuple[str, ...]:
        """A path with a blank can't be named in both shells; ``Progra~1`` is the short name of Program Files."""
        if brings:
            return ()
        series = version.rpartition(".")[0]
        folder = "Python" + series.replace(".", "")
        places = ("AppData\\Local\\Programs\\Python", "C:\\Progra~1", "C:")
        return (f"py -{series}", *(f"{place}\\{folder}\\python.exe" for place in places), "python")

    def facts(self, shell: Shell) -> Facts:
        said = shell.run("cmd.exe /c set PROCESSOR")
        told = dict(line.strip().split("=", 1) for line in said.out.upper().splitlines() if "=" in line)
        name = told.get("PROCESSOR_ARCHITEW6432") or told.get("PROCESSOR_ARCHITECTURE")
        if said.code or name is None:
            raise HostFailed(
                f"the host does not say what it is: `cmd.exe /c set PROCESSOR` gave {said.last!r}",
                remedy="on Windows, hosts need OpenSSH's server with cmd.exe or PowerShell as its DefaultShell",
            )
        if told.get("PROCESSOR_IDENTIFIER", "").startswith("ARM"):  # where an emulation says AMD64
            name = "ARM64"
        return {"os": "windows", "arch": _PROCESSORS.get(name.lower(), name.lower())}

    def free(self, shell: Shell, folder: str) -> int | None:
        rows = shell.run(f"cmd.exe /c dir /-c {self.program(folder)}").out.split("\n")
        numbers = re.findall(r"\d+", next((row for row in reversed(rows) if row.strip()), ""))
        return int(numbers[-1]) if numbers else None

    def sha256(self, shell: Shell, file: str) -> str | None:
        said = shell.run(f"certutil.exe -hashfile {self.program(file)} SHA256", UNPACK_LIMIT)
        found = re.search(r"^((?:[0-9a-f]{2} ?){32})\s*$", said.out, re.M)
        return found[1].replace(" ", "") if found else None

    def unpack(self, shell: Shell, archive: str, folder: str) -> Said:
        """Windows has bsdtar from 10 (1803) on."""
        return shell.run(f"tar.exe -xzf {self.program(archive)} -C {self.program(folder)}", UNPACK_LIMIT)

    def remove(self, shell: Shell, path: str) -> None:
        verb = "del /f /q" if path.endswith((".zip", ".gz", ".part")) else "rd /s /q"
        shell.run(f"cmd.exe /c {verb} {self.program(path)}", UNPACK_LIMIT)


def opens_a_window(shell: Shell, interpreter: str) -> bool:
    """Tell whether a Python is only a stand-in: ``/usr/bin/python3`` of macOS, which offers at the machine's screen to
    install Apple's developer tools if they are missing. ``xcode-select -p`` knows that, and opens nothing.
    """
    return interpreter == "python3" and "xcode-select: error" in shell.run("xcode-select -p").err.lower()


def system_of(connection: Connection) -> System:
    """Return the kind of system at the other end, as far as its greeting tells."""
    return Windows() if is_windows(connection.transport) else Posix()


def at_second_glance(sftp: SFTPClient) -> System:
    """Return the kind of system at the other end, by how its SFTP names the home folder: ``/C:/Users/kim``."""
    return Windows() if re.match(r"/?[A-Za-z]:", sftp.normalize(".") or "") else Posix()
