"""The few functions of the Windows API that no module of the standard library offers, one small function each.

Signatures and constants are Microsoft's (learn.microsoft.com/windows/win32/api). What can't be asked (a process of
another account, one that just ended) is answered with nothing, never with an error.
"""

from __future__ import annotations

import ctypes
from ctypes import wintypes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Tuple

QUERY_LIMITED, TERMINATE, SYNCHRONIZE = 0x1000, 0x0001, 0x100000
STILL_THERE = 0x102
"""WAIT_TIMEOUT: what waiting no time for a process that has not ended returns."""
INVALID_HANDLE = ctypes.c_void_p(-1).value
LISTENING = 3
"""TCP_TABLE_OWNER_PID_LISTENER."""
TOO_SMALL = 122
"""ERROR_INSUFFICIENT_BUFFER."""
ACCESS_DENIED = 5
OPENS_ALL: List[bool] = []
"""Whether we may open every process, once that was asked."""
UNKNOWN = "<no description>"
"""What ctypes.FormatError says of a code that the system has no words for."""
LIBRARIES: Dict[str, Any] = {}


class _Entry(ctypes.Structure):
    """PROCESSENTRY32W."""

    _fields_ = [
        ("size", wintypes.DWORD),
        ("usage", wintypes.DWORD),
        ("pid", wintypes.DWORD),
        ("heap", ctypes.c_size_t),
        ("module", wintypes.DWORD),
        ("threads", wintypes.DWORD),
        ("parent", wintypes.DWORD),
        ("priority", wintypes.LONG),
        ("flags", wintypes.DWORD),
        ("program", wintypes.WCHAR * 260),
    ]


def library(name: str) -> Any:
    """Return a DLL of the system: the same one each time, so whoever declares a function's types does so for all."""
    if name not in LIBRARIES:
        LIBRARIES[name] = vars(ctypes)["WinDLL"](name, use_last_error=True)
    return LIBRARIES[name]


def meaning(code: int) -> str:
    """Return what the system says of an error code or an HRESULT, in its language; empty if it knows nothing."""
    words = vars(ctypes).get("FormatError", lambda _: UNKNOWN)(code - (1 << 32) if code >> 31 else code)
    return "" if words == UNKNOWN else " ".join(words.split()).rstrip(".")


def _kernel() -> Any:
    kernel = library("kernel32")
    for name in ("OpenProcess", "CreateToolhelp32Snapshot"):
        getattr(kernel, name).restype = wintypes.HANDLE
    kernel.OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
    kernel.CloseHandle.argtypes = (wintypes.HANDLE,)
    return kernel


def processes() -> List[Tuple[int, int, str]]:
    """Return every process: its pid, its parent's (which may be another's by now) and the name of its program."""
    kernel = _kernel()
    for name in ("Process32FirstW", "Process32NextW"):
        getattr(kernel, name).argtypes = (wintypes.HANDLE, ctypes.POINTER(_Entry))
    snapshot = kernel.CreateToolhelp32Snapshot(2, 0)
    if snapshot in (None, INVALID_HANDLE):
        return []
    entry, found = _Entry(size=ctypes.sizeof(_Entry)), []
    more = kernel.Process32FirstW(snapshot, ctypes.byref(entry))
    while more:
        found.append((entry.pid, entry.parent, entry.program))
        more = kernel.Process32NextW(snapshot, ctypes.byref(entry))
    kernel.CloseHandle(snapshot)
    return found


class _Opened:
    """A process, held open as long as the block lasts: its pid is not given to another one meanwhile."""

    def __init__(self, pid: int, rights: int) -> None:
        self._kernel = _kernel()
        self._pid, self._rights = pid, rights

    def __enter__(self) -> int:
        self.handle: int = self._kernel.OpenProcess(self._rights, False, self._pid) or 0
        if not self.handle and vars(ctypes)["get_last_error"]() == ACCESS_DENIED and may_open_all():
            self.handle = self._kernel.OpenProcess(self._rights, False, self._pid) or 0
        return self.handle

    def __exit__(self, *_: object) -> None:
        if self.handle:
            self._kernel.CloseHandle(self.handle)


def may_open_all() -> bool:
    """Have this program open processes of other accounts, and of the system; False if it has no right to.

    An administrator's programs have that right (SeDebugPrivilege), but not before they ask for it.
    """
    if not OPENS_ALL:
        from provisioner.remote.platforms.windows.access import enable

        OPENS_ALL.append(enable("SeDebugPrivilege"))
    return OPENS_ALL[0]


