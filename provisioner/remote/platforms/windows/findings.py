"""What may be amiss on a Windows machine, read from its registry before anything is changed: no program is started.

Only what does harm is a notice; the rest is said to who asks for all of it (``check --verbose``), so that a machine on
which something goes another way can be told from others.
"""

from __future__ import annotations

import os

from provisioner.remote.platforms.base import NEEDS_ELEVATION, fine, notice
from provisioner.remote.platforms.windows import programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional

    from provisioner.remote.host import Host

    Read = Callable[[str, str], Any]
    Finding = Dict[str, str]

CONTROL = r"HKLM\SYSTEM\CurrentControlSet\Control"
POLICIES = r"HKLM\SOFTWARE\Policies\Microsoft"
VERSION = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion"
FIREWALL = r"HKLM\SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy"
OLDEST = 17763
"""Build of Windows 10 1809 and Server 2019, the first with an OpenSSH server of its own."""
WINDOWS_11 = 22000
"""The first build of Windows 11, whose ProductName still says Windows 10."""
SLEEP = "238c9fa8-0aad-41ed-83f4-97be242c8f20"
"""Subgroup of power settings (Microsoft, "Power Setting GUIDs": Sleep Settings); indexes are seconds, 0 is never."""
WAYS_TO_SLEEP = (
    ("29f6c1db-86da-48c5-9fdb-f2b67b1f44da", "goes to sleep", "standby"),
    ("9d7815a6-7ee4-497e-8888-515a05f02364", "hibernates", "hibernate"),
)
RUNTIME = ("vcruntime140.dll", "vcruntime140_1.dll", "msvcp140.dll")
"""What Ray's programs link to (Visual C++ 2015-2022 runtime)."""
NETWORKS = {"DomainProfile": "domain", "PrivateProfile": "private", "StandardProfile": "private",
            "PublicProfile": "public"}  # fmt: skip
"""Keys of the firewall's profiles ([MS-GPFAS] 2.2.3); StandardProfile is the older name of the private one."""


def findings(host: Host, read: Read, exists: Callable[[str], bool] = os.path.exists) -> List[Finding]:
    """Return all that was looked at, see Platform.findings.

    Args:
        host: this one; what tasks could not do is in its ``shared``.
        read: returns the data of a registry value, by key and name, None if there is none.
        exists: tells whether there is a file.
    """
    found = [
        _elevation(host),
        _build(read),
        _long_paths(read),
        *_sleep(read),
        _fast_startup(read),
        _runtime(exists),
        *_firewall(host, read),
    ]
    return [each for each in found if each]


def _elevation(host: Host) -> Finding:
    """Name at once all that this session may not do."""
    missing = host.shared.get(NEEDS_ELEVATION) or []
    if host.platform.privileged() and missing:  # an account's part of the registry is loaded while it is logged on
        return {
            "severity": NEEDS_ELEVATION,
            "message": "the session can't: %s, since that account is not logged on" % "; ".join(missing),
            "remedy": "run the same command again while it is, or as that account",
        }
    if host.platform.privileged():
        return fine("the session is an administrator's, with all rights")
    told = "the session has no administrator's rights; variables are set for %s alone" % host.platform.login_account()
    if not missing:
        return fine(told)
    return {
        "severity": NEEDS_ELEVATION,
        "message": "%s, and it can't: %s" % (told, "; ".join(missing)),
        "remedy": "log in with an account of the host's group Administrators: over SSH it has all rights at once",
    }


def _build(read: Read) -> Finding:
    number = _number(read(VERSION, "CurrentBuildNumber"))
    if number is None:
        return fine("Windows: build not known")
    name = str(read(VERSION, "ProductName") or "Windows")
    if number >= WINDOWS_11:
        name = name.replace("Windows 10", "Windows 11")
    told = "%s %s, build %d.%s" % (name, read(VERSION, "DisplayVersion") or "", number, read(VERSION, "UBR") or 0)
    told = " ".join(told.split()).replace(" ,", ",")
    if number < OLDEST:
        return notice("%s is older than what this was made for" % told, "Windows 10 1809, Server 2019 or newer")
    return fine(told)


def _long_paths(read: Read) -> Finding:
    if read(CONTROL + r"\FileSystem", "LongPathsEnabled") == 1:
        return fine("paths may be longer than 260 characters")
    return notice(
        "paths end at 260 characters: packages with deep folders, and tasks that make such, may fail",
        r"as administrator: reg add %s\FileSystem /v LongPathsEnabled /t REG_DWORD /d 1 /f" % CONTROL,
    )


