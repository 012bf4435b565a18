"""What this Mac is, without starting a program: its release, its processor, and what programs are made for."""

from __future__ import annotations

import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import FrozenSet, Sequence

RELEASE_FILES = (
    "/System/Library/CoreServices/.SystemVersionPlatform.plist",
    "/System/Library/CoreServices/SystemVersion.plist",
)
"""The second says 10.16 to programs that were built for macOS 10.15 or older; the first, since macOS 11, the truth."""
CPU_TYPES = {0x01000007: "x86_64", 0x0100000C: "aarch64"}
"""``cputype`` in a Mach-O header (mach/machine.h)."""


def release(files: Sequence[str] = RELEASE_FILES) -> str:
    """Return the release of macOS, such as ``15.6.1``, as ``sw_vers`` would; empty if it can't be read."""
    for path in files:
        try:
            with open(path, encoding="utf-8") as file:
                found = re.search(r"<key>ProductVersion</key>\s*<string>([\d.]+)</string>", file.read())
        except (OSError, ValueError):
            continue
        if found:
            return found.group(1)
    return ""


def processor(machine: str, translated: bool) -> str:
    """Return the processor's name.

    Args:
        machine: what the kernel tells this program, which is x86_64 under Rosetta.
        translated: whether this program runs under Rosetta.
    """
    return "aarch64" if machine == "arm64" or translated else machine


def is_translated() -> bool:
    """Tell whether this program is one for Intel that runs under Rosetta (Apple, "About the Rosetta translation
    environment": sysctl.proc_translated is 1; where there is no Rosetta there is no such name)."""
    import ctypes

    value, size = ctypes.c_int(0), ctypes.c_size_t(ctypes.sizeof(ctypes.c_int))
    try:
        ask = ctypes.CDLL(None).sysctlbyname
    except (AttributeError, OSError):
        return False
    code = ask(b"sysctl.proc_translated", ctypes.byref(value), ctypes.byref(size), None, ctypes.c_size_t(0))
    return code == 0 and value.value == 1


def processors_of(program: str) -> FrozenSet[str]:
    """Return the processors that a program is made for; nothing if it is no Mach-O file (mach-o/loader.h, fat.h)."""
    try:
        with open(os.path.realpath(program), "rb") as file:
            header = file.read(4096)
    except OSError:
        return frozenset()
    if header[:4] == b"\xcf\xfa\xed\xfe":
        types = [int.from_bytes(header[4:8], "little")]
    elif header[:4] in (b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf"):
        size = 20 if header[3] == 0xBE else 32
        count = min(int.from_bytes(header[4:8], "big"), 16)  # a Java class begins alike, and has a large number here
        types = [int.from_bytes(header[8 + size * each : 12 + size * each], "big") for each in range(count)]
    else:
        return frozenset()
    return frozenset(CPU_TYPES[each] for each in types if each in CPU_TYPES)
