"""netsh, setx, icacls, whoami, tar: only what a provisioner needs, strict, everything else refused."""

import os
import re
import subprocess

from common import DRIVE_C, USER_SID, in_use, load_json, look_up, save_json, unix_path

# --- netsh --------------------------------------------------------------------------------------------------------------------------------
# Follows "Netsh AdvFirewall Firewall Commands": keyword=value after add/delete/show rule; name, dir and action are required by add; unknown
# keywords and values are errors (rc 1); add never replaces: the same name twice makes two rules; delete and show need name=.
RULE_KEYS = {
    "name",
    "dir",
    "action",
    "program",
    "service",
    "description",
    "enable",
    "profile",
    "localip",
    "remoteip",
    "localport",
    "remoteport",
    "protocol",
    "interfacetype",
    "rmtcomputergrp",
    "rmtusrgrp",
    "edge",
    "security",
}
PORTS = r"(\d{1,5}(-\d{1,5})?)(,\d{1,5}(-\d{1,5})?)*|any|rpc|rpc-epmap|iphttps|ipht"
VALUES = {
    "dir": "in|out",
    "action": "allow|block|bypass",
    "enable": "yes|no",
    "localport": PORTS,
    "remoteport": PORTS.replace("|ipht", ""),
    "profile": r"(public|private|domain|any)(,(public|private|domain))*",
    "protocol": r"\d{1,3}|icmpv4(:.*)?|icmpv6(:.*)?|tcp|udp|any",
    "interfacetype": "wireless|lan|ras|any",
    "edge": "yes|deferapp|deferuser|no",
    "security": "authenticate|authenc|authdynenc|notrequired",
}
NETSH_KOREAN = {
    "Ok.": "확인됩니다.",
    "No rules match the specified criteria.": "지정된 조건과 일치하는 규칙이 없습니다.",
    "Deleted %d rule(s).": "%d개의 규칙이 삭제되었습니다.",
}
EXCLUDED = [(5357, 5357), (49681, 49780), (50000, 50059)]


def netsh(call):
    def say(text):
        return NETSH_KOREAN.get(text, text) if call.korean else text

    def refuse(text):
        call.out(f"\n{say(text)}\n\n")
        return 1

    words = [w.lower() for w in call.args]
    if words[:2] in (["int", "ipv4"], ["interface", "ipv4"], ["int", "ip"], ["interface", "ip"]) and words[2:4] == [
        "show",
        "excludedportrange",
    ]:
        if words[4:] and words[4] not in ("protocol=tcp", "tcp", "protocol=udp", "udp"):
            return refuse("The syntax supplied for this command is not valid. Check help for the correct syntax.")
        call.out(
            "\nProtocol tcp Port Exclusion Ranges\n\nStart Port    End Port      \n----------    --------      \n"
            + "".join("%10d  %10d      \n" % r for r in EXCLUDED)
            + "\n* - Administered port exclusions.\n\n"
        )
        return 0
    if (
        words[:2] != ["advfirewall", "firewall"]
        or len(words) < 4
        or words[3] != "rule"
        or words[2] not in ("add", "delete", "show", "set")
    ):
        return refuse(
            "stand-in: this netsh command is not simulated (The following command was not found: %s.)"
            % " ".join(call.args)
        )
    verb, rules, given = words[2], load_json("firewall", []), {}
    if verb == "set":
        return refuse("stand-in: netsh advfirewall firewall set rule is not simulated")
    for arg in call.args[4:]:
        key, equals, value = arg.partition("=")
        key = key.lower()
        if not equals and verb == "show" and key == "verbose":
            given["verbose"] = "yes"
            continue
        if not equals or key not in RULE_KEYS | ({"type"} if verb == "show" else set()) or key in given:
            return refuse(
                f"'{arg}' is not a valid argument for this command.\nThe syntax supplied for this command is not valid. Check help for the correct syntax."
            )
        if not value or (key in VALUES and not re.fullmatch(VALUES[key], value, re.I)):
            return refuse("A specified value is not valid.")
        if key.endswith("port") and any(not 0 <= int(n) <= 65535 for n in re.findall(r"\d+", value)):
            return refuse("A specified port value is not valid.")
        given[key] = value
    if "name" not in given or (
        verb == "add" and (given["name"].lower() == "all" or "dir" not in given or "action" not in given)
    ):
        return refuse(
            "One or more essential parameters were not entered.\nVerify that the required parameters, and then enter the command again."
        )
    if verb == "add":
        if ("localport" in given or "remoteport" in given) and given.get("protocol", "any").lower() not in (
            "tcp",
            "udp",
        ):
            return refuse("A port can be specified only if the protocol is TCP or UDP.")
        save_json(
            "firewall",
            rules
            + [
                {
                    "enable": "yes",
                    "profile": "public,private,domain",
                    "protocol": "any",
                    "localip": "any",
                    "remoteip": "any",
                    **given,
                }
            ],
        )
        call.out("\n".join([say("Ok."), "", ""]))
        return 0
    filters = {k: v.lower() for k, v in given.items() if k not in ("verbose", "type")}
    if filters.get("name") == "all":
        del filters["name"]
    hit = [r for r in rules if all(str(r.get(k, "")).lower() == v for k, v in filters.items())]
    if not hit:
        return refuse("No rules match the specified criteria.")
    if verb == "delete":
        save_json("firewall", [r for r in rules if r not in hit])
        call.out("\n" + say("Deleted %d rule(s).") % len(hit) + "\n" + say("Ok.") + "\n\n")
        return 0
    labels = [
        ("Enabled", "enable"),
        ("Direction", "dir"),
        ("Profiles", "profile"),
        ("Grouping", ""),
        ("LocalIP", "localip"),
        ("RemoteIP", "remoteip"),
        ("Protocol", "protocol"),
        ("LocalPort", "localport"),
        ("RemotePort", "remoteport"),
        ("Edge traversal", "edge"),
    ]
    if "verbose" in given:
        labels += [("Program", "program"), ("Service", "service")]
    for rule in hit:
        call.out(f"\n{'Rule Name:':<38}{rule['name']}\n{'-' * 70}\n")
        for label, key in labels + [("Action", "action")]:
            value = rule.get(key, "No" if key == "edge" else "Any" if key.endswith("port") else "")
            if not (key.endswith("port") and rule["protocol"].lower() not in ("tcp", "udp")):
                call.out(f"{label + ':':<38}{value.upper() if key == 'protocol' else value[:1].upper() + value[1:]}\n")
    call.out(say("Ok.") + "\n\n")
    return 0


