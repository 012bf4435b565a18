"""setx, whoami, tar: only what a provisioner needs, strict, everything else refused."""

import os
import re
import subprocess

from common import USER_SID, in_use, look_up, unix_path


# --- setx -----------------------------------------------------------------------------------------
# Follows the setx reference: setx NAME VALUE [/M]; value cut at 1024 characters with a warning, %NAME% kept only as
# typed (cmd has expanded it before), REG_EXPAND_SZ when a % is left; not visible to running processes. /S, /K, /F, /X
# are not simulated.
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


# --- whoami ---------------------------------------------------------------------------------------
def whoami(call):
    """whoami [/user | /groups | /priv] [/fo csv|list|table] [/nh]: an administrator, as with a key logon."""
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


# --- tar ------------------------------------------------------------------------------------------
def tar(call):
    """tar.exe of Windows 10 1803+ is bsdtar: so is this one (Debian's). Files in use are refused."""
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
                    f"tar.exe: {name}: Can't unlink already-existing object: Permission denied\ntar.exe: Error "
                    f"exit delayed from previous errors.\n"
                )
                return 1
    done = subprocess.run(argv, cwd=target, input=data, capture_output=True)
    call.raw(done.stdout)
    call.raw(done.stderr.replace(b"bsdtar:", b"tar.exe:").replace(b"\n", b"\r\n"), error=True)
    return done.returncode
