"""What first contact asks of a Windows host and how it takes the answers, in whatever language and code page."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from provisioner.errors import HostFailed
from provisioner.remote import boot, files
from provisioner.remote.failure import Failure
from provisioner.remote.platforms.windows import Windows as WindowsPlatform
from provisioner.transport import program
from provisioner.transport.fetchers import Curl
from provisioner.transport.shell import Said, Shell
from provisioner.transport.starter import Refusal
from provisioner.transport.systems import Posix, Windows, system_of

HASH = "ab" * 32
KOREAN_DIR = " C 드라이브의 볼륨\r\n\r\n 0개 파일  0 바이트\r\n  2개 디렉터리  72688635904 바이트 남음\r\n\r\n"


class Answering(Shell):
    """A host that gives these answers, and nothing else, as bytes."""

    def __init__(self, answers: Mapping[str, tuple[int, bytes]], has_code_page: bool = True) -> None:
        super().__init__(None, has_code_page)
        self.answers = answers
        self.asked: list[str] = []

    def _run(self, command: str, limit: float) -> tuple[int, bytes, bytes]:
        self.asked.append(command)
        code, out = self.answers.get(command, (1, b""))
        return code, out, b""


@pytest.mark.parametrize(
    ("variables", "arch"),
    [
        ("PROCESSOR_ARCHITECTURE=AMD64\r\nPROCESSOR_IDENTIFIER=Intel64 Family 6\r\nPROCESSOR_LEVEL=6\r\n", "x86_64"),
        ("PROCESSOR_ARCHITECTURE=ARM64\r\nPROCESSOR_IDENTIFIER=ARMv8 (64-bit) Family 8\r\n", "aarch64"),
        ("PROCESSOR_ARCHITECTURE=AMD64\r\nPROCESSOR_IDENTIFIER=ARMv8 (64-bit) Family 8\r\n", "aarch64"),
        ("PROCESSOR_ARCHITECTURE=x86\r\nPROCESSOR_ARCHITEW6432=AMD64\r\n", "x86_64"),
        ("PROCESSOR_ARCHITECTURE=x86\r\n", "x86"),
    ],
)
def test_what_a_host_is(variables: str, arch: str) -> None:
    shell = Answering({"cmd.exe /c set PROCESSOR": (0, variables.encode())})
    assert Windows().facts(shell) == {"os": "windows", "arch": arch}


def test_a_host_that_does_not_say_what_it_is() -> None:
    with pytest.raises(HostFailed, match="does not say what it is"):
        Windows().facts(Answering({}))


@pytest.mark.parametrize(
    ("said", "free"),
    [
        (KOREAN_DIR.encode("cp949"), 72688635904),
        (b"       0 File(s)              0 bytes\r\n       2 Dir(s)  12345 bytes free\r\n", 12345),
        (b"", None),
    ],
)
def test_how_much_room_there_is(said: bytes, free: int | None) -> None:
    shell = Answering({r"cmd.exe /c dir /-c .provision\python": (0, said), "cmd.exe /c chcp": (0, b"949\r\n")})
    assert Windows().free(shell, ".provision/python") == free


@pytest.mark.parametrize(
    ("said", "hash_"),
    [
        (f"SHA256 hash of a.gz:\r\n{HASH}\r\nCertUtil: ok\r\n", HASH),
        (f"SHA256 hash of a.gz:\r\n{' '.join(re.findall('..', HASH))}\r\nCertUtil: ok\r\n", HASH),  # Windows 8.1
        ("", None),
        ("CertUtil: -hashfile command FAILED: 0x80070002\r\n", None),
    ],
)
def test_the_hash_of_a_file(said: str, hash_: str | None) -> None:
    shell = Answering({r"certutil.exe -hashfile .provision\a.gz SHA256": (0, said.encode())})
    assert Windows().sha256(shell, ".provision/a.gz") == hash_


def test_a_file_and_a_folder_are_removed_in_different_words() -> None:
    shell = Answering({})
    for path in (".provision/python/3.11.9-windows-x86_64.w1.work", ".provision/program/abc.0f.zip"):
        Windows().remove(shell, path)
    assert shell.asked == [
        r"cmd.exe /c rd /s /q .provision\python\3.11.9-windows-x86_64.w1.work",
        r"cmd.exe /c del /f /q .provision\program\abc.0f.zip",
    ]


def test_commands_mean_the_same_in_cmd_and_powershell() -> None:
    """No quotes, no slash where cmd would see an option, nothing that either expands; far below cmd's 8191."""
    system, shell = Windows(), Answering({})
    interpreter = f".provision/python/3.11.9-windows-x86_64/{system.inside}"
    commands = [
        system.start(program.cached_folder()),
        program.first_command(system.program(interpreter), program.archive_path()),
        *(program.first_command(each, "x.zip") for each in system.interpreters("3.11.9", brings=False)),
    ]
    system.sha256(shell, "a.gz")
    system.unpack(shell, "a.gz", "b")
    system.remove(shell, "b")
    system.free(shell, ".")
    for command in commands + shell.asked:
        assert re.fullmatch(r"[A-Za-z0-9_.:~\\ /-]+", command), command
        assert "/" not in command.split(" ")[0]
        assert len(command) < 500


def test_no_python_of_path_is_trusted_where_one_can_be_brought() -> None:
    assert Windows().interpreters("3.11.9", brings=True) == ()
    assert Windows().interpreters("3.11.9", brings=False)[0] == "py -3.11"
    assert Posix().interpreters("3.11.9", brings=True) == ("python3",)


