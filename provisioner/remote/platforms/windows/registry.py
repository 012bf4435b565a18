"""The registry: reading it, and the environment variables that are kept in it.

Variables of the machine lie in one key, those of an account in another; services and sessions that begin later get
both, the account's over the machine's, PATH apart (Microsoft, "User Environment Variables"). setx would cut a value at
1024 characters.
"""

from __future__ import annotations

import sys

from provisioner.remote.platforms.base import Variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

MACHINE = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment"
USERS = r"HKU\%s\Environment"
"""Of an account, by its identifier; for the account itself it is ``HKCU\\Environment``."""
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
    names = {"HKLM": "HKEY_LOCAL_MACHINE", "HKCU": "HKEY_CURRENT_USER", "HKU": "HKEY_USERS"}
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


def own_place() -> str:
    """Return where the variables of this program's account lie, in the form in which any account finds them."""
    from provisioner.remote.platforms.windows.access import own_sid

    return USERS % own_sid()


class RegistryVariables(Variables):
    """The environment variables of the machine, or of an account.

    Those of an account are there for others, with an administrator's rights, only while it is logged on.

    Args:
        place: ``MACHINE``, or ``USERS`` with the account's identifier.
        elevated: this session has an administrator's rights.
    """

    def __init__(self, place: str, elevated: bool) -> None:
        self.place = place
        self.path = _shown(place)
        self.readable = self._opens()
        self.writable = elevated and self.readable if place == MACHINE else self._opens(write=True)

    def _opens(self, write: bool = False) -> bool:
        try:
            _open(self.place, write).Close()
        except OSError:
            return False
        return True

    def get(self, name: str) -> Optional[str]:
        found = self._query(name)
        if found is None or not isinstance(found[0], str):
            return None
        winreg = _winreg()
        expanded: str = winreg.ExpandEnvironmentStrings(found[0]) if found[1] == winreg.REG_EXPAND_SZ else found[0]
        return expanded

    def set(self, name: str, value: str) -> None:
        """See Variables. It is kept letter for letter: ``%`` means nothing in it."""
        self._write(name, value, _winreg().REG_SZ)
        announce()

    def keep(self, name: str) -> Dict[str, Any]:
        """See Variables: the data and its type (a REG_* number), or that there is none."""
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
            with _open(self.place) as opened:
                data, kind = _winreg().QueryValueEx(opened, name)
        except (FileNotFoundError, PermissionError):
            return None
        return data, kind

    def _write(self, name: str, data: Any, kind: int) -> None:
        with _open(self.place, write=True) as opened:
            _winreg().SetValueEx(opened, name, 0, kind, data)

    def _delete(self, name: str) -> None:
        try:
            with _open(self.place, write=True) as opened:
                _winreg().DeleteValue(opened, name)
        except FileNotFoundError:
            return


def _shown(place: str) -> str:
    """Return the key of variables as users know it."""
    if place == MACHINE:
        return place
    if place == own_place():
        return r"HKCU\Environment"
    from provisioner.remote.platforms.windows.access import name_of

    return "%s (of %s)" % (place, name_of(place.split("\\")[1]))


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