# --- setx ---------------------------------------------------------------------------------------------------------------------------------
# Follows the setx reference: setx NAME VALUE [/M]; value cut at 1024 characters with a warning, %NAME% kept only as typed (cmd has
# expanded it before), REG_EXPAND_SZ when a % is left; not visible to running processes. /S, /K, /F, /X are not simulated.
def setx(call):
    args = [a for a in call.args if a.lower() not in ("/m", "-m")]
    machine = len(args) < len(call.args)
    if len(args) != 2 or any(a[:1] == "/" for a in args[:1]):
        call.err(
            "ERROR: Invalid syntax. Default option is not allowed more than '2' time(s).\nType \"SETX /?\" for usage.\n"
            if len(args) > 2
            else 'ERROR: Invalid syntax.\nType "SETX /?" for usage.\n'
        )
        return 1
    name, value = args
    cut = len(value) > 1024
    value = value[:1024]
    key = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment" if machine else r"HKCU\Environment"
    kind = "REG_EXPAND_SZ" if "%" in value else "REG_SZ"
    if call.run(subprocess.list2cmdline(["reg", "add", key, "/v", name, "/t", kind, "/d", value, "/f"]), silent=True):
        call.err("ERROR: Access to the registry path is denied.\n")
        return 1
    call.out(
        ("\nWARNING: The data being saved is truncated to 1024 characters.\n" if cut else "")
        + ("\n성공: 지정한 값을 저장했습니다.\n" if call.korean else "\nSUCCESS: Specified value was saved.\n")
    )
    return 0


# --- icacls -------------------------------------------------------------------------------------------------------------------------------
# Follows the icacls reference: /grant[:r] /deny /remove[:g|:d] /inheritance:e|d|r /setowner /reset with /T /C /L /Q; accounts are names or
# *SIDs; an account that does not exist is an error (1332). ACLs are recorded (acls.json), not enforced.
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


