"""Who may do what with a file: kept beside it, told and changed as Windows does it, and heeded by nobody.

Python asks through win/lists.c; icacls.exe shows a list, and does what people type: /inheritance:r and /grant. What a
file's own list says is an extended attribute of it, so it goes where the file goes; what it inherits is found anew each
time, while Windows copies that when a file is made or its folder's list changes. What has no owner of its own was made
by an administrator.

The form is that of SDDL (learn.microsoft.com, "Security Descriptor String Format", "ACE Strings")."""

import json
import os
import re

from common import DRIVE_C, USER_SID, unix_path

ATTRIBUTE = "user.list"
OWNER = "BA"
DRIVE = "D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)(A;OICIIO;0x1301bf;;;AU)(A;;0x4;;;AU)"
"""That of a fresh drive C: everybody may make folders in it, and change what is in theirs."""
OWNER_PART, LIST_PART, PROTECTED = 0x1, 0x4, 0x80000000
ENTRY = re.compile(r"\(([^()]*)\)")
NAMES = {
    "SY": "NT AUTHORITY\\SYSTEM",
    "BA": "BUILTIN\\Administrators",
    "BU": "BUILTIN\\Users",
    "AU": "NT AUTHORITY\\Authenticated Users",
    "OW": "OWNER RIGHTS",
    "WD": "Everyone",
}
SHORT = {"S-1-5-18": "SY", "S-1-5-32-544": "BA"}
RIGHTS = {"FA": "(F)", "0x1f01ff": "(F)", "0x1301bf": "(M)", "0x1200a9": "(RX)", "0x4": "(AD)"}


def main(call):
    """get PATH: prints owner and list. set PATH PARTS SDDL: changes what SECURITY_INFORMATION names."""
    verb, path, *rest = call.args
    target = unix_path(path)
    if target is None or not os.path.lexists(target):
        return 2
    if verb == "get":
        owner, protected, entries = told(target)
        call.out("O:%sD:%sAI%s" % (owner, "P" * protected, "".join("(%s)" % entry for entry in entries)))
        return 0
    parts, text = int(rest[0]), rest[1]
    known = kept(target)
    if parts & OWNER_PART:
        known["owner"] = re.match(r"O:(BA|SY|[A-Z]{2}|S-[\d-]+)", text)[1]
    if parts & LIST_PART:
        known["protected"] = bool(parts & PROTECTED)
        known["entries"] = [entry for entry in ENTRY.findall(text) if "ID" not in entry.split(";")[1]]
    os.setxattr(target, ATTRIBUTE, json.dumps(known, sort_keys=True).encode())
    return 0


def kept(path):
    """What a file's own owner and list are."""
    try:
        return json.loads(os.getxattr(path, ATTRIBUTE))
    except OSError:
        return {"owner": OWNER, "protected": False, "entries": []}


def told(path):
    """Owner, whether it keeps out what is above it, and all entries of a file, its own first."""
    if path in (DRIVE_C, "/"):
        return OWNER, True, ENTRY.findall(DRIVE)
    known, entries = kept(path), []
    if not known["protected"]:
        for entry in told(os.path.dirname(path))[2]:
            entries += inherited(entry, os.path.isdir(path))
    return known["owner"], known["protected"], known["entries"] + entries


def inherited(entry, is_folder):
    """What an entry of a folder becomes below it."""
    kind, flags, rest = entry.split(";", 2)
    if ("CI" if is_folder else "OI") not in pairs(flags):
        return []
    return ["%s;%s;%s" % (kind, "OICIID" if is_folder else "ID", rest)]


def pairs(flags):
    return [flags[at : at + 2] for at in range(0, len(flags), 2)]


def icacls(call):
    shown, *switches = call.args or ["/?"]
    if shown.startswith("/"):
        call.err("stand-in: this icacls wants a file first\n")
        return 87
    path = unix_path(shown, call.cwd)
    if path is None or not os.path.lexists(path):
        call.out("%s: The system cannot find the file specified.\n" % shown)
        call.out("Successfully processed 0 files; Failed processing 1 files\n")
        return 2
    return change(call, path, switches) if switches else show(call, shown, path)


def change(call, path, switches):
    """/inheritance:r forgets what is inherited; /grant SID:F ... adds what those may do, by *SID as README has it."""
    known = kept(path)
    while switches:
        switch = switches.pop(0).lower()
        if switch == "/inheritance:r":
            known["protected"] = True
        elif switch == "/grant":
            while switches and not switches[0].startswith("/"):
                grant = re.fullmatch(r"\*(S-[\d-]+):F", switches.pop(0))
                if not grant:
                    call.err("stand-in: this icacls grants F to *SIDs only\n")
                    return 87
                known["entries"].append("A;;FA;;;" + SHORT.get(grant[1], grant[1]))
        else:
            call.err("stand-in: this icacls knows no %s\n" % switch)
            return 87
    os.setxattr(path, ATTRIBUTE, json.dumps(known, sort_keys=True).encode())
    call.out("Successfully processed 1 files; Failed processing 0 files\n")
    return 0


def show(call, shown, path):
    user = call.config["name"].upper() + "\\" + call.config["user"]
    for number, entry in enumerate(told(path)[2]):
        _, flags, rights, _, _, sid = entry.split(";")
        marks = "".join("(%s)" % {"ID": "I"}.get(flag, flag) for flag in sorted(pairs(flags), key="IDOICIIO".find))
        who = user if sid == USER_SID else NAMES.get(sid, sid)
        call.out(
            "%s %s:%s\n" % (shown if not number else " " * len(shown), who, marks + RIGHTS.get(rights, "(%s)" % rights))
        )
    call.out("\nSuccessfully processed 1 files; Failed processing 0 files\n")
    return 0
