"""Who may do what with what is ours on Windows.

| folder | Administrators, SYSTEM | the account that Ray runs as | everybody else |
| --- | --- | --- | --- |
| what the root lies in | all | read | read, this folder only |
| the root, and all below it but: | all | read | nothing |
| log, ray (or the declared ``temp_dir``, if we made it), run | all | change | nothing |

Without an administrator's rights, the account that logs in, which makes everything, may do all. Every folder has its
list from its first moment, and whatever somebody else has made before is refused: on a drive, everybody may make
folders, and could change what runs from there. An owner may always give himself access, unless the list says what
OWNER RIGHTS may do (learn.microsoft.com, "Well-known SIDs", S-1-3-4).
"""

from __future__ import annotations

import os
import stat

from provisioner.remote.failure import Failure
from provisioner.remote.platforms.base import OURS, PASSING
from provisioner.remote.platforms.windows import access, descriptors
from provisioner.remote.platforms.windows.access import ADMINISTRATORS, OWNER_RIGHTS, SYSTEM, USERS
from provisioner.remote.platforms.windows.descriptors import FULL, MODIFY, READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Iterator, List, Optional, Tuple

    from provisioner.remote.host import Host
    from provisioner.remote.resource import Difference

FILES = ("desktop.ini", "marker.json", *PASSING)
"""Files in a root of ours; the first is Windows' own."""
WRITABLE = ("log", "ray", "run")
"""Folders below the root that Ray's account writes to."""
REPARSE_POINT = 0x400
"""FILE_ATTRIBUTE_REPARSE_POINT: a link, whatever its kind."""


class Lists:
    """The lists of our folders, as text.

    Args:
        elevated: this session has an administrator's rights.
        own: the SID of the account that logged in.
        account: the SID of the account that Ray runs as; empty if it is not known yet.
    """

    def __init__(self, elevated: bool, own: str, account: str) -> None:
        ours = [(ADMINISTRATORS, FULL), (SYSTEM, FULL)] + [(own, FULL)] * (not elevated)
        owner_rights = [(OWNER_RIGHTS, READ)] * elevated
        theirs = [account] * bool(account)
        self.owner = ADMINISTRATORS if elevated else own
        self.above = descriptors.dacl(ours) + descriptors.dacl([(USERS, READ)], below=False)[len("D:P") :]
        self.root = descriptors.dacl([*ours, *owner_rights, *((sid, READ) for sid in theirs)])
        self.writable = descriptors.dacl([*ours, *((sid, MODIFY) for sid in theirs)])
        self.readable_file = descriptors.dacl([*ours, *((sid, READ) for sid in theirs)], below=False)

    def with_owner(self, text: str) -> str:
        """Return what something is to be made with."""
        return "O:%s%s" % (self.owner, text)


def lists(elevated: bool, account: str) -> Lists:
    """Return the lists for this session and the account that Ray runs as, by name.

    Raises:
        Failure: there is no such account.
    """
    return Lists(elevated, access.own_sid(), access.sid_of(account) if account else "")


def private(elevated: bool, sids: Iterable[str] = ()) -> str:
    """Return the list of a file that only administrators, SYSTEM and some accounts may use."""
    own = [] if elevated else [access.own_sid()]
    return descriptors.dacl([(sid, FULL) for sid in (ADMINISTRATORS, SYSTEM, *own, *sids)], below=False)


def exposure(path: str, elevated: bool, account: str) -> Optional[Tuple[str, str]]:
    """Return the owner and the list of a file, and those it should have if it is for us and that account only (empty:
    for us), in words; None if it has them."""
    wanted = lists(elevated, account).readable_file if account else private(elevated)
    owner, text = descriptors.read(path)
    normal = descriptors.normal(wanted)
    if owner in (ADMINISTRATORS, SYSTEM, access.own_sid()) and descriptors.same(text, normal):
        return None
    own = ADMINISTRATORS if elevated else access.own_sid()
    return _told(owner, text), _told(own, normal)


def _told(owner: str, text: str) -> str:
    return "%s, of %s" % (descriptors.words(text), access.name_of(owner))


def create_aside(path: str, mode: int, elevated: bool) -> Tuple[int, str]:
    """Make the file that will take the place of another one, and return its descriptor and path: from the first moment
    only we may use it if ``mode`` lets nobody else in; otherwise it has the list of the one it replaces, or, if there
    is none, of its folder."""
    aside = "%s.part%d-%s" % (path, os.getpid(), os.urandom(4).hex())
    if not mode & 0o077:
        return descriptors.create_file(aside, private(elevated)), aside
    text = descriptors.own_part(descriptors.read(path)[1]) if os.path.exists(path) else None
    return descriptors.create_file(aside, text), aside


def check_root(root: str, above: str, elevated: bool) -> None:
    """Refuse a root that is not ours and can't become so.

    Args:
        root: its path.
        above: the folder that default roots lie in.
        elevated: this session has an administrator's rights.

    Raises:
        Failure: it is a whole drive, a link, somebody else's, or has things in it that are not ours.
    """
    if not os.path.splitdrive(root)[1].strip("\\"):
        raise Failure("the root %s is a whole drive" % root, "write a folder of it, such as %s" % _below(root))
    if os.path.dirname(root).lower() == above.lower():
        check_folder(above)
    try:
        check_folder(root)
        ours = not os.path.lexists(root) or elevated or descriptors.read(root)[0] == access.own_sid()
    except PermissionError:
        if elevated:
            raise
        ours = False
    if not ours:
        raise Failure(
            "the root %s is for administrators, and this session has no administrator's rights" % root,
            "log in as an administrator, or choose another `root:`",
        )
    if os.path.isdir(root):
        check_content(root, os.listdir(root))


