"""The registry: what makes Wine's fresh one a Windows machine's, another user's name in it, and its exports."""

from __future__ import annotations

import re

REPLACED_PROGRAMS = "schtasks netsh setx icacls whoami tar powershell taskkill".split()  # noqa: SIM905 - a list of words
"""Programs of ours that stand where Wine has stubs."""
MACHINE_ENVIRONMENT = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Session Manager\Environment"
USER_ENVIRONMENT = r"HKEY_CURRENT_USER\Environment"
OPENSSH = r"HKEY_LOCAL_MACHINE\SOFTWARE\OpenSSH"
FILE_SYSTEM = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\FileSystem"
LOOKED_AT = (
    MACHINE_ENVIRONMENT,
    USER_ENVIRONMENT,
    OPENSSH,
    FILE_SYSTEM,
    r"HKEY_LOCAL_MACHINE\SOFTWARE\Python",
    r"HKEY_CURRENT_USER\Software\Python",
    r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Run",
    r"HKEY_CURRENT_USER\Software\Microsoft\Windows\CurrentVersion\Run",
    r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services",
)
"""Keys whose values a listing shows."""

_SYSTEM = r"%SystemRoot%"
_MACHINE_PATH = ";".join(
    [
        rf"{_SYSTEM}\system32",
        _SYSTEM,
        rf"{_SYSTEM}\System32\Wbem",
        r"%SYSTEMROOT%\System32\WindowsPowerShell\v1.0" "\\",
        r"%SYSTEMROOT%\System32\OpenSSH" "\\",
    ]
)
_PROFILE = r"%USERPROFILE%\AppData\Local"


def golden_registry() -> bytes:
    """Return the .reg file with a Windows machine's environment and with our programs before Wine's."""
    temp = {"TEMP": _expand(rf"{_SYSTEM}\TEMP"), "TMP": _expand(rf"{_SYSTEM}\TEMP")}
    machine = {
        "PATH": "-",
        "winsysdir": "-",
        "PROMPT": "-",  # Wine's own
        "Path": _expand(_MACHINE_PATH),
        "ComSpec": _expand(rf"{_SYSTEM}\system32\cmd.exe"),
        "DriverData": _text(r"C:\Windows\System32\Drivers\DriverData"),
        "PATHEXT": _text(".COM;.EXE;.BAT;.CMD;.VBS;.VBE;.JS;.JSE;.WSF;.WSH;.MSC"),
        **temp,
        "windir": _expand(_SYSTEM),
    }
    user = {
        "Path": _expand(rf"{_PROFILE}\Microsoft\WindowsApps;"),
        "TEMP": _expand(rf"{_PROFILE}\Temp"),
        "TMP": _expand(rf"{_PROFILE}\Temp"),
    }
    keys: dict[str, dict[str, str]] = {
        MACHINE_ENVIRONMENT: machine,
        USER_ENVIRONMENT: user,
        FILE_SYSTEM: {"LongPathsEnabled": "dword:00000000"},
        OPENSSH: {},
        r"HKEY_CURRENT_USER\Software\Wine\DllOverrides": {f"{name}.exe": '"native"' for name in REPLACED_PROGRAMS},
    }
    lines = ["Windows Registry Editor Version 5.00", ""]
    for key, values in keys.items():
        lines += [f"[{key}]", *(f'"{name}"={data}' for name, data in values.items()), ""]
    return b"\xff\xfe" + "\r\n".join(lines).encode("utf-16-le")


def renamed_user(text: str, old: str, new: str) -> str:
    """Return a file of Wine's registry with another user's name in its paths; Wine writes such names as ``\\xac00``."""
    escaped = "".join(char if char.isascii() else f"\\x{ord(char):04x}" for char in new)
    places = re.compile(rf"(?i)(\\\\users\\\\){re.escape(old)}(?=[\\\"])")
    return places.sub(lambda found: found[1] + escaped, text)


def values(export: str) -> dict[str, str]:
    """Return what a .reg export holds: key, or key and value's name after a colon -> data, ``""`` for a key itself."""
    found: dict[str, str] = {}
    key = ""
    for line in re.sub(r",\\\r?\n\s*", ",", export).splitlines():
        if line.startswith("["):
            key = line.strip("[]")
            found[key] = ""
        elif key and (match := re.match(r'(@|"(?:[^"\\]|\\.)*")=(.*)', line)):
            found[f"{key}: {match[1]}"] = match[2]
    return found


def _text(value: str) -> str:
    return '"' + value.replace("\\", "\\\\") + '"'


def _expand(value: str) -> str:
    return "hex(2):" + ",".join(f"{byte:02x}" for byte in f"{value}\0".encode("utf-16-le"))
