"""The SFTP side of a sandbox host: relative paths start in its home, absolute ones are the real file system."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import paramiko
from paramiko.sftp import (
    SFTP_BAD_MESSAGE,
    SFTP_FAILURE,
    SFTP_NO_SUCH_FILE,
    SFTP_OK,
    SFTP_OP_UNSUPPORTED,
    SFTP_PERMISSION_DENIED,
)

Given = ParamSpec("Given")
Answer = TypeVar("Answer")
Self = TypeVar("Self")

# As OpenSSH's sftp-server answers them; whatever is not listed is a plain failure.
_CODES = {
    errno.ENOENT: SFTP_NO_SUCH_FILE,
    errno.ENOTDIR: SFTP_NO_SUCH_FILE,
    errno.EBADF: SFTP_NO_SUCH_FILE,
    errno.ELOOP: SFTP_NO_SUCH_FILE,
    errno.EPERM: SFTP_PERMISSION_DENIED,
    errno.EACCES: SFTP_PERMISSION_DENIED,
    errno.EFAULT: SFTP_PERMISSION_DENIED,
    errno.ENAMETOOLONG: SFTP_BAD_MESSAGE,
    errno.EINVAL: SFTP_BAD_MESSAGE,
    errno.ENOSYS: SFTP_OP_UNSUPPORTED,
}


def _answers_errors(
    method: Callable[Concatenate[Self, Given], Answer],
) -> Callable[Concatenate[Self, Given], Answer | int]:
    """Turn an OSError into the SFTP status code OpenSSH would answer."""

    @functools.wraps(method)
    def guarded(self: Self, /, *given: Given.args, **named: Given.kwargs) -> Answer | int:
        try:
            return method(self, *given, **named)
        except OSError as error:
            return _CODES.get(error.errno or 0, SFTP_FAILURE)

    return guarded


def _set_attributes(target: str | int, wanted: paramiko.SFTPAttributes) -> None:
    """Apply those attributes the client named to a path or an open file."""
    if wanted.st_size is not None:
        os.truncate(target, wanted.st_size)
    if wanted.st_mode is not None:
        os.chmod(target, wanted.st_mode & 0o7777)  # noqa: PTH101 - the target may be a descriptor
    if wanted.st_uid is not None and wanted.st_gid is not None:
        os.chown(target, wanted.st_uid, wanted.st_gid)
    if wanted.st_atime is not None and wanted.st_mtime is not None:
        os.utime(target, (wanted.st_atime, wanted.st_mtime))


def _mode(wanted: paramiko.SFTPAttributes, default: int) -> int:
    return default if wanted.st_mode is None else wanted.st_mode & 0o7777


class OpenFile(paramiko.SFTPHandle):
    """A file the client has open."""

    def __init__(self, descriptor: int, flags: int) -> None:
        super().__init__(flags)
        self._descriptor = descriptor

    def close(self) -> None:
        """Close the file; paramiko calls this once, at the client's wish or at the end of the connection."""
        os.close(self._descriptor)

    @_answers_errors
    def read(self, offset: int, length: int) -> bytes:
        """Read at an offset; empty at the end of the file."""
        return os.pread(self._descriptor, length, offset)

    @_answers_errors
    def write(self, offset: int, data: Any) -> int:
        """Write all of the data at an offset."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            view, offset = view[written:], offset + written
        return SFTP_OK

    @_answers_errors
    def stat(self) -> paramiko.SFTPAttributes:
        """Describe the open file."""
        return paramiko.SFTPAttributes.from_stat(os.fstat(self._descriptor))

    @_answers_errors
    def chattr(self, attr: paramiko.SFTPAttributes) -> int:
        """Change the open file's attributes."""
        _set_attributes(self._descriptor, attr)
        return SFTP_OK


class Files(paramiko.SFTPServerInterface):
    """The file system as one host's SFTP clients see it."""

    def __init__(self, server: paramiko.ServerInterface, home: Path) -> None:
        super().__init__(server)
        self._home = str(home)

    def _path(self, path: str) -> str:
        return os.path.join(self._home, path)  # noqa: PTH118 - pathlib would drop a trailing slash or dot

    def canonicalize(self, path: str) -> str:
        """Return the absolute path with links resolved, as realpath does."""
        return os.path.realpath(self._path(path))

    @_answers_errors
    def open(self, path: str, flags: int, attr: paramiko.SFTPAttributes) -> paramiko.SFTPHandle:
        """Open or create a file."""
        descriptor = os.open(self._path(path), flags | os.O_CLOEXEC, _mode(attr, 0o666))
        return OpenFile(descriptor, flags)

    @_answers_errors
    def list_folder(self, path: str) -> list[paramiko.SFTPAttributes]:
        """List a folder with the attributes of each entry; links are not followed."""
        with os.scandir(self._path(path)) as entries:
            return [
                paramiko.SFTPAttributes.from_stat(entry.stat(follow_symlinks=False), entry.name) for entry in entries
            ]

    @_answers_errors
    def stat(self, path: str) -> paramiko.SFTPAttributes:
        """Describe what a path leads to."""
        return paramiko.SFTPAttributes.from_stat(Path(self._path(path)).stat())

    @_answers_errors
    def lstat(self, path: str) -> paramiko.SFTPAttributes:
        """Describe a path without following a link at its end."""
        return paramiko.SFTPAttributes.from_stat(Path(self._path(path)).lstat())

    @_answers_errors
    def remove(self, path: str) -> int:
        """Remove a file or a link."""
        Path(self._path(path)).unlink()
        return SFTP_OK

    @_answers_errors
    def rename(self, oldpath: str, newpath: str) -> int:
        """Rename; as in OpenSSH, an existing target makes this fail."""
        source, target = self._path(oldpath), self._path(newpath)
        if os.path.lexists(target):
            return SFTP_FAILURE
        os.rename(source, target)  # noqa: PTH104
        return SFTP_OK

    @_answers_errors
    def posix_rename(self, oldpath: str, newpath: str) -> int:
        """Rename and replace an existing target in one step."""
        os.replace(self._path(oldpath), self._path(newpath))  # noqa: PTH105
        return SFTP_OK

    @_answers_errors
    def mkdir(self, path: str, attr: paramiko.SFTPAttributes) -> int:
        """Make a folder."""
        Path(self._path(path)).mkdir(mode=_mode(attr, 0o777))
        return SFTP_OK

    @_answers_errors
    def rmdir(self, path: str) -> int:
        """Remove an empty folder."""
        Path(self._path(path)).rmdir()
        return SFTP_OK

    @_answers_errors
    def chattr(self, path: str, attr: paramiko.SFTPAttributes) -> int:
        """Change the attributes of what a path leads to."""
        _set_attributes(self._path(path), attr)
        return SFTP_OK

    @_answers_errors
    def readlink(self, path: str) -> str:
        """Return where a link points."""
        return os.readlink(self._path(path))  # noqa: PTH115 - the text as it stands

    @_answers_errors
    def symlink(self, target_path: str, path: str) -> int:
        """Make a link at ``path`` with the text ``target_path``."""
        os.symlink(target_path, self._path(path))  # noqa: PTH211
        return SFTP_OK
