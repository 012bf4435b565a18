"""Accounts on Windows, by security identifiers: names are in the system's language, and two may have the same one.

Sources: learn.microsoft.com, "Well-known SIDs", GetTokenInformation, GetUserNameExW, LookupAccountNameW,
LookupAccountSidW, AdjustTokenPrivileges.
"""

from __future__ import annotations

import os

from provisioner.remote.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ADMINISTRATORS = "S-1-5-32-544"
USERS = "S-1-5-32-545"
OWNER_RIGHTS = "S-1-3-4"
SYSTEM = "S-1-5-18"
SYSTEM_NAMES = ("system", "localsystem", "nt authority\\system", "s-1-5-18")
_TOKEN_QUERY, _TOKEN_ADJUST_PRIVILEGES = 0x8, 0x20
_TOKEN_USER = 1
_NAME_SAM_COMPATIBLE = 2
_SE_PRIVILEGE_ENABLED = 2
_ERROR_NOT_ALL_ASSIGNED = 1300


def _ctypes() -> Any:
    """Return ctypes, untyped: only Windows' has what is used here."""
    import ctypes

    return ctypes


def _library(name: str) -> Any:
    from provisioner.remote.platforms.windows.calls import library

    return library(name)


def is_elevated() -> bool:
    """Tell whether this program has an administrator's rights, not only an administrator's account."""
    return bool(_library("shell32").IsUserAnAdmin())


class _Token:
    """The token of this process, open as long as the block lasts."""

    def __init__(self, rights: int) -> None:
        self._rights = rights
        self._handle = _ctypes().c_void_p()

    def __enter__(self) -> Any:
        c, kernel, advapi = _ctypes(), _library("kernel32"), _library("advapi32")
        kernel.GetCurrentProcess.restype = c.c_void_p
        advapi.OpenProcessToken.argtypes = [c.c_void_p, c.c_uint32, c.c_void_p]
        if not advapi.OpenProcessToken(kernel.GetCurrentProcess(), self._rights, c.byref(self._handle)):
            raise _failed("OpenProcessToken")
        return self._handle

    def __exit__(self, *_: object) -> None:
        kernel = _library("kernel32")
        kernel.CloseHandle.argtypes = [_ctypes().c_void_p]
        kernel.CloseHandle(self._handle)


def own_sid() -> str:
    """Return the identifier of the account that this program runs as."""
    c, advapi = _ctypes(), _library("advapi32")
    advapi.GetTokenInformation.argtypes = [c.c_void_p, c.c_int, c.c_void_p, c.c_uint32, c.c_void_p]
    size = c.c_uint32()
    with _Token(_TOKEN_QUERY) as token:
        advapi.GetTokenInformation(token, _TOKEN_USER, None, 0, c.byref(size))
        user = c.create_string_buffer(size.value)
        if not advapi.GetTokenInformation(token, _TOKEN_USER, user, size, c.byref(size)):
            raise _failed("GetTokenInformation")
        return text_of(c.cast(user, c.POINTER(c.c_void_p))[0])


def enable(privilege: str) -> bool:
    """Enable a right that an administrator has and does not use unasked, such as ``SeRestorePrivilege``, until this
    program ends; tell whether we have it."""
    c, advapi = _ctypes(), _library("advapi32")
    wanted = c.create_string_buffer(16)  # TOKEN_PRIVILEGES: a number, a LUID of 8 bytes, attributes
    advapi.LookupPrivilegeValueW.argtypes = [c.c_wchar_p, c.c_wchar_p, c.c_void_p]
    advapi.AdjustTokenPrivileges.argtypes = [c.c_void_p, c.c_int, c.c_void_p, c.c_uint32, c.c_void_p, c.c_void_p]
    if not advapi.LookupPrivilegeValueW(None, privilege, c.addressof(wanted) + 4):
        return False
    c.c_uint32.from_buffer(wanted, 0).value = 1
    c.c_uint32.from_buffer(wanted, 12).value = _SE_PRIVILEGE_ENABLED
    with _Token(_TOKEN_QUERY | _TOKEN_ADJUST_PRIVILEGES) as token:
        done = advapi.AdjustTokenPrivileges(token, 0, wanted, 0, None, None)
        return bool(done) and c.get_last_error() != _ERROR_NOT_ALL_ASSIGNED


