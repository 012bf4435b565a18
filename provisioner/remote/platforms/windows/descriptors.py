"""Who may do what with a file or folder on Windows: its owner and its access list, as text (SDDL).

Lists are compared entry by entry after Windows has put both into its own words. Sources: learn.microsoft.com, "Security
Descriptor String Format", "ACE Strings", "DACL for a New Object", Get/SetNamedSecurityInfoW, CreateDirectoryW.
"""

from __future__ import annotations

import os

from provisioner.remote.failure import Failure
from provisioner.remote.platforms.windows.access import enable, name_of, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, FrozenSet, Iterable, List, Optional, Tuple

    Grants = Iterable[Tuple[str, str]]

FULL, MODIFY, READ = "FA", "0x1301bf", "0x1200a9"
"""What icacls calls F, M (all but taking it over and giving others access) and RX."""
RIGHTS = {"FA": 0x1F01FF, "FR": 0x120089, "FW": 0x120116, "FX": 0x1200A0, "GA": 0x1F01FF, "GR": 0x120089,
          "GW": 0x120116, "GX": 0x1200A0, "SD": 0x10000, "RC": 0x20000, "WD": 0x40000, "WO": 0x80000}  # fmt: skip
"""Rights that SDDL has words of two letters for; those of directory services don't occur with files."""
CHANGES = 0xD0156
"""Any right to change a file or folder: WRITE_DATA, APPEND_DATA, WRITE_EA, DELETE_CHILD, WRITE_ATTRIBUTES, DELETE,
WRITE_DAC, WRITE_OWNER."""
_FILE = 1
_OWNER, _DACL, _PROTECTED, _UNPROTECTED = 0x1, 0x4, 0x80000000, 0x20000000
_REVISION = 1
_GENERIC_WRITE, _SHARE_NOTHING, _CREATE_NEW, _NORMAL = 0x40000000, 0, 1, 0x80
_ALREADY_EXISTS = (80, 183)


def dacl(grants: Grants, below: bool = True) -> str:
    """Return a list that inherits nothing.

    Args:
        grants: who (a SID) may do what (rights in SDDL); the first word on somebody counts.
        below: they are for everything in the folder as well.
    """
    known: Dict[str, str] = {}
    for sid, rights in grants:
        known.setdefault(sid, rights)
    flags = "OICI" if below else ""
    return "D:P" + "".join("(A;%s;%s;;;%s)" % (flags, rights, sid) for sid, rights in known.items())


def split(text: str) -> Tuple[bool, List[str]]:
    """Return what a list in SDDL says: whether it keeps out what is above it, and its entries without parentheses."""
    flags, _, _ = text.partition("(")
    found, depth, begun = [], 0, 0
    for at, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == "(" and depth == 1:
            begun = at + 1
        if letter == ")" and depth == 0:
            found.append(text[begun:at])
    return "P" in flags[2:], found


def same(one: str, other: str) -> bool:
    """Tell whether two lists, in the same words, allow the same; the order of what they only allow means nothing."""
    mine, theirs = split(one), split(other)
    if any(not entry.startswith("A;") for entry in mine[1] + theirs[1]):
        return mine == theirs
    return mine[0] == theirs[0] and set(mine[1]) == set(theirs[1])


def own_part(text: str) -> Optional[str]:
    """Return a list without what it inherits; None if that is all."""
    protected, entries = split(text)
    own = [entry for entry in entries if "ID" not in _pairs(entry.split(";")[1])]
    if not own and not protected:
        return None
    return "D:%s%s" % ("P" * protected, "".join("(%s)" % entry for entry in own))


def _pairs(text: str) -> FrozenSet[str]:
    return frozenset(text[at : at + 2] for at in range(0, len(text), 2))


def _mask(rights: str) -> int:
    if rights.startswith("0x"):
        return int(rights, 16)
    mask = 0
    for pair in _pairs(rights):
        mask |= RIGHTS.get(pair, 0)
    return mask


def words(text: str, name: Callable[[str], str] = name_of) -> str:
    """Return a list in a user's words, such as ``all: Administrators, SYSTEM; read: kim``.

    Args:
        text: the list in SDDL.
        name: returns the name of an account or group by SID.
    """
    protected, entries = split(text)
    if text == "D:NO_ACCESS_CONTROL":
        return "everybody may do everything"
    groups: Dict[str, List[str]] = {}
    for entry in entries:
        kind, _, rights, _, _, sid = entry.split(";")[:6]
        mask = _mask(rights)
        can = "all" if mask == RIGHTS["FA"] else "change" if mask & CHANGES else "read"
        if not kind.endswith("A"):
            can = "not " + can
        who = name(sid)
        if who not in groups.setdefault(can, []):
            groups[can].append(who)
    told = "; ".join("%s: %s" % (can, ", ".join(groups[can])) for can in sorted(groups))
    if protected:
        return told or "nobody may do anything"
    return "as the folder above says: " + told


def _ctypes() -> Any:
    """Return ctypes, untyped: only Windows' has what is used here."""
    import ctypes

    return ctypes


def _library(name: str) -> Any:
    from provisioner.remote.platforms.windows.calls import library

    return library(name)


