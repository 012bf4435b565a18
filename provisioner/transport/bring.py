"""The cluster's interpreter, brought into the home folder of a host that has none that the program can run on.

Whatever has its final name there is whole: what is broken off leaves ``.part`` files, from which the next run goes on,
and ``.work`` folders, which it removes.
"""

from __future__ import annotations

from provisioner.errors import HostFailed, ProvisionError
from provisioner.remote.unpacking import TOP, BadArchive
from provisioner.transport import delivery
from provisioner.transport.choice import Choice, Neighbour, Parcel
from provisioner.transport.home import PYTHONS, Home
from provisioner.transport.shell import Said
from provisioner.transport.systems import Facts

ROOM = 6
"""An interpreter takes about this many times its archive's size, the archive included."""


class Bringer:
    """Brings the interpreter to one host.

    Args:
        home: where to.
        choice: which one, and where from.
        tried: interpreters on the host that did not start the program.
    """

    def __init__(self, home: Home, choice: Choice, tried: set[str]) -> None:
        self._home = home
        self._system = home.system
        self._shell = home.shell
        self._choice = choice
        self._tried = tried
        self._what = f"Python {choice.version}"

    def bring(self, facts: Facts, refusal: str) -> str:
        """Return the path of the interpreter, brought now.

        Args:
            facts: what the host is.
            refusal: why its own Python did not do.

        Raises:
            HostFailed: there is none for it, no room, or it does not run there.
        """
        folder = f"{PYTHONS}/{self._choice.version}-{platform_of(facts)}"
        interpreter = f"{folder}/{self._system.inside}"
        parcel = self._parcel(facts, refusal)
        self._require_room(ROOM * parcel.size)
        with self._home.files("a folder") as sftp:
            delivery.make_folder(sftp, PYTHONS)
        path = f"{PYTHONS}/{parcel.sha256}.tar.gz"
        if not self._is_whole(parcel, path):
            if self._choice.near and self._fetch(self._choice.near, parcel, path, interpreter):
                return interpreter
            self._send(parcel, path)
        self._unpack(parcel, path, folder)
        return interpreter

    def _parcel(self, facts: Facts, refusal: str) -> Parcel:
        assert self._choice.bring is not None
        self._home.doing(f"fetching {self._what} for it")
        try:
            if self._choice.judge:
                self._choice.judge(facts)
            return self._choice.bring(facts)
        except ProvisionError as error:
            message = f"{error.message}; and the host has no Python that the program can run on ({refusal})"
            raise HostFailed(message, remedy=error.remedy, host=self._home.host) from None

    def _require_room(self, needed: int) -> None:
        free = self._home.free()
        if free is not None and free < needed:
            raise HostFailed(
                f"the home folder of {self._home.user} has {free >> 20} MiB free, "
                f"{self._what} needs {needed >> 20} MiB",
                remedy="free some space there, or install Python 3.8 or newer on the host",
                host=self._home.host,
            )

    def _is_whole(self, parcel: Parcel, path: str) -> bool:
        with self._home.files(self._what) as sftp:
            if delivery.size_of(sftp, path) != parcel.size:
                return False
        return self._system.sha256(self._shell, path) in (None, parcel.sha256)

    def _fetch(self, near: Neighbour, parcel: Parcel, path: str, interpreter: str) -> bool:
        """Have the archive fetched from the mirror if that can be; tell whether the interpreter itself came meanwhile:
        the mirror may share this home folder."""
        fetcher = self._system.fetcher(self._shell)
        if fetcher is None:
            near.detour("it has neither curl nor wget", "install curl there")
            return False
        self._home.doing(f"waiting for {near.name} to hand out {self._what}")
        origin = near.ask(parcel)
        if self._has_come(interpreter):
            return True
        if origin:
            from provisioner.remote.pull import Lost
            from provisioner.transport.nearby import Nearby

            try:
                Nearby(self._home, fetcher, origin, self._what).fetch(parcel, path)
            except Lost as lost:
                near.detour(str(lost), "")
        return False

    def _has_come(self, interpreter: str) -> bool:
        if interpreter in self._tried:
            return False
        with self._home.files(self._what) as sftp:
            return delivery.size_of(sftp, interpreter) is not None

    def _send(self, parcel: Parcel, path: str) -> None:
        """Send the archive unless it is there; a damaged one is sent once more."""
        size = parcel.size
        for _ in range(2):
            with self._home.files(f"{self._what} ({ROOM * size >> 20} MiB)") as sftp:
                delivery.send(sftp, parcel.path, path, lambda sent: self._tell_sent(sent, size))
            if self._system.sha256(self._shell, path) in (None, parcel.sha256):
                return
            self._system.remove(self._shell, path)
        raise HostFailed("what is sent to the host arrives damaged", remedy="look at its disk", host=self._home.host)

    def _unpack(self, parcel: Parcel, sent: str, folder: str) -> None:
        """Unpack it aside, run it, and put it in its place."""
        work = f"{folder}.{self._home.host}.work"
        self._home.doing(f"unpacking {self._what}")
        self._renew(work)
        if self._system.unpack(self._shell, sent, work).code:
            self._renew(work)
            self._lay(parcel, f"{work}/{TOP}")
        tried = self._shell.run(self._system.program(f"{work}/{TOP}/{self._system.inside}") + " -I -S -c pass")
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
        with self._home.files("the interpreter") as sftp:
            try:
                sftp.rename(unpacked, folder)
            except OSError:
                sftp.stat(folder)

    def _renew(self, work: str) -> None:
        self._system.remove(self._shell, work)
        with self._home.files("a folder") as sftp:
            delivery.make_folder(sftp, work)

    def _lay(self, parcel: Parcel, folder: str) -> None:
        with self._home.files(self._what) as sftp:
            delivery.make_folder(sftp, folder)
            try:
                delivery.lay(sftp, parcel.path, folder, self._tell_laid)
            except BadArchive as error:
                message = f"the archive of {self._what} can't be used: {error}"
                raise HostFailed(message, host=self._home.host) from None

    def _does_not_run(self, tried: Said) -> HostFailed:
        for sign, message, remedy in _WHY_NOT:
            if sign in f"{tried.err} {tried.out} code {tried.code}":
                return HostFailed(f"{message} ({tried.last})", remedy=remedy, host=self._home.host)
        return HostFailed(
            f"{self._what}, as it was brought, does not run on the host: {tried.last}",
            remedy="install Python 3.8 or newer there, and write `python: {source: system}`",
            host=self._home.host,
        )

    def _tell_sent(self, sent: int, size: int) -> None:
        self._home.tell(f"sending {self._what}, {sent // 10**6} of {size // 10**6} MB")

    def _tell_laid(self, laid: int) -> None:
        self._home.tell(f"laying out {self._what}, {laid // 10**6} MB (the host has no tar)")


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


def platform_of(facts: Facts) -> str:
    """Return the part of a folder's name that tells platforms apart: hosts may share a home folder."""
    return f"{facts['os']}-{facts['arch']}" + ("-musl" if facts.get("libc") == "musl" else "")
