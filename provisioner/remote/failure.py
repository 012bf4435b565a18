"""What went wrong on a host, in the user's words."""

from __future__ import annotations

import os

IN_USE = (32, 33)
"""What Windows says of a file that another program has open or locked: no matter of permissions."""


class Failure(Exception):
    """A task can't be done here.

    Args:
        message: what happened, one sentence without a final full stop.
        remedy: what to do next; empty if the message says it all.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.task = ""
        """The task it happened in, if any."""


class NoProgram(Failure):
    """The program that was to be run does not exist here."""


def from_exception(error: Exception) -> Failure:
    """Turn any error into a sentence: no traceback ever reaches a user."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, OSError):
        return from_oserror(error)
    import traceback

    place = traceback.extract_tb(error.__traceback__)[-1]
    where = "%s:%s" % (os.path.basename(place.filename), place.lineno)
    return Failure("unexpected %s in %s: %s" % (type(error).__name__, where, error), "please report this as a bug")


def from_oserror(error: OSError) -> Failure:
    """Turn an error of the OS into one that says what to do."""
    import errno

    where = " (%s)" % error.filename if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failure("the disk is full%s" % where, "free some space there and run the same command again")
    if getattr(error, "winerror", None) in IN_USE:
        return Failure("another program has it open%s" % where, "close that program, and run the same command again")
    if error.errno in (errno.EACCES, errno.EPERM):
        may = "log in as an administrator" if os.name == "nt" else "log in as a user who may, or set `become: true`"
        return Failure("no permission%s" % where, may)
    if error.errno == errno.EROFS:
        return Failure("the file system is read-only%s" % where, "remount it, or choose another `root:`")
    return Failure("%s%s" % (error.strerror or error, where))
