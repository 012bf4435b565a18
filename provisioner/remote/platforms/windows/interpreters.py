"""Interpreters on a Windows host: those that installers have registered (PEP 514), and where others are known to lie.

None is taken from PATH: what is called python there may only open the Microsoft Store.
"""

from __future__ import annotations

import os
import sys

from provisioner.remote.folders import is_brought

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, List

_KEY = r"SOFTWARE\Python\PythonCore"
_BESIDE = (
    r"%LOCALAPPDATA%\Programs\Python\Python{flat}",
    r"%ProgramFiles%\Python{flat}",
    r"%SystemDrive%\Python{flat}",
    r"%LOCALAPPDATA%\Python\pythoncore-{series}-64",
    r"%USERPROFILE%\.pyenv\pyenv-win\versions\{version}",
    r"%APPDATA%\uv\python\cpython-{version}-windows-x86_64-none",
)


def found(version: str, minor: bool) -> List[str]:
    """See Platform.find_interpreters."""
    series = version.rpartition(".")[0]
    running = _running()
    usable = not is_brought(running)
    here = "%d.%d.%d" % sys.version_info[:3]
    if usable and version == here:
        return [running]
    paths = [*_registered(series), *_known(version, series)]
    if minor and usable and here.startswith(series + "."):
        paths.append(running)
    return [path for path in dict.fromkeys(paths) if os.path.isfile(path) and not is_brought(path)]


def _running() -> str:
    """Return the interpreter that runs this, outside any virtual environment."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def _known(version: str, series: str) -> Iterator[str]:
    for pattern in _BESIDE:
        folder = os.path.expandvars(pattern.format(version=version, series=series, flat=series.replace(".", "")))
        yield os.path.join(folder, "python.exe")


def _registered(series: str) -> List[str]:
    found: List[str] = []
    if sys.platform == "win32":
        import winreg

        for hive in (winreg.HKEY_LOCAL_MACHINE, winreg.HKEY_CURRENT_USER):
            try:
                with winreg.OpenKey(hive, r"%s\%s\InstallPath" % (_KEY, series)) as key:
                    found.append(os.path.join(str(winreg.QueryValue(key, None)), "python.exe"))
            except OSError:
                continue
    return found
