"""icacls.exe: access lists are recorded, not enforced.

Follows the icacls reference: /grant[:r] /deny /remove[:g|:d] /inheritance:e|d|r /setowner /reset with /T /C /L /Q;
accounts are names or *SIDs; an account that does not exist is an error (1332). ACLs are recorded (acls.json), not
enforced."""

import os
import re

from common import DRIVE_C, USER_SID, load_json, save_json, unix_path

PERMISSION = re.compile(r"(\((?:OI|CI|IO|NP|I)\))*(?:[NFMRWD]|RX|\((?:[A-Z]{1,3})(?:,[A-Z]{1,3})*\))$", re.I)
KNOWN = {
    "system",
    "administrators",
    "users",
    "everyone",
    "authenticated users",
    "builtin\\administrators",
    "builtin\\users",
    "creator owner",
    "nt authority\\system",
    "nt authority\\authenticated users",
    "owner rights",
}
KNOWN_SIDS = re.compile(r"S-1-(1-0|3-[014]|5-(11|18|19|20)|5-32-5\d\d)$", re.I)


def icacls(call):
    def fail(text, code):
        call.out(f"{text}\n" if text else "")
        call.out("Successfully processed 0 files; Failed processing 1 files\n" if code != 87 else "")
        return code

    if not call.args or call.args[0].startswith("/"):
        return fail('Invalid parameter "%s"' % (call.args[0] if call.args else ""), 87)
    shown = call.args[0]
    path = unix_path(shown, call.cwd)
    user = call.config["user"].lower()

    def exists(account):
        low = account.lower()
        if low.startswith("*"):
            return bool(KNOWN_SIDS.match(low[1:])) or low[1:] == USER_SID.lower()
        return low in KNOWN or low.split("\\")[-1] == user

    inherited = [
        ["NT AUTHORITY\\SYSTEM", "(I)(F)"],
        ["BUILTIN\\Administrators", "(I)(F)"],
        ["BUILTIN\\Users", "(I)(RX)"],
    ]
    if path is None or not os.path.lexists(path):
        return fail(f"{shown}: The system cannot find the file specified.", 2)
    store = load_json("acls", {})
    key = path[len(DRIVE_C) :].lower()
    acl = store.get(key, {"owner": "BUILTIN\\Administrators", "entries": inherited})
    entries, i, changed = [list(e) for e in acl["entries"]], 1, False
    while i < len(call.args):
        option, _, suffix = call.args[i].lower().partition(":")
        i += 1
        if option in ("/t", "/c", "/l", "/q"):
            continue
        changed = True
        if option == "/inheritance" and suffix in ("e", "d", "r"):
            if suffix == "r":
                entries = [e for e in entries if not e[1].startswith("(I)")]
            elif suffix == "d":
                entries = [[a, p.replace("(I)", "", 1)] for a, p in entries]
            elif not any(e[1].startswith("(I)") for e in entries):
                entries += inherited
        elif option in ("/grant", "/deny") and suffix in ("", "r"):
            taken = 0
            while i < len(call.args) and not call.args[i].startswith("/"):
                account, colon, permission = call.args[i].rpartition(":")
                if not colon or not PERMISSION.match(permission):
                    return fail(f'Invalid parameter "{call.args[i]}"', 87)
                if not exists(account):
                    return fail(f"{account}: No mapping between account names and security IDs was done.", 1332)
                if suffix == "r":
                    entries = [e for e in entries if e[0].lower() != account.lower() or e[1].startswith("(I)")]
                entries.append(
                    [
                        account,
                        ("(DENY)" if option == "/deny" else "")
                        + (permission if "(" in permission else f"({permission.upper()})"),
                    ]
                )
                i, taken = i + 1, taken + 1
            if not taken:
                return fail(f'Invalid parameter "{call.args[i - 1]}"', 87)
        elif option == "/remove" and suffix in ("", "g", "d") and i < len(call.args):
            if not exists(call.args[i]):
                return fail(f"{call.args[i]}: No mapping between account names and security IDs was done.", 1332)
            entries = [e for e in entries if e[0].lower() != call.args[i].lower() or e[1].startswith("(I)")]
            i += 1
        elif option == "/setowner" and i < len(call.args):
            if not exists(call.args[i]):
                return fail(f"{call.args[i]}: No mapping between account names and security IDs was done.", 1332)
            acl["owner"], i = call.args[i], i + 1
        elif option == "/reset":
            entries = inherited
        else:
            return fail(f'Invalid parameter "{call.args[i - 1]}"', 87)
    if changed:
        store[key] = {"owner": acl["owner"], "entries": entries}
        save_json("acls", store)
        call.out(f"processed file: {shown}\n")
    else:
        pad = " " * len(shown)
        call.out("\n".join(f"{shown if n == 0 else pad} {a}:{p}" for n, (a, p) in enumerate(entries)) + "\n\n")
    call.out("Successfully processed 1 files; Failed processing 0 files\n")
    return 0
