"""The registry: reading it, and the environment variables that are kept in it.

Variables of the machine lie in one key, those of an account in another; services and sessions that begin later get
both, the account's over the machine's, PATH apart (Microsoft, "User Environment Variables"). setx would cut a value at
1024 characters.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

MACHINE = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment"
USER = r"HKCU\Environment"
ANNOUNCE_LIMIT = 5.0
"""Seconds for all windows together to hear of a change; each of them may take one."""


def _winreg() -> Any:
    if sys.platform == "win32":
        import winreg

        return winreg
    raise OSError("there is no registry on this system")


def _split(key: str) -> Tuple[Any, str]:
    """Return the handle of a key's hive and the path below it."""
    hive, _, path = key.partition("\\")
    names = {"HKLM": "HKEY_LOCAL_MACHINE", "HKCU": "HKEY_CURRENT_USER"}
    return getattr(_winreg(), names[hive]), path


def _open(key: str, write: bool = False) -> Any:
    """Open a key as 64-bit programs see it, whatever this interpreter is; raises FileNotFoundError."""
    winreg = _winreg()
    access = winreg.KEY_READ | winreg.KEY_WOW64_64KEY
    hive, path = _split(key)
    return winreg.OpenKeyEx(hive, path, 0, access | winreg.KEY_SET_VALUE if write else access)


def read(key: str, name: str) -> Any:
    """Return the data of a value as Python has it, None if there is none, or none that we may read.

    Args:
        key: with its hive, such as ``HKLM\\SOFTWARE\\OpenSSH``.
        name: of the value.
    """
    try:
        with _open(key) as opened:
            return _winreg().QueryValueEx(opened, name)[0]
    except OSError:
        return None


def values(key: str) -> Dict[str, Any]:
    """Return all values of a key by name; nothing if there is no such key.

    Raises:
        PermissionError: we may not read it.
    """
    winreg = _winreg()
    try:
        opened = _open(key)
    except FileNotFoundError:
        return {}
    with opened:
        found: List[Tuple[str, Any, int]] = []
        for number in range(winreg.QueryInfoKey(opened)[1]):
            try:
                found.append(winreg.EnumValue(opened, number))
            except OSError:  # one was removed meanwhile
                break
    return {name: data for name, data, _ in found}


class Variables:
    """The environment variables of the machine, or of the account that logged in.

    Args:
        machine: those of the machine; only an administrator may change them.
    """

    def __init__(self, machine: bool) -> None:
        self.path = MACHINE if machine else USER

    def get(self, name: str) -> Optional[str]:
        """Return the value as a new process finds it, None if there is none."""
        found = self._query(name)
        if found is None or not isinstance(found[0], str):
            return None
        winreg = _winreg()
        expanded: str = winreg.ExpandEnvironmentStrings(found[0]) if found[1] == winreg.REG_EXPAND_SZ else found[0]
        return expanded

    def set(self, name: str, value: str) -> None:
        """Have new processes find that value, letter for letter: ``%`` means nothing in it."""
        self._write(name, value, _winreg().REG_SZ)
        announce()

    def keep(self, name: str) -> Dict[str, Any]:
        """Return what ``put_back`` needs: the data and its type (a REG_* number), or that there is none."""
        found = self._query(name)
        if found is None:
            return {"type": None}
        data, kind = found
        return {"type": kind, "hex": data.hex()} if isinstance(data, bytes) else {"type": kind, "data": data}

    def put_back(self, name: str, kept: Dict[str, Any]) -> None:
        """Have the value be what it was, of the type it had, or absent if it was."""
        if kept["type"] is None:
            self._delete(name)
        else:
            self._write(name, bytes.fromhex(kept["hex"]) if "hex" in kept else kept["data"], kept["type"])
        announce()

    def _query(self, name: str) -> Optional[Tuple[Any, int]]:
        try:
            with _open(self.path) as opened:
                data, kind = _winreg().QueryValueEx(opened, name)
        except FileNotFoundError:
            return None
        return data, kind

    def _write(self, name: str, data: Any, kind: int) -> None:
        with _open(self.path, write=True) as opened:
            _winreg().SetValueEx(opened, name, 0, kind, data)

    def _delete(self, name: str) -> None:
        try:
            with _open(self.path, write=True) as opened:
                _winreg().DeleteValue(opened, name)
        except FileNotFoundError:
            return


def announce() -> None:
    """Tell the programs of this session that variables changed (WM_SETTINGCHANGE, "Environment"): those that listen,
    such as the Explorer, give them to what they start. None of them can keep us waiting."""
    import threading

    thread = threading.Thread(target=_broadcast, daemon=True, name="announce")
    thread.start()
    thread.join(ANNOUNCE_LIMIT)


def _broadcast() -> None:
    import ctypes

    from provisioner.remote.platforms.windows import calls

    everybody, setting_change, abort_if_hung, each = 0xFFFF, 0x001A, 0x0002, 1000
    send = calls.library("user32").SendMessageTimeoutW
    send.argtypes = [ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p, ctypes.c_wchar_p, ctypes.c_uint, ctypes.c_uint,
                     ctypes.c_void_p]  # fmt: skip
    send(everybody, setting_change, None, "Environment", abort_if_hung, each, None)
