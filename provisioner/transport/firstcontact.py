"""First contact with a host: it has an SSH server with SFTP and sh, and perhaps no Python that the program can run on.

The program is sent and tried with what Python there is: one that was brought before, then the host's own. If none will
do, the interpreter that the cluster uses is brought into the home folder. Whatever has its final name there is whole:
a run that is broken off leaves ``.part`` files, from which the next one goes on, and ``.work`` folders, which it
removes. From then on one command starts the program on the interpreter that did (remote/boot.py writes it down).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fabric import Connection
from paramiko import SFTPClient

from provisioner.errors import HostFailed, ProvisionError
from provisioner.remote.unpacking import TOP, BadArchive
from provisioner.transport import delivery, program
from provisioner.transport.shell import Said, Shell
from provisioner.transport.starter import Refusal, Started, Starter
from provisioner.transport.systems import Facts, Posix

HOME = ".provision"
PYTHONS = f"{HOME}/python"
"""Where interpreters lie that were brought for the program; their archives too, until the ``python`` task takes them
over: ``SHA256.tar.gz`` (see remote/brought.py)."""
ROOM = 6
"""An interpreter takes about this many times its archive's size, the archive included."""
TELL = 0.5
"""Seconds between two words about what was sent."""
_PLAIN = re.compile(r"[A-Za-z0-9_./+:@~-]+")
"""Paths that no shell reads anything into."""


