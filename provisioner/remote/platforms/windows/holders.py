"""Who has a file open: what the Restart Manager of Windows says (learn.microsoft.com, RmGetList)."""

from __future__ import annotations

import ctypes
from ctypes import wintypes

from provisioner.remote.platforms.windows import calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List

MOST = 8
"""Programs that are named; who has more of them sees enough."""
MORE_DATA = 234


class _Process(ctypes.Structure):
    """RM_PROCESS_INFO."""

    _fields_ = [
        ("pid", wintypes.DWORD),
        ("started", wintypes.FILETIME),
        ("name", wintypes.WCHAR * 256),
        ("service", wintypes.WCHAR * 64),
        ("kind", ctypes.c_int),
        ("status", wintypes.ULONG),
        ("session", wintypes.DWORD),
        ("restartable", wintypes.BOOL),
    ]


def holders(path: str) -> str:
    """Return the programs that have a file open, such as ``Notepad (pid 7)``; empty if none is known."""
    manager, session = calls.library("rstrtmgr"), wintypes.DWORD()
    if manager.RmStartSession(ctypes.byref(session), 0, ctypes.create_unicode_buffer(33)):
        return ""
    try:
        files = (wintypes.LPCWSTR * 1)(path)
        if manager.RmRegisterResources(session, 1, files, 0, None, 0, None):
            return ""
        return ", ".join(_listed(manager, session))
    finally:
        manager.RmEndSession(session)


def _listed(manager: Any, session: wintypes.DWORD) -> List[str]:
    found, needed, count, reasons = (_Process * MOST)(), wintypes.UINT(), wintypes.UINT(MOST), wintypes.DWORD()
    code = manager.RmGetList(session, ctypes.byref(needed), ctypes.byref(count), found, ctypes.byref(reasons))
    if code not in (0, MORE_DATA):
        return []
    return ["%s (pid %d)" % (each.name, each.pid) for each in found[: min(count.value, MOST)]]