class _Descriptor:
    """A security descriptor in Windows' own form, made of text, as long as the block lasts."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._made = _ctypes().c_void_p()

    def __enter__(self) -> Any:
        c, advapi = _ctypes(), _library("advapi32")
        convert = advapi.ConvertStringSecurityDescriptorToSecurityDescriptorW
        convert.argtypes = [c.c_wchar_p, c.c_uint32, c.c_void_p, c.c_void_p]
        if not convert(self._text, _REVISION, c.byref(self._made), None):
            raise Failure("Windows does not know the access list %s" % self._text, _said(c.get_last_error()))
        return self._made

    def __exit__(self, *_: object) -> None:
        _free(self._made)


def _free(pointer: Any) -> None:
    kernel = _library("kernel32")
    kernel.LocalFree.argtypes = [_ctypes().c_void_p]
    kernel.LocalFree(pointer)


def _said(error: int) -> str:
    return str(_ctypes().FormatError(error))


def _text(descriptor: Any) -> str:
    c, advapi = _ctypes(), _library("advapi32")
    convert = advapi.ConvertSecurityDescriptorToStringSecurityDescriptorW
    convert.argtypes = [c.c_void_p, c.c_uint32, c.c_uint32, c.c_void_p, c.c_void_p]
    text = c.c_void_p()
    if not convert(descriptor, _REVISION, _DACL, c.byref(text), None):
        raise OSError(0, _said(c.get_last_error()), None, c.get_last_error())
    try:
        return str(c.wstring_at(text))
    finally:
        _free(text)


def normal(text: str) -> str:
    """Return a list in the words in which Windows tells it."""
    with _Descriptor(text) as descriptor:
        return _text(descriptor)


def read(path: str) -> Tuple[str, str]:
    """Return the owner's SID and the list of a file or folder; OSError if it can't be read."""
    c, advapi = _ctypes(), _library("advapi32")
    owner, descriptor = c.c_void_p(), c.c_void_p()
    error = advapi.GetNamedSecurityInfoW(
        c.c_wchar_p(path), _FILE, _OWNER | _DACL, c.byref(owner), None, None, None, c.byref(descriptor)
    )
    if error:
        raise OSError(0, _said(error), path, error)
    try:
        return text_of(owner), _text(descriptor)
    finally:
        _free(descriptor)


def write(path: str, text: str) -> None:
    """Give a file or folder a list, and all below what is inherited from it.

    Raises:
        Failure: it can't be done, on a disk that knows no access lists for example.
    """
    c, advapi = _ctypes(), _library("advapi32")
    part = _DACL | (_PROTECTED if split(text)[0] else _UNPROTECTED)
    advapi.GetSecurityDescriptorDacl.argtypes = [c.c_void_p] * 4
    with _Descriptor(text) as descriptor:
        there, made, default = c.c_int(), c.c_void_p(), c.c_int()
        advapi.GetSecurityDescriptorDacl(descriptor, c.byref(there), c.byref(made), c.byref(default))
        error = advapi.SetNamedSecurityInfoW(c.c_wchar_p(path), _FILE, c.c_uint32(part), None, None, made, None)
    if error:
        raise _refused(path, error)


def set_owner(path: str, sid: str) -> None:
    """Make an account or group the owner of a file or folder; Failure if it can't be done."""
    c, advapi = _ctypes(), _library("advapi32")
    enable("SeRestorePrivilege")  # or only oneself could be made one
    enable("SeTakeOwnershipPrivilege")
    owner = c.c_void_p()
    advapi.ConvertStringSidToSidW.argtypes = [c.c_wchar_p, c.c_void_p]
    if not advapi.ConvertStringSidToSidW(sid, c.byref(owner)):
        raise Failure("there is no account %s" % sid)
    try:
        error = advapi.SetNamedSecurityInfoW(c.c_wchar_p(path), _FILE, _OWNER, owner, None, None, None)
    finally:
        _free(owner)
    if error:
        raise _refused(path, error)


def _refused(path: str, error: int) -> Failure:
    return Failure(
        "who may use %s can't be set: %s" % (path, _said(error)),
        "is it on a disk with NTFS, and is this account an administrator's?",
    )


def _attributes(descriptor: Any) -> Any:
    """Return SECURITY_ATTRIBUTES: size, descriptor, nothing inherited by children."""
    c = _ctypes()
    return (c.c_void_p * 3)(3 * c.sizeof(c.c_void_p), descriptor.value, None)


def make_folder(path: str, text: str) -> bool:
    """Make a folder that has its owner and list from the first moment; False if there is something of that name.

    Raises:
        OSError: it can't be made.
    """
    c, kernel = _ctypes(), _library("kernel32")
    kernel.CreateDirectoryW.argtypes = [c.c_wchar_p, c.c_void_p]
    with _Descriptor(text) as descriptor:
        if kernel.CreateDirectoryW(path, _attributes(descriptor)):
            return True
        error = c.get_last_error()
    if error in _ALREADY_EXISTS:
        return False
    raise OSError(0, _said(error), path, error)


def create_file(path: str, text: Optional[str]) -> int:
    """Make a file for writing that has its list from the first moment, None: as its folder says; return its descriptor.

    Raises:
        OSError: it can't be made; FileExistsError: there is one.
    """
    if text is None:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0))
    import msvcrt

    c, kernel = _ctypes(), _library("kernel32")
    kernel.CreateFileW.argtypes = [c.c_wchar_p, *[c.c_uint32] * 2, c.c_void_p, *[c.c_uint32] * 2, c.c_void_p]
    kernel.CreateFileW.restype = c.c_void_p
    with _Descriptor(text) as descriptor:
        attributes = _attributes(descriptor)
        handle = kernel.CreateFileW(path, _GENERIC_WRITE, _SHARE_NOTHING, attributes, _CREATE_NEW, _NORMAL, None)
        error = c.get_last_error()
    if handle in (None, c.c_void_p(-1).value):
        raise OSError(0, _said(error), path, error)
    descriptor_of: Any = vars(msvcrt)["open_osfhandle"]
    return int(descriptor_of(handle, os.O_WRONLY | getattr(os, "O_BINARY", 0)))
