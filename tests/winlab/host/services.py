"""services.py: the "system services" of one stand-in host, in Linux Python beside Wine: starts Wine and sshd, keeps
the Task Scheduler, and answers the shims (schtasks.exe, netsh.exe, ... are thin clients: win/shim.c shows the
frames)."""

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback

sys.path[:0] = ["/opt/stand-in", "/opt/stand-in-site"]
import advfirewall  # noqa: E402
import comtasks  # noqa: E402
import lists  # noqa: E402
import powershell  # noqa: E402
import scheduler  # noqa: E402
import schtasks  # noqa: E402
import tools  # noqa: E402
from common import (  # noqa: E402
    DRIVE_C,
    LAUNCH,
    PREFIX,
    RUN,
    STATE,
    WINE,
    change_config,
    config,
    encoding,
    split_command_line,
    win_path,
    wine_env,
)

SHIMS = {
    "schtasks": schtasks.main,
    "netsh": advfirewall.main,
    "setx": tools.setx,
    "icacls": lists.icacls,
    "lists": lists.main,
    "whoami": tools.whoami,
    "tar": tools.tar,
    "powershell": powershell.main,
    "com": comtasks.main,
}


def log(*words):
    print(time.strftime("%H:%M:%S"), *words, file=sys.stderr, flush=True)