def program_of(pid: int) -> str:
    """Return the full path of a process's program, empty if it can't be known."""
    kernel = _kernel()
    kernel.QueryFullProcessImageNameW.argtypes = (
        wintypes.HANDLE, wintypes.DWORD, wintypes.LPWSTR, ctypes.POINTER(wintypes.DWORD),
    )  # fmt: skip
    with _Opened(pid, QUERY_LIMITED) as handle:
        path, size = ctypes.create_unicode_buffer(32768), wintypes.DWORD(32768)
        known = handle and kernel.QueryFullProcessImageNameW(handle, 0, path, ctypes.byref(size))
        return path.value if known else ""


def born(pid: int) -> int:
    """Return when a process was created, in units of 100 ns since 1601: with the pid it tells one from all others.

    0 if there is none, or if it has ended and is only held by somebody.
    """
    kernel = _kernel()
    kernel.GetProcessTimes.argtypes = (wintypes.HANDLE, *(ctypes.POINTER(wintypes.FILETIME),) * 4)
    with _Opened(pid, QUERY_LIMITED) as handle:
        times = [wintypes.FILETIME() for _ in range(4)]
        if not handle or not kernel.GetProcessTimes(handle, *(ctypes.byref(each) for each in times)):
            return 0
        return (times[0].dwHighDateTime << 32) + times[0].dwLowDateTime if runs(pid) else 0


def cycles(pid: int) -> str:
    """Return how many cycles of a processor a process has used, empty if that can't be known."""
    kernel = _kernel()
    kernel.QueryProcessCycleTime.argtypes = (wintypes.HANDLE, ctypes.POINTER(ctypes.c_ulonglong))
    with _Opened(pid, QUERY_LIMITED) as handle:
        used = ctypes.c_ulonglong()
        return str(used.value) if handle and kernel.QueryProcessCycleTime(handle, ctypes.byref(used)) else ""


def runs(pid: int) -> bool:
    """Tell whether there is such a process and it has not ended."""
    kernel = _kernel()
    kernel.WaitForSingleObject.argtypes = (wintypes.HANDLE, wintypes.DWORD)
    with _Opened(pid, SYNCHRONIZE) as handle:
        return bool(handle) and kernel.WaitForSingleObject(handle, 0) == STILL_THERE


def terminate(pid: int) -> bool:
    """End a process at once; False if it may not be ended, or there is none."""
    kernel = _kernel()
    kernel.TerminateProcess.argtypes = (wintypes.HANDLE, wintypes.UINT)
    with _Opened(pid, TERMINATE) as handle:
        return bool(handle and kernel.TerminateProcess(handle, 1))


def listeners() -> Dict[int, int]:
    """Return the pid of who listens, by TCP port, on any address of either family."""
    found: Dict[int, int] = {}
    for family, row, port, pid in ((2, 24, 8, 20), (23, 56, 20, 52)):  # MIB_TCPROW_OWNER_PID, MIB_TCP6ROW_OWNER_PID
        table = _tcp_table(family)
        for at in range(4, len(table) - row + 1, row):
            found[int.from_bytes(table[at + port : at + port + 2], "big")] = int.from_bytes(
                table[at + pid : at + pid + 4], "little"
            )
    return found


def listening() -> List[Tuple[str, int]]:
    """Return address and port of everything that listens, of either family."""
    import ipaddress

    found = []
    for family, row, address, width, port in ((2, 24, 4, 4, 8), (23, 56, 0, 16, 20)):
        table = _tcp_table(family)
        for at in range(4, len(table) - row + 1, row):
            where = ipaddress.ip_address(table[at + address : at + address + width])
            found.append((str(where), int.from_bytes(table[at + port : at + port + 2], "big")))
    return found


def _tcp_table(family: int) -> bytes:
    """Return GetExtendedTcpTable's answer: a number of rows, and the rows."""
    helper, size = library("iphlpapi"), wintypes.DWORD(0)
    for _ in range(5):  # it may grow between the question for its size and the one for itself
        buffer = ctypes.create_string_buffer(max(size.value, 4))
        code = helper.GetExtendedTcpTable(buffer, ctypes.byref(size), False, family, LISTENING, 0)
        if code == 0:
            rows = int.from_bytes(buffer.raw[:4], "little")
            return buffer.raw[: 4 + rows * (24 if family == 2 else 56)]
        if code != TOO_SMALL:
            break
    return b""
