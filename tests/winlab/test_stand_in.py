"""The stand-ins themselves: they must behave like Windows where the product depends on it."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import paramiko
import pytest
from uv import find_uv_bin

from ..lab.fixtures import MachineFactory
from ..lab.listing import changes
from ..lab.shell import LabError, wait_until
from . import taskxml
from .fixtures import StandInFactory
from .stand_in import StandIn, StandIns

PYTHON = r'"C:\Program Files\Python311\python.exe"'
KOREAN_USER = "김철수"
SLEEP = "import time; time.sleep(300)"


@pytest.fixture(scope="module")
def win(module_stand_ins: StandInFactory) -> StandIn:
    """A stand-in with cmd, code page 437 and an installed Python, for tests that leave it as it was."""
    return module_stand_ins()[0]


@pytest.fixture(scope="module")
def korean(module_stand_ins: StandInFactory) -> StandIn:
    """A stand-in with PowerShell, code page 949, a Korean user, and no Python."""
    return module_stand_ins(shell="powershell", codepage=949, user=KOREAN_USER, python=False)[0]


@dataclass(frozen=True)
class Case:
    """A command line, its exit code, and words that it must say on stdout or stderr."""

    line: str
    code: int = 0
    says: str = ""
    never: str = field(default="Traceback")


CMD = {
    "exit code": Case("exit 7", 7),
    "a failure is never a 0": Case("exit 256", 255),
    "unknown command": Case("nosuch x", 1, "'nosuch' is not recognized as an internal or external command"),
    "starts in the profile": Case("cd", 0, r"C:\Users\winadmin"),
    "environment of Windows": Case("set", 0, r"USERPROFILE=C:\Users\winadmin", never="LANG="),
    "8100 characters": Case("rem " + "x" * 8100),
    "8200 characters": Case("rem " + "x" * 8200, 1, "The command line is too long."),
    "Store alias instead of Python": Case("python -V", 9009 & 255, "Microsoft Store"),
    "the alias is first": Case("where python", 0, "WindowsApps"),
    "Python in the registry": Case(r"reg query HKLM\SOFTWARE\Python\PythonCore\3.11\InstallPath /ve", 0, "Python311"),
    "genuine Python": Case(f'{PYTHON} -c "import sys; print(sys.version, sys.platform)"', 0, "3.11.9 (tags/v3.11.9:"),
    "its libraries": Case(f'{PYTHON} -c "import ssl, sqlite3, ctypes, asyncio, lzma, venv; print(1)"', 0, "1"),
    "quotes": Case(f'{PYTHON} -c "import sys; print(sys.argv[1:])" a "b c" d^&e', 0, "['a', 'b c', 'd&e']"),
    "curl is missing, as it need not be": Case("curl --version", 1, "is not recognized"),
    "wmic is gone": Case("wmic os get name", 1, "is not recognized"),
    "high integrity": Case("whoami /groups", 0, "S-1-16-12288"),
    "task of nobody": Case(r"schtasks /Query /TN nosuch", 1, "cannot find the file specified"),
    "task options are checked": Case("schtasks /Create /TN x /TR cmd", 1, "Mandatory option"),
    "a user's task needs a password": Case("schtasks /Create /TN x /SC ONSTART /RU winadmin /TR cmd", 1, "incorrect"),
    "excluded ports": Case("netsh int ipv4 show excludedportrange protocol=tcp", 0, "50059"),
    "a port needs a protocol": Case(
        "netsh advfirewall firewall add rule name=x dir=in action=allow localport=1", 1, "only if the protocol is TCP"
    ),
    "no such rule": Case("netsh advfirewall firewall delete rule name=x", 1, "No rules match"),
    "an unknown keyword": Case(
        "netsh advfirewall firewall add rule name=x dir=in action=allow colour=red", 1, "colour"
    ),
    "a rule needs a direction": Case("netsh advfirewall firewall add rule name=x action=allow", 1, "essential"),
    "an access list": Case(r"icacls C:\ProgramData", 0, r"BUILTIN\Administrators:(I)(OI)(CI)(F)"),
    "no such file": Case(r"icacls C:\nosuch", 2, "cannot find"),
    "tar names what it lacks": Case(r"tar -xf C:\none.tar -C C:\Users", 1, "Failed to open"),
    "taskkill finds nobody": Case("taskkill /F /IM nosuch.exe", 128, "not found"),
}
POWERSHELL = {
    "its own language": Case(r"& 'C:\Windows\system32\cmd.exe' /c exit 12; exit $LASTEXITCODE", 12),
    "a failure without exit is 1": Case("cmd.exe /c exit 9", 1),
    "cmd's syntax is refused": Case(r"if exist C:\x exit 3", 1),
    "PowerShell 7 is refused": Case("cmd.exe /c ver && cmd.exe /c ver", 1, "is not a valid statement separator"),
    "one line for both shells": Case(r"C:\Windows\system32\cmd.exe /c ver", 0, "Microsoft Windows"),
    "what it cannot do, it does not": Case("Get-Process", 1, "this PowerShell is not simulated"),
    "the user": Case("cmd.exe /c echo %USERNAME%", 0, KOREAN_USER),
    "the user's home": Case("cmd.exe /c cd", 0, f"C:\\Users\\{KOREAN_USER}"),
    "code page": Case("cmd.exe /c chcp", 0, "949"),
    "Korean texts": Case("schtasks /Query /TN nosuch", 1, "지정된 파일을 찾을 수 없습니다."),
    "no Python": Case(r"cmd.exe /c reg query HKLM\SOFTWARE\Python", 1),
}


def expect(host: StandIn, case: Case) -> None:
    done = host.ssh(case.line, check=False)
    assert (done.returncode, case.says in done.stdout + done.stderr) == (case.code, True), done
    assert case.never not in done.stdout, done


@pytest.mark.parametrize("name", CMD)
def test_cmd(win: StandIn, name: str) -> None:
    expect(win, CMD[name])


@pytest.mark.parametrize("name", POWERSHELL)
def test_powershell_in_korean(korean: StandIn, name: str) -> None:
    expect(korean, POWERSHELL[name])


def test_banner(win: StandIn) -> None:
    with socket.create_connection((win.ip, 22), timeout=5) as connection:
        assert connection.recv(100).startswith(b"SSH-2.0-OpenSSH_for_Windows_9.5")


def test_stdin_and_line_ends(win: StandIn) -> None:
    script = "import sys\nprint(sys.argv)\nprint('e', file=sys.stderr)\nsys.exit(9)\n"
    done = win.ssh(f'{PYTHON} - a "b c"', stdin=script, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (9, "['-', 'a', 'b c']\r\n", "e\r\n")


@contextmanager
def sftp(host: StandIn) -> Iterator[paramiko.SFTPClient]:
    key = paramiko.Ed25519Key.from_private_key_file(str(host.lab.golden.key))
    with paramiko.Transport((host.ip, 22)) as transport:
        transport.connect(username=host.user, pkey=key)
        client = paramiko.SFTPClient.from_transport(transport)
        assert client
        yield client


def test_sftp_paths(win: StandIn, korean: StandIn) -> None:
    with sftp(win) as client:
        assert client.normalize(".") == "/C:/Users/winadmin"
        with client.open("/C:/Dir1.txt", "w") as file:
            file.write("hello")
        assert client.stat("/c:/dir1.TXT").st_size == client.stat("/C:\\dir1.txt").st_size == 5
        assert client.listdir("/") == ["C:"]
        for refused in ("C:/dir1.txt", "/D:/x", "/etc/passwd", "/C:/nosuch"):
            with pytest.raises(OSError, match="No such file"):
                client.stat(refused)
        for name in ("/C:/a:b", "/C:/nul", "/C:/a?"):
            with pytest.raises(OSError, match="No such file"):
                client.open(name, "w")
        client.remove("/C:/Dir1.txt")
    with sftp(korean) as client:
        assert client.normalize(".") == f"/C:/Users/{KOREAN_USER}"


def test_running_program_is_locked(win: StandIn) -> None:
    win.ssh(r"mkdir C:\app & copy C:\Windows\system32\ping.exe C:\app\run.exe")
    with subprocess.Popen(
        [*win.ssh_client(win.user), r"C:\app\run.exe -n 60 127.0.0.1"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as client:
        program = r"C:\app\run.exe"  # not the shell that names it
        wait_until(lambda: any(each.command.startswith(program) for each in win.processes()), "it to run", 10)
        with sftp(win) as files, pytest.raises(OSError, match="Failure"):
            files.remove("/C:/app/run.exe")
        win.ssh(r"del C:\app\run.exe", check=False)
        assert win.path(r"C:\app\run.exe").exists()
        client.terminate()
    win.ssh("taskkill /F /IM run.exe")
    win.ssh(r"rmdir /s /q C:\app")
    assert not win.path(r"C:\app").exists()


def running(host: StandIn, sign: str) -> int:
    """How many Windows processes have this in their command line."""
    return sum(sign in process.command for process in host.processes())


def test_processes_die_with_their_session(win: StandIn) -> None:
    starter = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', '%s', '%s'], creationflags=%d, **files)"
    files = "files = dict.fromkeys(['stdin', 'stdout', 'stderr'], -3); "
    for sign, flags in (("child", 0), ("detached", 8), ("brokeaway", 0x1000008)):
        win.ssh(f"{PYTHON} -", stdin=files.replace("; ", "\n") + starter % (SLEEP, sign, flags))
    assert [running(win, sign) for sign in ("child", "detached", "brokeaway")] == [0, 0, 1]
    win.ssh("taskkill /F /IM python.exe")
    wait_until(lambda: not running(win, "brokeaway"), "the last to go", 10)


def test_environment_is_as_old_as_sshd(win: StandIn) -> None:
    win.ssh("setx LAB_M one /M & setx LAB_U two")
    assert win.ssh("echo [%LAB_M%][%LAB_U%]").stdout.strip() == "[%LAB_M%][two]"
    win.restart_sshd()
    assert win.ssh("echo [%LAB_M%]").stdout.strip() == "[one]"


@pytest.mark.parametrize("name", taskxml.ACCEPTED)
def test_task_is_accepted(win: StandIn, name: str) -> None:
    win.path(r"C:\t.xml").write_bytes(taskxml.ACCEPTED[name])
    assert "successfully been created" in win.ssh(r"schtasks /Create /F /TN check /XML C:\t.xml").stdout


@pytest.mark.parametrize("name", taskxml.REFUSED)
def test_task_is_refused(win: StandIn, name: str) -> None:
    data, says = taskxml.REFUSED[name]
    win.path(r"C:\t.xml").write_bytes(data)
    expect(win, Case(r"schtasks /Create /F /TN bad /XML C:\t.xml", 1, says))


def register(host: StandIn, name: str, **parts: str) -> None:
    parts.setdefault("principal", taskxml.user(host.user))
    host.path(r"C:\t.xml").write_bytes(taskxml.utf16(taskxml.definition(**parts)))
    host.ssh(rf"schtasks /Create /F /TN {name} /XML C:\t.xml")


def test_tasks_run_outside_sessions(stand_ins: StandInFactory) -> None:
    """Also: what ending one ends, and what a power cycle does."""
    (host,) = stand_ins()
    arguments = f"-c &quot;{SLEEP}&quot; boottask"
    register(host, "boot", triggers="<BootTrigger/>", command=host.python, arguments=arguments)
    tree = f"/c &quot;&quot;{host.python}&quot; -c &quot;{SLEEP}&quot; treechild&quot;"
    register(host, "tree", arguments=tree)
    assert not running(host, "boottask")
    for end, left in (("tree", 0), ("process", 1)):
        host.change(end=end)
        host.ssh("schtasks /Run /TN tree")
        wait_until(lambda: running(host, "treechild") == 2, "the task and its child", 10)
        host.ssh("schtasks /End /TN tree")
        wait_until(lambda left=left: running(host, "treechild") == left, f"{left} processes to be left", 5)  # type: ignore[misc]
    boot = host.boot_id()
    host.reboot()
    assert host.boot_id() not in {"", boot}
    wait_until(lambda: running(host, "boottask") == 1, "the task to run at startup", 10)
    assert not running(host, "treechild")
    host.power_cut()
    with pytest.raises(LabError):
        host.ssh("ver")
    host.boot()
    wait_until(lambda: running(host, "boottask") == 1, "the task to run at startup", 10)


def test_listing_shows_every_trace(win: StandIn) -> None:
    environment = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Session Manager\Environment"
    before = win.listing()
    win.ssh("ver")
    assert changes(before, win.listing()) == []
    traces = {
        "setx LAB_X 1 /M": f'{environment}: "LAB_X"',
        "netsh advfirewall firewall add rule name=x dir=in action=allow": "firewall x",
        "schtasks /Create /TN x /SC ONSTART /RU SYSTEM /TR cmd": "C:/windows/system32/Tasks/x",
        r"echo x> C:\new": "C:/new",
    }
    win.ssh(" & ".join(traces))
    assert changes(before, win.listing()) == sorted(f"+ {trace}" for trace in traces.values())
    assert [rule["Name"] for rule in win.firewall()] == [["x"]]
    undo = f'reg delete "{environment}" /v LAB_X /f & netsh advfirewall firewall delete rule name=x & del C:\\new'
    win.ssh(rf"{undo} & schtasks /Delete /TN x /F")
    assert changes(before, win.listing()) == []


def test_linux_hosts_and_stand_ins_reach_each_other(win: StandIn, machines: MachineFactory) -> None:
    (linux,) = machines(1)
    ask = "import socket; print(socket.create_connection(('{}', 22), 5).recv(7).decode())"
    assert win.exec([win.python, "-c", ask.format(linux.ip)]).stdout.strip() == "SSH-2.0"
    assert linux.exec(["python3", "-c", ask.format(win.ip)]).stdout.strip() == "SSH-2.0"
    before = win.sshd_log()
    win.ssh("ver")
    assert (win.sshd_log().since(before).connections, win.sshd_log().since(before).commands) == (1, 1)
    win.cut()
    with pytest.raises(OSError, match="timed out"):
        socket.create_connection((win.ip, 22), timeout=0.5)
    win.uncut()
    assert win.ssh("ver").returncode == 0


def test_mirror_has_the_windows_python(winlab: StandIns, korean: StandIn, tmp_path: Path) -> None:
    """For uv from here, and as what is unpacked where there is no Python."""
    mirror = winlab.golden.mirror
    install = [find_uv_bin(), "python", "install", "cpython-3.11.9-windows-x86_64-none", "--no-bin", "--mirror", mirror]
    install += ["--python-downloads-json-url", f"{mirror}/download-metadata.json", "--install-dir", str(tmp_path)]
    subprocess.run(install, check=True, capture_output=True, timeout=60)
    assert list(tmp_path.glob("cpython-3.11.9-windows-*/python.exe"))
    with sftp(korean) as client:
        client.put(str(winlab.golden.archive.path), "/C:/python.tar.gz")
    korean.ssh(r"C:\Windows\system32\tar.exe -xzf C:\python.tar.gz -C C:\Users\Public")
    assert korean.ssh(r"C:\Users\Public\python\python.exe -V").stdout.strip() == "Python 3.11.9"
    said = korean.ssh(r"""C:\Users\Public\python\python.exe -c "import sys; print(sys.stdout.encoding, '\ud55c')" """)
    assert said.stdout == "cp949 한\r\n"


def test_one_command_and_memory(win: StandIn) -> None:
    times = []
    for _ in range(5):
        started = time.monotonic()
        win.ssh("ver")
        times.append(time.monotonic() - started)
    print(f"one command: {min(times):.2f} s; memory {win.memory().use >> 20} MiB, at most {win.memory().peak >> 20}")
    assert min(times) < 3
    assert win.memory().use < 1 << 30
