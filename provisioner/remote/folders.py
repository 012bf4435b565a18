"""Folders that something of ours needs: ours, those we shall have to make, and whether there is room in them."""

from __future__ import annotations

import os

from provisioner.remote.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, List, Optional


def programs() -> Optional[str]:
    """Return the folder in which this program is cached, in the home of the account that logged in, whoever runs it;
    None if this runs from elsewhere."""
    path = os.path.abspath(__file__)
    for _ in range(4):
        path = os.path.dirname(path)
    return path if path.endswith(os.path.join(".provision", "program")) else None


def interpreters() -> Optional[str]:
    """Return the folder of the interpreters that were brought for this program to run on, whether or not it exists."""
    beside = programs()
    return os.path.join(os.path.dirname(beside), "python") if beside else None


def is_brought(interpreter: str) -> bool:
    """Tell whether an interpreter was brought for this program to run on: nothing that lasts may depend on it."""
    ours = interpreters()
    return ours is not None and os.path.realpath(interpreter).startswith(os.path.realpath(ours) + os.sep)


def require_room(folder: str, needed: int, what: str, spare: Callable[[], str] = str) -> None:
    """Raise a Failure if a folder's disk has less room than that many bytes; ``spare`` names what could go there."""
    import shutil

    free = shutil.disk_usage(folder).free
    if free < needed:
        raise Failure(
            "%s has %d MiB free, %s needs %d MiB" % (os.path.dirname(folder), free >> 20, what, needed >> 20),
            "free some space there, or choose another `root:`" + spare(),
        )


def flush(folder: str) -> None:
    """Have everything that was written to the disk of a folder reach it, as far as we may ask for that."""
    if hasattr(os, "sync"):
        os.sync()
        return
    drive = os.path.splitdrive(os.path.abspath(folder))[0]
    try:
        with open("\\\\.\\" + drive, "r+b", buffering=0) as volume:
            os.fsync(volume.fileno())  # all files of the volume; only administrators may
    except OSError:
        return


def missing_folders(path: str) -> List[str]:
    """Return the folders that will have to be made for a file, the innermost first."""
    found = []
    folder = os.path.dirname(path)
    while folder and not os.path.isdir(folder):
        found.append(folder)
        folder = os.path.dirname(folder)
    return found


def remove(folder: str, holders: Callable[[str], str]) -> None:
    """Remove a folder with everything in it.

    Args:
        folder: it need not exist.
        holders: returns in words who has a file open, as far as that is known.

    Raises:
        Failure: something in it can't be removed.
    """
    from provisioner.remote import files

    files.remove_tree(folder)
    if not os.path.isdir(folder):
        return
    stuck = _innermost(folder)
    who = holders(stuck)
    raise Failure(
        "%s can't be removed: %s" % (stuck, "%s has it open" % who if who else "a program has it open, or we may not"),
        "close what uses it, and run the same command again",
    )


def _innermost(folder: str) -> str:
    """Return what must go first for a folder to go."""
    for place, folders, names in os.walk(folder, topdown=False):
        if names or not folders:
            return os.path.join(place, *names[:1])
    return folder


def remove_if_empty(folder: str) -> None:
    """Remove a folder of ours that holds nothing any more."""
    try:
        os.rmdir(folder)
    except OSError:
        return


def give_tree(folder: str, account: str) -> None:
    """Make an account the owner of a folder and all plain files and folders in it (POSIX; for root).

    Whoever has written there until now may exchange what we walk through: nothing is followed, and a file with a second
    name, which may be anybody's, is left as it is.
    """
    import pwd

    entry = pwd.getpwnam(account)
    for _, _, names, at in os.fwalk(folder, topdown=False, follow_symlinks=False):
        for name in names:
            _give_file(name, at, entry.pw_uid, entry.pw_gid)
        os.fchown(at, entry.pw_uid, entry.pw_gid)


def _give_file(name: str, at: int, uid: int, gid: int) -> None:
    import stat

    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
    except OSError:  # a link, or gone
        return
    try:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
            os.fchown(descriptor, uid, gid)
    finally:
        os.close(descriptor)