@pytest.mark.parametrize(
    ("data", "code_page", "text"),
    [
        ("파일이 없습니다".encode("cp949"), "활성 코드 페이지: 949\r\n".encode("cp949"), "파일이 없습니다"),
        ("지정된 파일".encode(), b"", "지정된 파일"),
        ("Größe".encode("cp850"), b"Aktive Codepage: 850.\r\n", "Größe"),
        (b"\xff\xfe", b"", "\ufffd\ufffd"),
        (b"\xff", b"Active code page: 99999\r\n", "\ufffd"),
    ],
)  # fmt: skip
def test_what_a_host_prints_is_read_in_its_code_page(data: bytes, code_page: bytes, text: str) -> None:
    assert Answering({"cmd.exe /c chcp": (0, code_page)}).text(data) == text


def test_only_windows_is_asked_for_its_code_page() -> None:
    linux = Answering({"cmd.exe /c chcp": (0, b"949\r\n")}, has_code_page=False)
    assert linux.text("파일".encode("cp949")) == "\ufffd\ufffd\ufffd\ufffd"
    assert linux.asked == []


@pytest.mark.parametrize(
    ("greeting", "kind"),
    [
        ("SSH-2.0-OpenSSH_for_Windows_9.5", Windows),
        ("SSH-2.0-OpenSSH_for_Windows_7.7", Windows),
        ("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3", Posix),
        ("SSH-2.0-dropbear_2022.83", Posix),
    ],
)
def test_a_windows_server_is_known_by_its_greeting(greeting: str, kind: type) -> None:
    class Connection:
        class transport:
            remote_version = greeting

    connection: Any = Connection()
    assert isinstance(system_of(connection), kind)


STORE = "Python was not found; run without arguments to install from the Microsoft Store, or disable this shortcut"
NO_CMDLET = """py : The term 'py' is not recognized as the name of a cmdlet.
At line:1 char:1
+ py -3.11 -I -S x.zip
+ ~~
    + CategoryInfo          : ObjectNotFound: (py:String) [], CommandNotFoundException
    + FullyQualifiedErrorId : CommandNotFoundException
"""
REFUSED = {
    "the Store's stand-in, in cmd": (9009, STORE, "opens the Microsoft Store"),
    "in PowerShell": (1, STORE, "opens the Microsoft Store"),
    "cmd has no such program": (1, "'py' is not recognized\r\noperable program or batch file.", "or batch file."),
    "nor has PowerShell": (1, NO_CMDLET, "there is no such program"),
    "it says nothing": (3, "\r\n", "exit code 3, and it said nothing"),
}


@pytest.mark.parametrize(("code", "said", "last"), REFUSED.values(), ids=list(REFUSED))
def test_why_an_interpreter_did_not_start(code: int, said: str, last: str) -> None:
    assert last in Refusal(code, said).last


@pytest.mark.parametrize(
    ("code", "err", "bound"),
    [
        (45, "curl: (45) bind failed with errno 99: Cannot assign requested address", True),
        (1, "curl: (45) bind failed with errno 10049: Address not available\r\n", True),
        (1, "curl: (7) Failed to connect to 10.0.0.1 port 8000\r\n", False),
        (22, "curl: (22) The requested URL returned error: 503", False),
    ],
    ids=["cmd and Linux", "PowerShell", "PowerShell, another error", "the server's"],
)
def test_an_address_that_curl_cannot_come_from(code: int, err: str, bound: bool) -> None:
    assert Curl().is_bound_elsewhere(Said(code, "", err)) is bound


@pytest.mark.parametrize(
    ("interpreter", "named"),
    [
        ("{home}/.provision/python/3.11.9-windows-x86_64/python.exe", r"%~dp0..\..\python/3.11.9-windows-x86_64/"),
        ("/opt/100%/python.exe", "/opt/100%%/"),
    ],
)
def test_the_starter_finds_its_interpreter_whatever_the_home_is_called(
    interpreter: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "홍길동" / ".provision" / "program" / "abc"
    folder.mkdir(parents=True)
    monkeypatch.setattr(sys, "executable", interpreter.format(home=tmp_path / "홍길동"))
    monkeypatch.setattr(os, "name", "nt")
    monkeypatch.setitem(boot.STARTERS, "nt", (*boot.STARTERS["nt"][:2], "cp437"))
    boot.write_starter(str(folder))
    monkeypatch.undo()
    written = (folder / "start.cmd").read_bytes()
    assert written == f'@"{named}python.exe" -I -S "%~dp0run.py"\r\n'.encode("cp437")


@pytest.mark.parametrize(
    ("root", "told"),
    [
        (r"C:\my provision", "a blank"),
        ("C:\\홍길동\\p", "beyond ASCII"),
        ("C:\\" + "x" * 60, "too long"),
        (r"provision\lab", "no folder on a disk"),
        (r"\\server\share\lab", "no folder on a disk"),
    ],
)
def test_roots_that_ray_could_not_run_from_are_refused(root: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import ntpath

    monkeypatch.setattr(os, "path", ntpath)
    with pytest.raises(Failure, match=told):
        WindowsPlatform().checked_root(root)


def test_a_file_that_somebody_reads_is_replaced_when_they_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []
    original = os.replace

    def busy(source: str, target: str) -> None:
        attempts.append(source)
        if len(attempts) < 3:
            raise PermissionError(13, "a virus scanner has it open")
        original(source, target)

    (tmp_path / "new").write_text("new")
    (tmp_path / "old").write_text("old")
    monkeypatch.setattr(os, "replace", busy)
    monkeypatch.setattr(os, "name", "nt")
    files.replace(str(tmp_path / "new"), str(tmp_path / "old"))
    monkeypatch.undo()
    assert (tmp_path / "old").read_text() == "new"
    assert len(attempts) == 3