def _below(drive: str) -> str:
    return drive.rstrip("\\") + "\\provision\\NAME"


def check_folder(path: str) -> None:
    """Refuse a folder that somebody else made, or that leads elsewhere."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode) or getattr(found, "st_file_attributes", 0) & REPARSE_POINT:
        raise Failure("%s is no folder, or a link to one" % path, "remove it, or choose another `root:`")
    owner = descriptors.read(path)[0]
    if owner not in (ADMINISTRATORS, SYSTEM, access.own_sid()):
        raise Failure(
            "%s belongs to %s, who could change what runs from there" % (path, access.name_of(owner)),
            "remove that folder, or choose another `root:`",
        )


def check_content(root: str, names: Iterable[str]) -> None:
    """Refuse a folder that was in use before it was to be a root; one that has our marker or lock stays ours."""
    names = list(names)
    others = sorted(name for name in names if name.split(".part")[0] not in (*OURS, *FILES))
    if others and not {"lock", "marker.json"} & set(names):
        raise Failure(
            "the root %s has things in it that are not ours, such as %s" % (root, ", ".join(others[:3])),
            "choose another `root:`: a folder that is empty, or that there is not yet",
        )


def make_root(root: str, above: str, elevated: bool, account: str) -> None:
    """Make a root, and what it lies in, with their lists from the first moment.

    Raises:
        Failure: there is something of that name that is not ours.
    """
    known = lists(elevated, account if _is_known(account) else "")
    _made(root, known.root, known)
    check_root(root, above, elevated)


def make_folder(path: str, elevated: bool, account: str) -> None:
    """Make a folder that the account that Ray runs as writes to; one that is there stays as it is."""
    known = lists(elevated, account)
    _made(path, known.writable, known)


def _missing(folder: str) -> List[str]:
    """Return the folders that there are not, the innermost first."""
    found = []
    while not os.path.isdir(folder) and os.path.dirname(folder) != folder:
        found.append(folder)
        folder = os.path.dirname(folder)
    return found


def _made(path: str, text: str, known: Lists) -> None:
    """Make a folder with a list, and those it lies in so that nobody puts another one in its place."""
    try:
        for folder in reversed(_missing(os.path.dirname(path))):
            descriptors.make_folder(folder, known.with_owner(known.above))
        descriptors.make_folder(path, known.with_owner(text))
    except PermissionError as error:
        raise Failure(
            "the folder %s can't be made: %s" % (path, error.strerror),
            "log in as an administrator, or choose a folder of this account: `root:`, `temp_dir:`",
        ) from None


def _is_known(account: str) -> bool:
    try:
        return bool(access.sid_of(account))
    except Failure:
        return False  # a task may still make it


def _expected(host: Host, above: str, known: Lists) -> Iterator[Tuple[str, str]]:
    """Yield each folder of ours that there is, with the list it should have."""
    entry = host.marker.get("ray") or {}
    writable = {host.path(name) for name in WRITABLE}
    if entry.get("made_temp_dir"):
        writable.add(entry["temp_dir"])
    wanted = {host.root: known.root, **dict.fromkeys(sorted(writable), known.writable)}
    if os.path.dirname(host.root).lower() == above.lower():
        wanted = {above: known.above, **wanted}
    for path, text in wanted.items():
        if os.path.isdir(path):
            yield path, text


def _wrong(host: Host, above: str, elevated: bool, known: Lists) -> Iterator[Tuple[str, str, str, str, str]]:
    """Yield each folder that is not as it should be: path, owner and list it has, owner and list it should have (empty:
    as it is). Without an administrator's rights nothing can be done about what belongs to others."""
    for path, wanted in _expected(host, above, known):
        owner, text = descriptors.read(path)
        if not elevated and owner != known.owner:
            continue
        heir = "" if owner in (known.owner, SYSTEM) else known.owner
        better = "" if descriptors.same(text, descriptors.normal(wanted)) else wanted
        if better or heir:
            yield path, owner, text, heir, better


def differences(host: Host, above: str, elevated: bool) -> List[Difference]:
    """Return which folders belong to others than they should, or let others in; changes nothing, starts no program."""
    from provisioner.remote.resource import difference

    if not _is_known(host.account):
        return []
    found = []
    for path, owner, text, heir, better in _wrong(host, above, elevated, lists(elevated, host.account)):
        if heir:
            found.append(difference("change", "owner of " + path, access.name_of(owner), access.name_of(heir)))
        if better:
            after = descriptors.words(descriptors.normal(better))
            found.append(difference("change", "who may use " + path, descriptors.words(text), after))
    return found


def bring_into_line(host: Host, above: str, elevated: bool) -> None:
    """Have every folder of ours belong to whom it should, with the list it should have.

    Raises:
        Failure: there is no such account, or it can't be done.
    """
    known = lists(elevated, host.account)
    for path, _, _, heir, better in _wrong(host, above, elevated, known):
        if heir:
            descriptors.set_owner(path, heir)
        if better:
            descriptors.write(path, better)
