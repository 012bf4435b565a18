"""ForceCommand of the host's sshd: what Win32-OpenSSH does with an "exec", "shell" or "subsystem sftp" request.

It relays stdin/stdout/stderr through pipes and leaves when the Windows process has ended, so a process that broke
away from the session's job does not keep the channel open ("hang" in the settings brings back that behaviour of the
real server, Win32-OpenSSH issue 2452). When the connection is lost the command runs on (issue 1751)."""

import os
import re
import subprocess
import sys
import threading
import time

sys.path.insert(0, "/opt/stand-in")
from common import DRIVE_C, LAUNCH, RUN, WINE, base_env, config, encoding, win_path, wine_env, write_spec

cfg = config()
raw = os.environb.get(b"SSH_ORIGINAL_COMMAND", b"")
if raw == b"internal-sftp":
    os.execv("/usr/bin/python3", ["python3", "-IS", "/opt/stand-in/sftp.py"])
command = raw.decode("utf-8", "replace").replace("\0", "")

result = "%s/spec/rc-%d" % (RUN, os.getpid())
env = base_env(cfg)
env["PROMPT"] = f"{cfg['user']}@{cfg['name'].upper()} $P$G"
for name in ("SSH_CLIENT", "SSH_CONNECTION", "SSH_TTY"):
    if os.environ.get(name):
        env[name] = os.environ[name]
spec = write_spec(
    ["E%s=%s" % x for x in env.items()]
    + [
        "M" + win_path(RUN + "/machine-env"),
        "U",
        "J",
        "R" + win_path(result),
        "DC:\\Users\\" + cfg["user"],
        "X" + command,
    ]
)
stdin_r, stdin_w = os.pipe()
stdout_r, stdout_w = os.pipe()
stderr_r, stderr_w = os.pipe()
process = subprocess.Popen(
    [WINE, LAUNCH, "run", win_path(spec)],
    stdin=stdin_r,
    stdout=stdout_w,
    stderr=stderr_w,
    env=wine_env(cfg),
    cwd=f"{DRIVE_C}/Users/{cfg['user']}",
)
for fd in (stdin_r, stdout_w, stderr_w):
    os.close(fd)

UNKNOWN = re.compile(rb"Can't recognize '([^\r\n]*)' as an internal or external command, or batch script\.")
KOREAN = "'%s'은(는) 내부 또는 외부 명령, 실행할 수 있는 프로그램, 또는\r\n배치 파일이 아닙니다."
ENGLISH = "'%s' is not recognized as an internal or external command,\r\noperable program or batch file."
seen = {"unknown": False, "time": time.monotonic()}


def as_on_windows(data):
    """Wine's cmd.exe words this one message differently (and names the whole line, not the command)."""

    def words(match):
        seen["unknown"] = True
        name = match[1].decode(encoding(cfg), "replace").split(" ")[0]
        return ((KOREAN if cfg["codepage"] == 949 else ENGLISH) % name).encode(encoding(cfg), "replace")

    return UNKNOWN.sub(words, data)


def pump(source, target, change=None, close=False):
    gone = False
    while True:
        try:
            data = os.read(source, 65536)
        except OSError:
            break
        if not data:
            break
        seen["time"] = time.monotonic()
        data = change(data) if change else data
        while data and not gone:
            try:
                data = data[os.write(target, data) :]
            except OSError:  # the client went away: the command goes on, its output is dropped
                gone = True
                if close:
                    return
    if close:
        os.close(target)


threads = [
    threading.Thread(target=pump, args=x, daemon=True)
    for x in ((0, stdin_w, None, True), (stdout_r, 1), (stderr_r, 2, as_on_windows))
]
for thread in threads:
    thread.start()
code = process.wait()
seen["time"] = (
    time.monotonic()
)  # what is still in the pipes gets out; then silence of 0.15 s means that only a stranger holds them
while any(t.is_alive() for t in threads[1:]) and (cfg.get("hang") or time.monotonic() - seen["time"] < 0.15):
    for thread in threads[1:]:
        thread.join(0.01)
try:
    with open(result) as file:
        code = int(file.read())
    os.unlink(result)
except (OSError, ValueError):
    pass
os.unlink(spec)
if code == 9009 and seen["unknown"]:
    code = 1  # Wine's cmd ends with 9009, the real one with 1
# A Linux sshd sends 8 bits; the real one sends all 32. A failure must never turn into a 0.
os._exit(code & 255 or (255 if code else 0))
