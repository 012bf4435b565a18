"""What differs from OS to OS before any Python of ours runs on a host: one small class each.

Every command line is short, needs no quotes, and means the same in whatever shell the account logs in with; what is
put into it is ours (hashes, versions, names of hosts) and holds nothing that a shell would read.
"""

from __future__ import annotations

import re
from typing import Any

from fabric import Connection

from provisioner.errors import HostFailed
from provisioner.transport.fetchers import Curl, Fetcher, Wget
from provisioner.transport.shell import Said, Shell

Facts = dict[str, Any]

UNPACK_LIMIT = 300.0
"""Seconds that a slow disk may take to unpack an interpreter."""
_SYSTEMS = {"Linux": "linux", "Darwin": "macos"}
_PROCESSORS = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
_OLDEST_GLIBC = "2.17"
"""What every archive of python-build-standalone runs with; taken where the host can't say."""


class Posix:
    """Linux and macOS: sh, and what POSIX has beside it."""

    inside = "bin/python3"
    """The interpreter in an unpacked archive."""

    def roots(self, cluster: str) -> tuple[str, ...]:
        """Return where a cluster's root folder may be unless it is declared, but for the home folder's own."""
        return (f"/opt/provision/{cluster}",)

    def fetcher(self, shell: Shell) -> Fetcher | None:
        """Return what fetches files over HTTP there; None: nothing that keeps a token to itself."""
        if shell.run("curl --version").code == 0:
            return Curl()
        return Wget() if "GNU Wget" in shell.run("wget --version").out else None

    def start(self, folder: str) -> str:
        """Return the command that starts the program in a folder (see remote/boot.py)."""
        return f"sh {folder}/start"

    def interpreters(self, version: str) -> tuple[str, ...]:
        """Return how a Python of the system may be called: macOS' sshd has a short PATH, and RHEL's python3 is old."""
        named = "python" + version.rpartition(".")[0]
        return ("python3", named, "/usr/local/bin/python3", "/opt/homebrew/bin/python3")

    def facts(self, shell: Shell) -> Facts:
        """Return what an interpreter is chosen by: os, arch, libc, libc_version.

        Raises:
            HostFailed: the host says nothing of the kind.
        """
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
        """Return how many bytes a folder's disk has left, None if the host can't say."""
        row = re.search(r"\s(\d+)\s+(\d+)\s+(-?\d+)\s+\d+%", shell.run(f"df -Pk {folder}").out)
        return int(row[3]) * 1024 if row else None

    def sha256(self, shell: Shell, file: str) -> str | None:
        """Return the hash of a file, None if the host can't say."""
        for command in (f"sha256sum {file}", f"shasum -a 256 {file}"):
            found = re.search(r"^\\?([0-9a-f]{64})\s", shell.run(command, UNPACK_LIMIT).out, re.M)
            if found:
                return found[1]
        return None

    def unpack(self, shell: Shell, archive: str, folder: str) -> Said:
        """Unpack a tar.gz, with the account's own id in place of the archive's."""
        return shell.run(f"tar -xzof {archive} -C {folder}", UNPACK_LIMIT)

    def remove(self, shell: Shell, folder: str) -> None:
        """Remove a folder with everything in it, if it is there."""
        shell.run(f"rm -rf {folder}", UNPACK_LIMIT)


def system_of(connection: Connection) -> Posix:
    """Return the kind of system at the other end; all are POSIX so far."""
    return Posix()