def own_name() -> str:
    """Return the account that this program runs as: ``kim`` of this machine, ``LAB\\kim`` of a domain."""
    c, security = _ctypes(), _library("secur32")
    name, size = c.create_unicode_buffer(1024), c.c_uint32(1024)
    if not security.GetUserNameExW(_NAME_SAM_COMPATIBLE, name, c.byref(size)):
        return os.getlogin()
    return shortest(str(name.value), os.environ.get("COMPUTERNAME", ""))


def shortest(name: str, machine: str) -> str:
    """Return an account's name without the domain if that is this machine."""
    domain, _, bare = name.rpartition("\\")
    return bare if domain.lower() in ("", ".", machine.lower()) else name


def same_account(one: str, other: str) -> bool:
    """Tell whether two names mean the same account: there may be a ``kim`` and a ``LAB\\kim``.

    Raises:
        Failure: one of them means nobody.
    """
    return one.lower() == other.lower() or sid_of(one) == sid_of(other)


def is_system(account: str) -> bool:
    """Tell whether an account is the machine itself, which Windows calls otherwise in other languages."""
    return account.lower() in SYSTEM_NAMES


def sid_of(account: str) -> str:
    """Return the identifier of an account, such as ``kim``, ``LAB\\kim`` or an identifier.

    Raises:
        Failure: there is no such account.
    """
    if is_system(account):
        return SYSTEM
    if account.upper().startswith("S-1-"):
        return account.upper()
    name = shortest(account, os.environ.get("COMPUTERNAME", ""))  # without a domain, this machine's come first
    c, advapi = _ctypes(), _library("advapi32")
    sid, domain = c.create_string_buffer(256), c.create_unicode_buffer(1024)
    sizes = c.c_uint32(256), c.c_uint32(1024), c.c_int()
    if not advapi.LookupAccountNameW(
        None, c.c_wchar_p(name), sid, c.byref(sizes[0]), domain, c.byref(sizes[1]), c.byref(sizes[2])
    ):
        raise Failure("there is no account %r on this host" % account, "create it, or change `account:`")
    return text_of(c.addressof(sid))


def name_of(sid: str) -> str:
    """Return the name of an account, with its domain if that is not this machine; the identifier itself if it has none.

    Args:
        sid: an identifier, or one of its two-letter forms in SDDL.
    """
    c, advapi, kernel = _ctypes(), _library("advapi32"), _library("kernel32")
    binary = c.c_void_p()
    name, domain = c.create_unicode_buffer(1024), c.create_unicode_buffer(1024)
    sizes = c.c_uint32(1024), c.c_uint32(1024), c.c_int()
    if not advapi.ConvertStringSidToSidW(c.c_wchar_p(sid), c.byref(binary)):
        return sid
    try:
        known = advapi.LookupAccountSidW(
            None, binary, name, c.byref(sizes[0]), domain, c.byref(sizes[1]), c.byref(sizes[2])
        )
    finally:
        kernel.LocalFree.argtypes = [c.c_void_p]
        kernel.LocalFree(binary)
    return _told(sid, str(domain.value), str(name.value)) if known else sid


def _told(sid: str, domain: str, name: str) -> str:
    """Return an account's name as users know it; groups that every Windows has go without what they belong to."""
    if not sid.upper().startswith("S-1-5-21-"):
        return name
    return shortest("%s\\%s" % (domain, name), os.environ.get("COMPUTERNAME", ""))


def text_of(sid: Any) -> str:
    """Return an identifier as text.

    Args:
        sid: a pointer to it.
    """
    c, advapi, kernel = _ctypes(), _library("advapi32"), _library("kernel32")
    advapi.ConvertSidToStringSidW.argtypes = [c.c_void_p, c.c_void_p]
    kernel.LocalFree.argtypes = [c.c_void_p]
    text = c.c_void_p()
    if not advapi.ConvertSidToStringSidW(sid, c.byref(text)):
        raise _failed("ConvertSidToStringSidW")
    try:
        return str(c.wstring_at(text))
    finally:
        kernel.LocalFree(text)


def _failed(call: str) -> Failure:
    c = _ctypes()
    return Failure("%s failed: %s" % (call, c.FormatError(c.get_last_error())))