def quiet(*argv):
    """Runs a Wine program with all three descriptors on /dev/null (what it leaves running would hold on to a pipe)."""
    return subprocess.call(
        [WINE, *argv],
        env=wine_env(config()),
        cwd=DRIVE_C,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


class Call:
    """One run of a shim: its arguments, and what can be done through it in its own session."""

    def __init__(self, daemon, link):
        self.daemon, self.link, self.stream = daemon, link, link.makefile("rb")
        kind, data = self.receive()
        fields = data.decode("utf-16-le", "surrogatepass").split("\0")
        self.config = config()
        self.encoding = encoding(self.config)
        self.korean = self.config["codepage"] == 949
        self.name = fields[0].lower()
        if self.name in ("ctl", "lists"):
            self.args, self.encoding = fields[1:], "utf-8"
            return
        self.line, self.cwd = fields[1], fields[2]
        self.args = split_command_line(self.line)
        self.env = {k.upper(): v for k, _, v in (f.partition("=") for f in fields[3:] if f and f[0] != "=")}

    def receive(self):
        head = self.stream.read(5)
        if len(head) < 5:
            raise ConnectionError("the shim went away")
        return head[:1], self.stream.read(struct.unpack("<I", head[1:])[0])

    def send(self, kind, data):
        self.link.sendall(kind + struct.pack("<I", len(data)) + data)

    def raw(self, data, error=False):
        if data:
            self.send(b"E" if error else b"O", data)

    def out(self, text):
        self.raw(text.replace("\n", "\r\n").encode(self.encoding, "replace"))

    def err(self, text):
        self.raw(text.replace("\n", "\r\n").encode(self.encoding, "replace"), error=True)

    def stdin(self):
        self.send(b"I", b"")
        parts = []
        while True:
            kind, data = self.receive()
            if not data:
                return b"".join(parts)
            parts.append(data)

    def run(self, line, silent=False):
        """Runs a Windows command line where the shim runs: same session, job, environment, stdio."""
        self.send(b"Q" if silent else b"R", (line + "\0").encode("utf-16-le", "surrogatepass"))
        return struct.unpack("<I", self.receive()[1])[0]

    def set_env(self, name, value):
        self.env[name.upper()] = value
        self.send(b"V", f"{name}={value}\0".encode("utf-16-le", "surrogatepass"))


class Daemon:
    def __init__(self):
        self.sshd = None
        self.scheduler = scheduler.Scheduler(log)

    def start_sshd(self):
        """Sessions see the environment that HKLM held when the service started, not what setx /M wrote since."""
        if self.sshd:
            self.sshd.terminate()
            self.sshd.wait()
        quiet(LAUNCH, "snapshot", win_path(RUN + "/machine-env"))
        cfg = config()
        with open("/etc/ssh/sshd_stand_in", "w") as file:
            file.write(f"""Port {cfg["port"]}
ListenAddress {cfg["addr"]}
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile none
AuthorizedKeysFile {DRIVE_C}/ProgramData/ssh/administrators_authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
StrictModes no
PrintMotd no
PrintLastLog no
AcceptEnv none
LogLevel VERBOSE
MaxStartups 10
Subsystem sftp internal-sftp
ForceCommand /usr/bin/python3 -IS /opt/stand-in/winshell.py
""")
        self.sshd = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-E", "/var/log/sshd.log", "-f", "/etc/ssh/sshd_stand_in"],
            stdin=subprocess.DEVNULL,
        )
        for _ in range(200):
            try:
                socket.create_connection((cfg["addr"], cfg["port"]), 1).close()
                return
            except OSError:
                time.sleep(0.02)

    def first_boot(self):
        cfg = config()
        lines = ["REGEDIT4", ""]
        if cfg["python"]:
            key = r"[HKEY_LOCAL_MACHINE\SOFTWARE\Python\PythonCore\3.11"
            path = r"C:\Program Files\Python311" "\\"
            twice = path.replace("\\", "\\\\")
            lines += [
                key + "]",
                '"DisplayName"="Python 3.11 (64-bit)"',
                '"Version"="3.11.9"',
                '"SysVersion"="3.11"',
                "",
                key + r"\InstallPath]",
                f'@="{twice}"',
                f'"ExecutablePath"="{twice}python.exe"',
                "",
            ]
        if cfg["shell"] == "powershell":
            lines += [
                r"[HKEY_LOCAL_MACHINE\SOFTWARE\OpenSSH]",
                r'"DefaultShell"="C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe"',
                "",
            ]
        with open("/tmp/first.reg", "w") as file:
            file.write("\r\n".join(lines))
        quiet("regedit", "/S", r"Z:\tmp\first.reg")
        os.makedirs(STATE, exist_ok=True)
        open(STATE + "/booted", "w").close()

    def serve(self):
        server = socket.create_server(("127.0.0.1", 0), backlog=64)
        with open(RUN + "/port", "w") as file:
            file.write(str(server.getsockname()[1]))

        def accept():
            while True:
                link, _ = server.accept()
                threading.Thread(target=self.answer, args=(link,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()

    def answer(self, link):
        with link:
            try:
                call = Call(self, link)
                try:
                    code = self.control(call) if call.name == "ctl" else SHIMS[call.name](call)
                except (ConnectionError, BrokenPipeError):
                    raise
                except Exception:
                    log(call.name, traceback.format_exc())
                    call.err(f"stand-in: internal error in the {call.name} shim\n{traceback.format_exc()}")
                    code = 250
                call.send(b"X", struct.pack("<I", (code or 0) & 0xFFFFFFFF))
            except OSError:
                pass

    def control(self, call):
        verb, *rest = call.args
        if verb == "restart-sshd":
            self.start_sshd()
        elif verb == "set":
            for pair in rest:
                key, _, value = pair.partition("=")
                if key not in ("end", "restart", "console", "hang", "speed") or not value:
                    call.out(f"no such setting: {pair}\n")
                    return 2
                change_config(**{key: value if key in ("end", "restart") else float(value)})
        elif verb == "shutdown":
            self.shutdown()
        else:
            call.out(f"unknown: {verb}\n")
            return 2
        return 0

    def shutdown(self):
        """Orderly: no more logins, tasks end, Wine's server writes the registry and ends every Windows process."""
        self.sshd.terminate()
        self.scheduler.closing = True
        subprocess.call(["/usr/lib/wine/wineserver", "-k"], env=wine_env(config()), timeout=15)
        os._exit(0)

    def run(self):
        os.makedirs(RUN + "/spec", exist_ok=True)
        signal.signal(signal.SIGTERM, lambda *_: self.shutdown())
        for name in os.listdir("/tmp"):  # a crashed Wine's leftovers
            shutil.rmtree("/tmp/" + name, ignore_errors=True) if name.startswith(".wine-") else None
        subprocess.call(
            ["/usr/lib/wine/wineserver", "-p"],
            env=wine_env(config()),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if not os.path.exists(STATE + "/booted"):
            self.first_boot()
        self.serve()
        self.scheduler.load()
        self.start_sshd()
        open(RUN + "/ready", "w").close()
        log("ready")
        self.scheduler.boot()
        self.scheduler.loop()


if __name__ == "__main__":
    assert os.path.isdir(PREFIX)
    Daemon().run()