@dataclass(frozen=True)
class Parcel:
    """The archive of an interpreter, on this machine."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Choice:
    """What Python the program may run on.

    Args:
        version: the cluster's exact version.
        path: an interpreter on the host that is tried before the system's.
        bring: returns the archive of the cluster's interpreter for a host with those facts; ProvisionError if there is
            none. None: the host's own must do.
    """

    version: str
    path: str | None = None
    bring: Callable[[Facts], Parcel] | None = None


class FirstContact:
    """Gets the program onto one host and started there.

    Args:
        connection: open.
        system: the kind of system at its other end.
        starter: runs the commands that may start the program.
        choice: what Python it may run on.
        doing: told what takes time.
    """

    def __init__(
        self,
        connection: Connection,
        host: str,
        system: Posix,
        starter: Starter,
        choice: Choice,
        doing: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._host = host
        self._system = system
        self._starter = starter
        self._choice = choice
        self._doing = doing
        self._shell = Shell(connection)
        self._patience = delivery.Patience(connection)
        self._told = 0.0
        self._brought: list[str] = []
        """Names of the interpreters that were brought before."""
        self._tried: set[str] = set()
        """Interpreters that did not start the program."""

    def start(self) -> Started:
        """Send the program and start it.

        Raises:
            HostFailed, Unreachable: in the user's words.
        """
        self._doing("sending the program")
        archive = program.archive_path()
        self._send_program(archive)
        try:
            return self._on_what_is_there(archive)
        except BaseException:
            with suppress(Exception):  # it may be the connection that failed
                self._system.remove(self._shell, archive)
            raise

    def _send_program(self, archive: str) -> None:
        content = program.archive()
        with self._files(f"the program ({len(content) >> 10} KiB)") as sftp:
            for folder in (HOME, program.FOLDER):
                delivery.make_folder(sftp, folder)
            delivery.write(sftp, archive, content)
            with suppress(FileNotFoundError):
                self._brought = sorted(sftp.listdir(PYTHONS))

    def _on_what_is_there(self, archive: str) -> Started:
        facts: Facts = {}
        refusals: list[str] = []
        for interpreter in self._at_hand(facts):
            started = self._starter.run(program.first_command(interpreter, archive))
            if isinstance(started, Started):
                return started
            self._tried.add(interpreter)
            refusals.append(f"{interpreter}: {started.last}")
        if self._choice.bring is None:
            raise HostFailed(
                f"there is no Python on the host that the program can run on ({'; '.join(refusals)})",
                remedy="install Python 3.8 or newer there, or have it brought: `python: {source: managed}`",
                host=self._host,
            )
        return self._on_our_own(archive, facts or self._system.facts(self._shell), refusals[-1])

    def _at_hand(self, facts: Facts) -> Iterator[str]:
        """Yield interpreters that may be there, the likeliest first; fills the facts if they had to be asked for."""
        whole = [name for name in self._brought if not name.endswith((".gz", ".part", ".work"))]
        if whole:
            facts.update(self._system.facts(self._shell))
            for name in whole:
                if name.endswith(_platform(facts)):
                    yield f"{PYTHONS}/{name}/{self._system.inside}"
        path, version = self._choice.path, self._choice.version
        if path and _PLAIN.fullmatch(path):
            yield path
        yield from self._system.interpreters(version)[: 1 if self._choice.bring else None]

    def _on_our_own(self, archive: str, facts: Facts, refusal: str) -> Started:
        """Bring the interpreter and start the program on it."""
        folder = f"{PYTHONS}/{self._choice.version}-{_platform(facts)}"
        parcel = self._fetch(facts, refusal)
        sent = self._send(parcel)
        self._unpack(parcel, sent, folder)
        started = self._starter.run(program.first_command(f"{folder}/{self._system.inside}", archive))
        if isinstance(started, Refusal):
            raise HostFailed(f"the program could not be started on the host: {started.last}", host=self._host)
        return started

    def _fetch(self, facts: Facts, refusal: str) -> Parcel:
        assert self._choice.bring is not None
        self._doing(f"fetching Python {self._choice.version} for it")
        try:
            return self._choice.bring(facts)
        except ProvisionError as error:
            message = f"{error.message}; and the host has no Python that the program can run on ({refusal})"
            raise HostFailed(message, remedy=error.remedy, host=self._host) from None

    def _send(self, parcel: Parcel) -> str:
        """Send the archive and return where it is; a damaged one is sent once more."""
        path, size = f"{PYTHONS}/{parcel.sha256}.tar.gz", parcel.path.stat().st_size
        self._require_room(ROOM * size)
        with self._files("a folder") as sftp:
            delivery.make_folder(sftp, PYTHONS)
        for _ in range(2):
            with self._files(f"Python {self._choice.version} ({ROOM * size >> 20} MiB)") as sftp:
                delivery.send(sftp, parcel.path, path, lambda sent: self._tell_sent(sent, size))
            if self._system.sha256(self._shell, path) in (None, parcel.sha256):
                return path
            self._system.remove(self._shell, path)
        raise HostFailed("what is sent to the host arrives damaged", remedy="look at its disk", host=self._host)

    def _require_room(self, needed: int) -> None:
        free = self._system.free(self._shell, HOME)
        if free is not None and free < needed:
            raise HostFailed(
                f"the home folder of {self._connection.user} has {free >> 20} MiB free, "
                f"Python {self._choice.version} needs {needed >> 20} MiB",
                remedy="free some space there, or install Python 3.8 or newer on the host",
                host=self._host,
            )

    def _unpack(self, parcel: Parcel, sent: str, folder: str) -> None:
        """Unpack it aside, run it, and put it in its place."""
        work = f"{folder}.{self._host}.work"
        self._doing(f"unpacking Python {self._choice.version}")
        self._renew(work)
        if self._system.unpack(self._shell, sent, work).code:
            self._renew(work)
            self._lay(parcel, f"{work}/{TOP}")
        tried = self._shell.run(f"{work}/{TOP}/{self._system.inside} -I -S -c pass")
        if tried.code:
            self._system.remove(self._shell, work)
            raise self._does_not_run(tried)
        self._put_in_place(f"{work}/{TOP}", folder)
        self._system.remove(self._shell, work)

    def _put_in_place(self, unpacked: str, folder: str) -> None:
        """Give it its final name. What has that name is either what did not work, or another host that shares this
        home folder was faster."""
        if f"{folder}/{self._system.inside}" in self._tried:
            self._system.remove(self._shell, folder)
        with self._files("the interpreter") as sftp:
            try:
                sftp.rename(unpacked, folder)
            except OSError:
                sftp.stat(folder)

    def _renew(self, work: str) -> None:
        self._system.remove(self._shell, work)
        with self._files("a folder") as sftp:
            delivery.make_folder(sftp, work)

    def _lay(self, parcel: Parcel, folder: str) -> None:
        with self._files(f"Python {self._choice.version}") as sftp:
            delivery.make_folder(sftp, folder)
            try:
                delivery.lay(sftp, parcel.path, folder, self._tell_laid)
            except BadArchive as error:
                message = f"the archive of Python {self._choice.version} can't be used: {error}"
                raise HostFailed(message, host=self._host) from None

    def _does_not_run(self, tried: Said) -> HostFailed:
        for sign, message, remedy in _WHY_NOT:
            if sign in f"{tried.err} {tried.out} code {tried.code}":
                return HostFailed(f"{message} ({tried.last})", remedy=remedy, host=self._host)
        return HostFailed(
            f"Python {self._choice.version}, as it was brought, does not run on the host: {tried.last}",
            remedy="install Python 3.8 or newer there, and write `python: {source: system}`",
            host=self._host,
        )

    def _tell_sent(self, sent: int, size: int) -> None:
        self._tell(f"sending Python {self._choice.version}, {sent // 10**6} of {size // 10**6} MB")

    def _tell_laid(self, laid: int) -> None:
        self._tell(f"laying out Python {self._choice.version}, {laid // 10**6} MB (the host has no tar)")

    def _tell(self, text: str) -> None:
        """Tell of progress, not too often."""
        self._patience.moved()
        now = time.monotonic()
        if now - self._told > TELL:
            self._told = now
            self._doing(text)

    @contextmanager
    def _files(self, what: str) -> Iterator[SFTPClient]:
        """Open SFTP; whatever can't be written there is told, and how much room there is."""
        with self._patience, delivery.open_sftp(self._connection, self._host) as sftp:
            try:
                yield sftp
            except TimeoutError:
                raise
            except OSError as error:
                if not self._connection.is_connected:
                    raise
                raise self._unwritable(what, error) from None

    def _unwritable(self, what: str, error: OSError) -> HostFailed:
        free = self._system.free(self._shell, HOME) or self._system.free(self._shell, ".")
        room = "" if free is None else f"; {free >> 10} KiB are free there"
        return HostFailed(
            f"{what} can't be written to the home folder of {self._connection.user}: {error}{room}",
            remedy="is the disk full, or the home folder missing or read-only?",
            host=self._host,
        )


_WHY_NOT = (
    ("xec format error", "the interpreter is for another processor than the host's programs", "hosts need a system of "
     "64 bits"),
    ("code 126", "the host lets nothing be run from the home folder", "is it mounted with `noexec`? remount "
     "it, or install Python 3.8 or newer there and write `python: {source: system}`"),
    ("GLIBC_", "the host's C library is too old for the interpreter", "hosts need glibc 2.17 or newer"),
    ("not found", "the host's C library is none that the interpreter knows", "hosts need glibc; install Python 3.8 "
     "or newer there and write `python: {source: system}`"),
)  # fmt: skip
"""What a shell or the loader prints when an interpreter does not run: sign, message, remedy."""


def _platform(facts: Facts) -> str:
    """Return the part of a folder's name that tells platforms apart: hosts may share a home folder."""
    return f"{facts['os']}-{facts['arch']}" + ("-musl" if facts.get("libc") == "musl" else "")
