"""What the programs inside a stand-in host share: its settings, the Windows environment, paths, code pages."""

import json
import os

PREFIX = "/opt/w/prefix"
DRIVE_C = PREFIX + "/drive_c"
RUN = "/run/stand-in"  # port, machine-env (the snapshot), spec/, ready
STATE = "/var/lib/stand-in"  # survives a reboot: acls.json, tasks.json
CONFIG = "/etc/stand-in.json"
WINE = "/usr/lib/wine/wine64"
LAUNCH = r"C:\stand-in\launch.exe"
USER_SID = "S-1-5-21-0-0-0-1000"  # what Wine's tokens say


def config():
    with open(CONFIG) as file:
        return json.load(file)


def change_config(**values):
    data = {**config(), **values}
    with open(CONFIG + ".new", "w") as file:
        json.dump(data, file, indent=1)
    os.replace(CONFIG + ".new", CONFIG)


def load_json(name, default):
    try:
        with open(f"{STATE}/{name}.json") as file:
            return json.load(file)
    except FileNotFoundError:
        return default


def save_json(name, data):
    os.makedirs(STATE, exist_ok=True)
    with open(f"{STATE}/{name}.json.new", "w") as file:
        json.dump(data, file, indent=1, ensure_ascii=False)
    os.replace(f"{STATE}/{name}.json.new", f"{STATE}/{name}.json")


def wine_env(cfg):
    """The Linux environment of every Wine process. The Windows one is made by launch.exe."""
    locale = "ko_KR.UTF-8" if cfg["codepage"] == 949 else "en_US.UTF-8"
    return {
        "HOME": "/root",
        "PATH": "/usr/bin:/bin",
        "LC_ALL": locale,
        "XDG_RUNTIME_DIR": "/run",
        "WINEPREFIX": PREFIX,
        "WINEARCH": "win64",
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": "mscoree=;mshtml=;taskschd=n",
    }


def encoding(cfg):
    return "cp%d" % cfg["codepage"]


def base_env(cfg, system=False):
    """What a Windows process has besides the registry's variables; system: of the LocalSystem account."""
    user, host = cfg["user"], cfg["name"].upper()
    profile = r"C:\Windows\system32\config\systemprofile" if system else "C:\\Users\\" + user
    env = {
        "ALLUSERSPROFILE": r"C:\ProgramData",
        "APPDATA": profile + r"\AppData\Roaming",
        "LOCALAPPDATA": profile + r"\AppData\Local",
        "CommonProgramFiles": r"C:\Program Files\Common Files",
        "CommonProgramFiles(x86)": r"C:\Program Files (x86)\Common Files",
        "CommonProgramW6432": r"C:\Program Files\Common Files",
        "COMPUTERNAME": host,
        "ProgramData": r"C:\ProgramData",
        "ProgramFiles": r"C:\Program Files",
        "ProgramFiles(x86)": r"C:\Program Files (x86)",
        "ProgramW6432": r"C:\Program Files",
        "PUBLIC": r"C:\Users\Public",
        "SystemDrive": "C:",
        "SystemRoot": r"C:\Windows",
        "USERDOMAIN": "WORKGROUP" if system else host,
        "USERNAME": host + "$" if system else user,
        "USERPROFILE": profile,
    }
    if not system:
        env.update(HOMEDRIVE="C:", HOMEPATH="\\Users\\" + user)
    return env


def write_spec(records):
    """A SPECFILE for launch.exe (its header explains the records); returns its Linux path."""
    os.makedirs(RUN + "/spec", exist_ok=True)
    path = "%s/spec/%d-%s" % (RUN, os.getpid(), os.urandom(4).hex())
    with open(path, "wb") as file:
        file.write("".join(r + "\0" for r in records).encode("utf-16-le", "surrogatepass"))
    return path


def win_path(unix):
    """Z: shows the Linux tree to Wine."""
    return "Z:" + unix.replace("/", "\\")


def look_up(base, parts):
    """Walks down from base ignoring case, as Windows does. Parts that do not exist are kept as they are."""
    path = base
    for part in parts:
        exact = os.path.join(path, part)
        if not os.path.lexists(exact):
            try:
                low = part.lower()
                exact = next((os.path.join(path, n) for n in os.listdir(path) if n.lower() == low), exact)
            except OSError:
                pass
        path = exact
    return path


def unix_path(windows, cwd="C:\\"):
    """C:\\dir\\file (also relative to cwd, also with /) -> Linux path, ignoring case; None if there is no drive."""
    text = windows.replace("/", "\\")
    if text[1:2] != ":":
        text = (cwd[:2] + text) if text.startswith("\\") else cwd.rstrip("\\") + "\\" + text
    drive, parts = text[0].lower(), []
    for part in text[2:].split("\\"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part.rstrip(" ."))
    root = {"c": DRIVE_C, "z": "/"}.get(drive)
    return None if root is None else look_up(root, parts)


def split_command_line(line):
    """A raw command line -> arguments (without the program), by the rules of Microsoft's C run-time."""
    args, i, n = [], 0, len(line)
    if line[:1] == '"':  # the program name has rules of its own
        i = line.find('"', 1) + 1 or n
    else:
        while i < n and line[i] not in " \t":
            i += 1
    while True:
        while i < n and line[i] in " \t":
            i += 1
        if i >= n:
            return args
        arg, quoted = "", False
        while i < n and (quoted or line[i] not in " \t"):
            slashes = 0
            while i < n and line[i] == "\\":
                slashes += 1
                i += 1
            if i < n and line[i] == '"':
                arg += "\\" * (slashes // 2)
                if slashes % 2:
                    arg += '"'
                elif quoted and line[i + 1 : i + 2] == '"':
                    arg += '"'
                    i += 1
                else:
                    quoted = not quoted
                i += 1
            else:
                arg += "\\" * slashes
                if i < n and (quoted or line[i] not in " \t"):
                    arg += line[i]
                    i += 1
        args.append(arg)


def in_use(path):
    """None, 'image' (a running program or loaded DLL) or 'open', by Wine's processes: Linux would let us replace it."""
    real, found = os.path.realpath(path), None
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm") as file:
                if file.read().strip() == "wineserver":
                    for fd in os.listdir(f"/proc/{pid}/fd"):
                        if os.readlink(f"/proc/{pid}/fd/{fd}") == real:
                            found = found or "open"
            with open(f"/proc/{pid}/maps", errors="surrogateescape") as file:
                if any(line.rstrip("\n").endswith(" " + real) for line in file):
                    return "image"
        except OSError:
            continue
    return found
