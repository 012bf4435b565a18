"""Files for a host that has nothing of ours yet, by SFTP: paths count from the home folder of the account."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from fabric import Connection
from paramiko import SFTPClient, SFTPFile, SSHException

from provisioner.errors import HostFailed
from provisioner.remote.unpacking import opened, safe_members
from provisioner.transport.patience import SILENCE, answered

Progress = Callable[[int], None]
"""Called with the bytes that are there by now, after every piece."""

_PIECE = 32768
"""Bytes of one write: the most that every SFTP server takes."""


def open_sftp(connection: Connection, host: str) -> SFTPClient:
    """Open SFTP.

    Raises:
        HostFailed: the server has none.
        Unreachable: it says nothing.
    """
    try:
        with answered(connection, host, "opening SFTP"):
            sftp: SFTPClient = connection.client.open_sftp()
    except (SSHException, EOFError) as error:
        if not connection.is_connected:
            raise
        raise HostFailed(
            f"the host's SSH server offers no SFTP ({error})",
            remedy="enable the sftp subsystem in its sshd_config",
            host=host,
        ) from None
    sftp.get_channel().settimeout(SILENCE)  # type: ignore[union-attr] # an open client has a channel
    return sftp


def make_folder(sftp: SFTPClient, folder: str) -> None:
    """Make a folder if it is missing; OSError if it can't be."""
    try:
        sftp.mkdir(folder, 0o755)
    except OSError:
        sftp.stat(folder)  # it is there already; else this says what is wrong


def size_of(sftp: SFTPClient, path: str) -> int | None:
    """Return a file's size, None if there is none."""
    try:
        return sftp.stat(path).st_size
    except OSError:
        return None


def write(sftp: SFTPClient, path: str, content: bytes) -> None:
    """Write a whole file; OSError if it does not get there."""
    with _writing(sftp, path, "wb") as file:
        _pour(io.BytesIO(content), file, lambda sent: None, 0)
    _require_size(sftp, path, len(content))


def write_private(sftp: SFTPClient, path: str, content: bytes, has_modes: bool = True) -> None:
    """Write a small file that nobody but the account may read, ever; OSError if it does not get there.

    ``has_modes``: its mode says so; else the folder it is in does (OpenSSH on Windows refuses to set one).
    """
    with suppress(OSError):
        sftp.remove(path)
    with sftp.open(path, "xw") as file:
        if has_modes:
            file.chmod(0o600)
        file.write(content)


def send(sftp: SFTPClient, source: Path, path: str, progress: Progress) -> None:
    """Send a file, going on where an earlier attempt broke off; it has its name only when it is whole.

    Hosts may share a home folder: several may send the same file at once, so nothing is ever cut back, and whoever is
    first gives it its name.
    """
    size, part = source.stat().st_size, path + ".part"
    if size_of(sftp, path) != size:
        try:
            _send_part(sftp, source, part, progress)
            _require_size(sftp, part, size)
            sftp.posix_rename(part, path)
        except OSError:
            if size_of(sftp, path) != size:
                raise
    with suppress(OSError):
        sftp.remove(part)


def _send_part(sftp: SFTPClient, source: Path, part: str, progress: Progress) -> None:
    with suppress(OSError):  # it is there: from an earlier attempt, or another host's
        sftp.open(part, "xw").close()
    there = min(size_of(sftp, part) or 0, source.stat().st_size)
    with source.open("rb") as content, _writing(sftp, part, "r+b") as file:
        content.seek(there)
        file.seek(there)
        _pour(content, file, progress, there)


def lay(sftp: SFTPClient, archive: Path, folder: str, progress: Progress) -> None:
    """Lay out what an archive holds, file by file, in a folder that exists and is empty: for hosts without tar.

    Raises:
        BadArchive: it is no interpreter's.
        OSError: something can't be written.
    """
    done = 0
    made = {folder}
    with opened(str(archive)) as tar:
        for path, member in safe_members(tar):
            target = f"{folder}/{path}"
            _make_folders(sftp, target if member.isdir() else posixpath.dirname(target), made)
            if member.isdir():
                continue
            if member.issym():
                sftp.symlink(member.linkname, target)
                continue
            content = tar.extractfile(member)  # of a hard link, what it leads to
            assert content is not None
            with _writing(sftp, target, "xw") as file:
                done = _pour(content, file, progress, done)
            if member.mode & 0o100:
                sftp.chmod(target, 0o755)


def _make_folders(sftp: SFTPClient, folder: str, made: set[str]) -> None:
    if folder not in made:
        _make_folders(sftp, posixpath.dirname(folder), made)
        make_folder(sftp, folder)
        made.add(folder)


@contextmanager
def _writing(sftp: SFTPClient, path: str, mode: str) -> Iterator[SFTPFile]:
    """Open a remote file to be written without waiting for the answer to every piece."""
    file = sftp.open(path, mode)
    file.set_pipelined(True)
    try:
        yield file
    except BaseException:
        sftp.close()  # to close the file would be to wait once more for answers that may never come
        file.set_pipelined(False)
        raise
    file.close()


def _pour(content: IO[bytes], file: SFTPFile, progress: Progress, sent: int) -> int:
    """Write all that is left of the content into an open remote file.

    ``sent`` is what was sent before, for the progress; returns what was sent in the end.
    """
    while piece := content.read(_PIECE):
        file.write(piece)
        sent += len(piece)
        progress(sent)
    return sent


def _require_size(sftp: SFTPClient, path: str, size: int) -> None:
    """Raise an OSError unless a file is whole: a pipelined write says nothing of its failure."""
    if size_of(sftp, path) != size:
        raise OSError("it was cut short")
