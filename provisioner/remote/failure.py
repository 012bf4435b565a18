"""What went wrong on a host, in the user's words."""

from __future__ import annotations


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


def from_oserror(error: OSError) -> Failure:
    """Turn an error of the OS into one that says what to do."""
    import errno

    where = " (%s)" % error.filename if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failure("the disk is full%s" % where, "free some space there and run the same command again")
    if error.errno in (errno.EACCES, errno.EPERM):
        return Failure("no permission%s" % where, "log in as a user who may, or set `become: true`")
    if error.errno == errno.EROFS:
        return Failure("the file system is read-only%s" % where, "remount it, or choose another `root:`")
    return Failure("%s%s" % (error.strerror or error, where))