def _sleep(read: Read) -> List[Finding]:
    """Look at when the machine goes to sleep on mains power: its Ray node is lost then, and it may not wake up."""
    scheme = read(CONTROL + r"\Power\User\PowerSchemes", "ActivePowerScheme")
    told = []
    for setting, what, name in WAYS_TO_SLEEP:
        seconds = _idle_seconds(read, str(scheme or ""), setting)
        if seconds:
            told.append(
                notice(
                    "the machine %s after %d min without anybody at it: its node is lost then" % (what, seconds // 60),
                    "as administrator: powercfg /change %s-timeout-ac 0" % name,
                )
            )
    return told or [fine("the machine does not sleep on mains power, as far as its power scheme says")]


def _idle_seconds(read: Read, scheme: str, setting: str) -> int:
    """Return the seconds of idling after which a power setting acts: of the policy, the scheme, or its default."""
    keys = [
        r"%s\Power\PowerSettings\%s" % (POLICIES, setting),
        r"%s\Power\User\PowerSchemes\%s\%s\%s" % (CONTROL, scheme, SLEEP, setting),
        r"%s\Power\PowerSettings\%s\%s\DefaultPowerSchemeValues\%s" % (CONTROL, SLEEP, setting, scheme),
    ]
    for key in keys:
        seconds = _number(read(key, "ACSettingIndex"))
        if seconds is not None:
            return seconds
    return 0


def _fast_startup(read: Read) -> Finding:
    """Look whether "shut down" is half a hibernation ("Fast Startup"): session 0 wakes up then, and nothing is started
    as at a boot (Microsoft, "Distinguishing Fast Startup from Wake-from-Hibernation"). It needs hibernation, which
    ``powercfg /h off`` takes away.
    """
    hibernates = read(CONTROL + r"\Power", "HibernateEnabled")
    if hibernates is None:
        hibernates = read(CONTROL + r"\Power", "HibernateEnabledDefault")
    required = read(POLICIES + r"\Windows\System", "HiberbootEnabled") == 1
    wanted = read(CONTROL + r"\Session Manager\Power", "HiberbootEnabled") == 1
    if not (required or wanted) or hibernates == 0:
        return fine("the machine boots whenever it is switched on (no Fast Startup)")
    return notice(
        "Fast Startup is on: a machine that was shut down wakes up when it is switched on, and what belongs to a boot "
        "does not run; Ray's task is due each minute, so that the node may be a minute late (a restart is a boot)",
        "to have it boot each time, as administrator: powercfg /h off",
    )


def _runtime(exists: Callable[[str], bool]) -> Finding:
    missing = [name for name in RUNTIME if not exists(programs.system32(name))]
    if missing:
        return fine("no %s in the system: Ray's environment brings its own" % ", ".join(missing))
    return fine("the Visual C++ runtime is installed")


def _firewall(host: Host, read: Read) -> List[Finding]:
    """Look at what makes rules of ours useless."""
    told = [_shut(path) for path in host.shared.get("shut programs") or []]
    told += [_shut_ports(name, ports) for name, ports in host.shared.get("shut ports") or []]
    ignored = _networks(read, POLICIES + r"\WindowsFirewall", "AllowLocalPolicyMerge", 0)
    if ignored:
        told.append(
            notice(
                "a group policy has the firewall ignore rules of this machine on %s networks: ours, too" % ignored,
                "have the administrator of the domain allow Ray's ports between the cluster's hosts",
            )
        )
    shut = _networks(read, FIREWALL, "DoNotAllowExceptions", 1)
    if shut:
        told.append(
            notice(
                "the firewall lets nobody in on %s networks, whatever its rules say" % shut,
                "as administrator: netsh advfirewall set allprofiles firewallpolicy blockinbound,allowoutbound",
            )
        )
    return told or [fine("nothing keeps the firewall from heeding our rules")]


def _shut(path: str) -> Finding:
    return notice(
        "a firewall rule keeps other hosts from %s, and it is left to you" % path,
        'as administrator: netsh advfirewall firewall delete rule name=all dir=in program="%s"' % path,
    )


def _shut_ports(name: str, ports: str) -> Finding:
    return notice(
        "the firewall rule '%s' keeps other hosts from the ports %s, and it is left to you" % (name, ports),
        'as administrator: netsh advfirewall firewall delete rule name="%s" dir=in' % name,
    )


def _networks(read: Read, key: str, name: str, value: int) -> str:
    """Return the kinds of networks for which a profile of the firewall has that value, "" if for none."""
    kinds = [kind for profile, kind in NETWORKS.items() if read("%s\\%s" % (key, profile), name) == value]
    return " and ".join(dict.fromkeys(kinds))


def _number(data: object) -> Optional[int]:
    """Return registry data that is a number, or the text of one."""
    if isinstance(data, int):
        return data
    return int(data) if isinstance(data, str) and data.isdigit() else None