# --- whoami ------------------------------------------------------------------------------------------------------------------------------
def whoami(call):
    """whoami [/user | /groups | /priv] [/fo csv|list|table] [/nh]: an administrator with the full (elevated) token, as a key logon gets."""
    user = call.config["name"].lower() + "\\" + call.config["user"].lower()
    args, style, head = [a.lower() for a in call.args], "table", True
    if "/nh" in args:
        args.remove("/nh")
        head = False
    if "/fo" in args:
        at = args.index("/fo")
        style = args[at + 1] if at + 1 < len(args) else ""
        del args[at : at + 2]
        if style not in ("csv", "table", "list"):
            call.err("ERROR: Invalid argument/option - /FO.\n")
            return 1
    tables = {
        "/user": (["User Name", "SID"], [[user, USER_SID]]),
        "/groups": (
            ["Group Name", "Type", "SID", "Attributes"],
            [
                ["Everyone", "Well-known group", "S-1-1-0", "Mandatory group, Enabled by default, Enabled group"],
                [
                    "BUILTIN\\Administrators",
                    "Alias",
                    "S-1-5-32-544",
                    "Mandatory group, Enabled by default, Enabled group, Group owner",
                ],
                [
                    "NT AUTHORITY\\NETWORK",
                    "Well-known group",
                    "S-1-5-2",
                    "Mandatory group, Enabled by default, Enabled group",
                ],
                ["Mandatory Label\\High Mandatory Level", "Label", "S-1-16-12288", ""],
            ],
        ),
        "/priv": (
            ["Privilege Name", "Description", "State"],
            [
                ["SeDebugPrivilege", "Debug programs", "Enabled"],
                ["SeBackupPrivilege", "Back up files and directories", "Enabled"],
            ],
        ),
    }
    if not args:
        call.out(user + "\n")
        return 0
    if len(args) != 1 or args[0] not in tables:
        call.err(f"ERROR: Invalid argument/option - '{call.args[0]}'.\nType \"WHOAMI /?\" for usage.\n")
        return 1
    names, rows = tables[args[0]]
    if style == "csv":
        call.out("".join(",".join(f'"{v}"' for v in r) + "\n" for r in ([names] if head else []) + rows))
    elif style == "list":
        call.out("".join("\n" + "".join(f"{n + ':':<12} {v}\n" for n, v in zip(names, r)) for r in rows))
    else:
        widths = [max(len(n), *(len(r[i]) for r in rows)) for i, n in enumerate(names)]
        lines = [" ".join(n.ljust(w) for n, w in zip(names, widths)), " ".join("=" * w for w in widths)] if head else []
        call.out("\n" + "\n".join(lines + [" ".join(v.ljust(w) for v, w in zip(r, widths)) for r in rows]) + "\n")
    return 0


# --- tar ----------------------------------------------------------------------------------------------------------------------------------
def tar(call):
    """tar.exe of Windows 10 1803+ is bsdtar: so is this one (Debian's), with Windows paths. Files in use are refused as on Windows."""
    argv, args, i, folder, archive, extract = ["bsdtar"], list(call.args), 0, call.cwd, None, False
    if args and not args[0].startswith("-"):
        args[0] = "-" + args[0]  # tar xzf ...
    while i < len(args):
        arg = args[i]
        m = re.fullmatch(r"-([A-Za-z]*)([fC])(.*)", arg) if not arg.startswith("--") else None
        if arg in ("--file", "--directory") or (m and not m[3]):
            i += 1
            if i >= len(args):
                call.err(f"tar.exe: Option {arg} requires an argument\n")
                return 1
        value = args[i] if m is None or not m[3] else m[3]
        if m is not None or arg in ("--file", "--directory") or arg.startswith(("--file=", "--directory=")):
            name, equals, tail = arg.partition("=")
            value = tail if equals and m is None else value
            is_file = m[2] == "f" if m else name == "--file"
            extract |= bool(m and "x" in m[1])
            if m and m[1]:
                argv.append("-" + m[1])
            if is_file:
                archive = value
            else:
                folder = value if value[1:2] == ":" or value[:1] in "\\/" else folder.rstrip("\\") + "\\" + value
        else:
            extract |= arg == "--extract" or bool(re.fullmatch(r"-[A-Za-z]*x[A-Za-z]*", arg))
            argv.append(arg)
        i += 1
    target = unix_path(folder, call.cwd)
    if target is None or not os.path.isdir(target):
        call.err(f"tar.exe: could not chdir to '{folder}'\n")
        return 1
    data = None
    if archive is not None and archive != "-":
        source = unix_path(archive, call.cwd)
        if extract and not os.path.isfile(source or ""):
            call.err(f"tar.exe: Error opening archive: Failed to open '{archive}'\n")
            return 1
        argv[1:1] = ["-f", source]
    else:
        argv[1:1] = ["-f", "-"]
        data = call.stdin() if extract or any(re.fullmatch(r"-[A-Za-z]*t[A-Za-z]*", a) for a in argv) else None
    if extract:
        listed = subprocess.run(["bsdtar", "-tf", argv[2]], input=data, capture_output=True)
        strip = next((int(a.split("=")[1]) for a in argv if a.startswith("--strip-components=")), 0)
        for name in listed.stdout.decode("utf-8", "replace").splitlines():
            parts = [p for p in name.split("/") if p][strip:]
            path = look_up(target, parts) if parts else ""
            if path.lower().endswith((".exe", ".dll", ".pyd")) and os.path.isfile(path) and in_use(path):
                call.err(
                    f"tar.exe: {name}: Can't unlink already-existing object: Permission denied\ntar.exe: Error exit delayed from previous errors.\n"
                )
                return 1
    done = subprocess.run(argv, cwd=target, input=data, capture_output=True)
    call.raw(done.stdout)
    call.raw(done.stderr.replace(b"bsdtar:", b"tar.exe:").replace(b"\n", b"\r\n"), error=True)
    return done.returncode
