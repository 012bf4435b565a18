"""An interpreter's archive from the mirror host, fetched by the bare host itself: it does not cross the slow link.

The same rules as for every host's other files (remote/pull.py), by other means: whatever is wrong with the mirror, the
way from here remains, and what has come is not sent again.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress

from paramiko import SFTPClient

from provisioner.remote.pull import ATTEMPTS, Lost, Patience
from provisioner.transport import delivery
from provisioner.transport.choice import Origin, Parcel
from provisioner.transport.fetchers import SLOWEST, Fetcher, Request
from provisioner.transport.home import Home
from provisioner.transport.shell import Said

LOOK = 0.5
"""Seconds between two looks at how much has come."""
PAUSE = 1.0
"""Seconds before a mirror that is busy is asked again."""
_STATUS = re.compile(r"HTTP/1\.\d (\d{3})[^\r\n]*")
_RECEIVED = re.compile(r"X-Received: (\d+)", re.I)


class Nearby:
    """Fetches from the mirror.

    Args:
        home: where to.
        fetcher: the program of the host that does it.
        origin: where from.
        what: names the file in messages.
    """

    def __init__(self, home: Home, fetcher: Fetcher, origin: Origin, what: str) -> None:
        self._home = home
        self._fetcher = fetcher
        self._origin = origin
        self._own = origin.own
        self._what = what
        self._place = f"{origin.address} port {origin.port}"

    def fetch(self, parcel: Parcel, path: str) -> None:
        """Have a file under its final name, whole and checked.

        Raises:
            Lost: the mirror is of no use; what has come of it lies where ``delivery.send`` goes on with it.
            HostFailed: the home folder can't be written to.
        """
        part = f"{path}.{self._home.host}.part"
        try:
            self._fetch_right(parcel, part)
            with self._home.files(self._what) as sftp:
                sftp.posix_rename(part, path)
                with suppress(OSError):  # an earlier attempt's, from here
                    sftp.remove(f"{path}.part")
        except Lost:
            with self._home.files(self._what) as sftp, suppress(OSError):
                sftp.rename(part, f"{path}.part")
            with self._home.files(self._what) as sftp, suppress(OSError):  # there was such a part already
                sftp.remove(part)
            raise

    def _fetch_right(self, parcel: Parcel, part: str) -> None:
        """Have the whole file in its part; what was there before may have been damaged."""
        resumed = self._receive(parcel, part)
        if self._is_right(parcel, part):
            return
        if resumed:
            self._receive(parcel, part)
        if not resumed or not self._is_right(parcel, part):
            raise Lost("what it handed out is damaged")

    def _is_right(self, parcel: Parcel, part: str) -> bool:
        """Tell whether a part is the file; one that is not is removed."""
        if self._home.system.sha256(self._home.shell, part) in (None, parcel.sha256):
            return True
        self._home.system.remove(self._home.shell, part)
        return False

    def _receive(self, parcel: Parcel, part: str) -> bool:
        """Have all bytes of a file in its part; returns whether some of them were there before."""
        begun_with = self._have(part)
        if begun_with > parcel.size:
            self._home.system.remove(self._home.shell, part)
            begun_with = 0
        patience, broken = Patience(), 0
        while self._have(part) != parcel.size:
            said = self._ask(parcel, part)
            if self._have(part) > parcel.size:
                raise Lost("it hands out another file")
            broken += self._judge(said, patience)
            if broken == ATTEMPTS and self._have(part) != parcel.size:
                raise Lost(f"{self._place}: {said.last}")
        return begun_with > 0

    def _judge(self, said: Said, patience: Patience) -> int:
        """Return whether an answer that is not the whole file counts as a connection that broke: 1 or 0."""
        found = list(_STATUS.finditer(said.out + said.err))
        status = found[-1][1] if found else ""
        if self._own and self._fetcher.is_bound_elsewhere(said):
            self._own = ""  # the mirror may know us under another
            return 0
        if status in ("", "200", "206"):
            return 1
        if status != "503":
            raise Lost(f"it answers HTTP {status}")
        self._home.doing(f"waiting for {self._origin.name} to hand out {self._what}")
        received = _RECEIVED.search(said.out + said.err)
        if received is None:
            time.sleep(PAUSE)
        patience.check(received[1] if received else "")
        return 0

    def _ask(self, parcel: Parcel, part: str) -> Said:
        """Have the program fetch what is missing, and tell how far it is meanwhile."""
        host = f"[{self._origin.address}]" if ":" in self._origin.address else self._origin.address
        url = f"http://{host}:{self._origin.port}/{parcel.sha256}"
        request = Request(url, self._origin.token, part, self._own)
        settings = f"{part[: -len('.part')]}.request"
        limit = parcel.size / SLOWEST + 60
        with self._home.files(self._what) as sftp:
            self._write_settings(sftp, settings, self._fetcher.settings(request))
            try:
                command = self._fetcher.command(settings, request)
                ended = _aside(lambda: self._home.shell.run(command, limit))
                while not wait([ended], LOOK).done:
                    self._tell(sftp, part, parcel.size)
            finally:
                with suppress(OSError):
                    sftp.remove(settings)
        return ended.result()

    def _write_settings(self, sftp: SFTPClient, path: str, settings: str) -> None:
        delivery.write_private(sftp, path, settings.encode(), self._home.system.has_modes)

    def _tell(self, sftp: SFTPClient, part: str, size: int) -> None:
        try:
            there = sftp.stat(part).st_size or 0
        except FileNotFoundError:
            there = 0
        name = self._origin.name
        text = f"receiving {self._what} from {name}, {there // 10**6} of {size // 10**6} MB"
        self._home.tell(text if there else f"waiting for {name} to hand out {self._what}")

    def _have(self, part: str) -> int:
        with self._home.files(self._what) as sftp:
            return delivery.size_of(sftp, part) or 0


def _aside(act: Callable[[], Said]) -> Future[Said]:
    """Do something in a thread that keeps nobody from ending the program."""
    future: Future[Said] = Future()

    def work() -> None:
        try:
            future.set_result(act())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True, name="nearby").start()
    return future
