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


INHERITED = [
    ["NT AUTHORITY\\SYSTEM", "(I)(F)"],
    ["BUILTIN\\Administrators", "(I)(F)"],
    ["BUILTIN\\Users", "(I)(RX)"],
]
OWNER = "BUILTIN\\Administrators"


class Failed(Exception):
    """What it says, and its exit code."""


def is_inherited(entry):
    return entry[1].startswith("(I)")


class AccessList:
    """The access list of one file while options change it; ``words`` are those not read yet."""

    def __init__(self, call, known, words):
        self.user, self.words, self.changed = call.config["user"].lower(), words, False
        self.entries, self.owner = [list(entry) for entry in known["entries"]], known["owner"]

    def account(self, name):
        """The name, if there is such an account."""
        low = name.lower()
        by_sid = low.startswith("*") and (KNOWN_SIDS.match(low[1:]) or low[1:] == USER_SID.lower())
        if not by_sid and low not in KNOWN and low.split("\\")[-1] != self.user:
            raise Failed(f"{name}: No mapping between account names and security IDs was done.", 1332)
        return name

    def without(self, account):
        return [e for e in self.entries if e[0].lower() != account.lower() or is_inherited(e)]

    def option(self, word):
        name, _, suffix = word.lower().partition(":")
        if name in ("/t", "/c", "/l", "/q"):
            return
        self.changed = True
        if name == "/inheritance" and suffix in ("e", "d", "r"):
            self.inheritance(suffix)
        elif name in ("/grant", "/deny") and suffix in ("", "r") and self.words and self.words[0][:1] != "/":
            while self.words and self.words[0][:1] != "/":
                self.permit(self.words.pop(0), name == "/deny", suffix == "r")
        elif name == "/remove" and suffix in ("", "g", "d") and self.words:
            self.entries = self.without(self.account(self.words.pop(0)))
        elif name == "/setowner" and self.words:
            self.owner = self.account(self.words.pop(0))
        elif name == "/reset":
            self.entries = INHERITED
        else:
            raise Failed(f'Invalid parameter "{word}"', 87)

    def inheritance(self, how):
        if how == "r":
            self.entries = [e for e in self.entries if not is_inherited(e)]
        elif how == "d":
            self.entries = [[account, rights.replace("(I)", "", 1)] for account, rights in self.entries]
        elif not any(map(is_inherited, self.entries)):
            self.entries += INHERITED

    def permit(self, word, deny, replace):
        account, colon, rights = word.rpartition(":")
        if not colon or not PERMISSION.match(rights):
            raise Failed(f'Invalid parameter "{word}"', 87)
        self.account(account)
        if replace:
            self.entries = self.without(account)
        rights = rights if "(" in rights else f"({rights.upper()})"
        self.entries.append([account, ("(DENY)" if deny else "") + rights])


def icacls(call):
    try:
        return on_file(call, *call.args)
    except Failed as failure:
        text, code = failure.args
        call.out(f"{text}\n")
        call.out("Successfully processed 0 files; Failed processing 1 files\n" if code != 87 else "")
        return code


def on_file(call, shown="", *words):
    if not shown or shown.startswith("/"):
        raise Failed(f'Invalid parameter "{shown}"', 87)
    path = unix_path(shown, call.cwd)
    if path is None or not os.path.lexists(path):
        raise Failed(f"{shown}: The system cannot find the file specified.", 2)
    store = load_json("acls", {})
    key = path[len(DRIVE_C) :].lower()
    untouched = {"owner": OWNER, "entries": INHERITED}
    listed = AccessList(call, store.get(key, untouched), list(words))
    while listed.words:
        listed.option(listed.words.pop(0))
    if listed.changed:
        store[key] = {"owner": listed.owner, "entries": listed.entries}
        if store[key] == untouched:
            del store[key]
        save_json("acls", store)
        call.out(f"processed file: {shown}\n")
    else:
        pad = " " * len(shown)
        lines = [f"{shown if n == 0 else pad} {a}:{p}" for n, (a, p) in enumerate(listed.entries)]
        call.out("\n".join(lines) + "\n\n")
    call.out("Successfully processed 1 files; Failed processing 0 files\n")
    return 0
