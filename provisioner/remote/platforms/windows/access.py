"""Accounts and access on Windows: by security identifiers, since the names of groups are in the system's language.

Sources: learn.microsoft.com, "Well-known SIDs", icacls, GetTokenInformation, GetNamedSecurityInfoW, LookupAccountSidW.
"""

from __future__ import annotations

import os

from provisioner.remote.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List, Tuple

    Run = Callable[[List[str]], Tuple[int, str]]

ADMINISTRATORS = "S-1-5-32-544"
SYSTEM = "S-1-5-18"
SYSTEM_NAMES = ("system", "localsystem", "nt authority\\system", "s-1-5-18")
_TOKEN_QUERY = 8
_TOKEN_USER = 1
_NAME_SAM_COMPATIBLE = 2
_SE_FILE_OBJECT = 1
_OWNER_SECURITY_INFORMATION = 1


def _ctypes() -> Any:
    """Return ctypes, untyped: only Windows' has what is used here."""
    import ctypes

    return ctypes


def _library(name: str) -> Any:
    return _ctypes().WinDLL(name, use_last_error=True)


def is_elevated() -> bool:
    """Tell whether this program has an administrator's rights, not only an administrator's account."""
    return bool(_library("shell32").IsUserAnAdmin())


def own_sid() -> str:
    """Return the identifier of the account that this program runs as."""
    c, kernel, advapi = _ctypes(), _library("kernel32"), _library("advapi32")
    kernel.GetCurrentProcess.restype = c.c_void_p
    advapi.OpenProcessToken.argtypes = [c.c_void_p, c.c_uint32, c.POINTER(c.c_void_p)]
    advapi.GetTokenInformation.argtypes = [c.c_void_p, c.c_int, c.c_void_p, c.c_uint32, c.POINTER(c.c_uint32)]
    token, size = c.c_void_p(), c.c_uint32()
    if not advapi.OpenProcessToken(kernel.GetCurrentProcess(), _TOKEN_QUERY, c.byref(token)):
        raise _failed("OpenProcessToken")
    try:
        advapi.GetTokenInformation(token, _TOKEN_USER, None, 0, c.byref(size))
        user = c.create_string_buffer(size.value)
        if not advapi.GetTokenInformation(token, _TOKEN_USER, user, size, c.byref(size)):
            raise _failed("GetTokenInformation")
        return _text_of(c.cast(user, c.POINTER(c.c_void_p))[0])
    finally:
        kernel.CloseHandle.argtypes = [c.c_void_p]
        kernel.CloseHandle(token)


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
    return _text_of(c.addressof(sid))


def owner_sid(path: str) -> str:
    """Return the identifier of the account that owns a file or folder; OSError if nobody may know."""
    c, kernel, advapi = _ctypes(), _library("kernel32"), _library("advapi32")
    owner, descriptor = c.c_void_p(), c.c_void_p()
    error = advapi.GetNamedSecurityInfoW(
        c.c_wchar_p(path), _SE_FILE_OBJECT, _OWNER_SECURITY_INFORMATION,
        c.byref(owner), None, None, None, c.byref(descriptor),
    )  # fmt: skip
    if error:
        raise OSError(0, c.FormatError(error), path, error)
    try:
        return _text_of(owner)
    finally:
        kernel.LocalFree.argtypes = [c.c_void_p]
        kernel.LocalFree(descriptor)


def name_of(sid: str) -> str:
    """Return the name of an account without its domain, the identifier itself if it has none."""
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
    return str(name.value) if known else sid


def _text_of(sid: Any) -> str:
    c, advapi, kernel = _ctypes(), _library("advapi32"), _library("kernel32")
    advapi.ConvertSidToStringSidW.argtypes = [c.c_void_p, c.POINTER(c.c_void_p)]
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


def limit(path: str, sids: List[str], run: Run) -> None:
    """Let only administrators, SYSTEM and some accounts use a file or folder, and everything below it.

    Raises:
        Failure: it can't be done, on a disk that knows no access lists for example.
    """
    inherited = "(OI)(CI)" if os.path.isdir(path) else ""
    grants = ["*%s:%sF" % (sid, inherited) for sid in dict.fromkeys([ADMINISTRATORS, SYSTEM, *sids])]
    _icacls([path, "/inheritance:r", "/grant:r", *grants, "/Q"], run)


def give(path: str, sid: str, run: Run) -> None:
    """Make an account the owner of a file or folder; Failure if it can't be done."""
    _icacls([path, "/setowner", "*" + sid, "/Q"], run)


def _icacls(arguments: List[str], run: Run) -> None:
    code, output = run(["icacls", *arguments])
    if code:
        last = (output.strip().splitlines() or ["exit code %d" % code])[-1]
        raise Failure(
            "who may use %s can't be set: %s" % (arguments[0], last),
            "is it on a disk with NTFS, and is this account an administrator's?",
        )
