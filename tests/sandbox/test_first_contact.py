"""First contact with hosts that have next to nothing: over real SSH and SFTP, with a real interpreter."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from provisioner.errors import Unreachable
from provisioner.remote.unpacking import unpack
from provisioner.sandbox import sftp
from provisioner.transport import delivery, patience, program
from provisioner.transport.choice import Choice
from tests import interpreters
from tests.waiting import soon

from .bare import PLATFORM, USUAL, Make, managed, was_sent, whole

pytestmark = pytest.mark.usefixtures("every_word")
SYSTEM = shutil.which("python3", path="/usr/bin:/usr/local/bin") or ""


def test_a_host_without_python(bare: Make, archive: interpreters.Archive) -> None:
    host, asked = bare(), []  # type: ignore[var-annotated]
    facts = host.contact(managed(archive, asked=asked))
    assert (facts["python"], facts["arch"]) == (archive.version, os.uname().machine)
    assert (asked[0]["os"], asked[0]["libc"]) == ("linux", "glibc")
    assert asked[0]["libc_version"] == os.confstr("CS_GNU_LIBC_VERSION").split()[1]  # type: ignore[union-attr]
    assert host.connections == 1
    assert host.left() == whole(archive)
    assert host.told[0] == "sending the program"
    for verb in range(2):
        assert host.contact(managed(archive))["python"] == archive.version
        assert (host.connections, len(host.commands), host.told) == (1, 1, []), verb
    assert host.commands == [f"sh .provision/program/{program.identity()}/start"]


@pytest.mark.skipif(not SYSTEM, reason="no Python of the system here")
def test_no_more_sftp_than_it_takes(bare: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with a Python: the program is sent, which is when its home folder tells what system it is."""
    opened: list[str] = []
    open_sftp = delivery.open_sftp

    def noted(connection: Any, host: str) -> Any:
        opened.append(host)
        return open_sftp(connection, host)

    monkeypatch.setattr(delivery, "open_sftp", noted)
    host = bare()
    host.script("python3", f'exec {SYSTEM} "$@"')
    for sessions in (1, 0):
        opened.clear()
        host.contact(Choice("3.11.9"))
        assert len(opened) == sessions


def test_progress_is_told(bare: Make, archive: interpreters.Archive) -> None:
    host = bare()
    host.contact(managed(archive))
    size = archive.path.stat().st_size // 10**6
    sent = [text for text in host.told if text.startswith("sending Python")]
    assert f"sending Python {archive.version}, {size // 2} of {size} MB" in sent
    assert sent[-1] == f"sending Python {archive.version}, {size} of {size} MB"
    assert f"unpacking Python {archive.version}" in host.told


OLD = Path("~/.pyenv/versions/3.6.15/bin/python3").expanduser()


@pytest.mark.parametrize(
    "script",
    [
        "echo 'xcode-select: note: no developer tools were found at /Applications/Xcode.app' >&2; exit 1",
        "echo 'python3: error while loading shared libraries: libpython3.11.so.1.0' >&2; exit 127",
        "kill -SEGV $$",
        "exit 0",
        pytest.param(f"exec {OLD} $@", marks=pytest.mark.skipif(not OLD.exists(), reason="no Python 3.6 here")),
    ],
    ids=["stub of macOS", "library missing", "crashes", "says nothing", "too old"],
)
def test_a_python_that_is_of_no_use(script: str, bare: Make, archive: interpreters.Archive) -> None:
    host = bare()
    host.script("python3", script)
    assert host.contact(managed(archive))["python"] == archive.version
    assert host.left() == whole(archive)


NO_TOOLS = "xcode-select: error: unable to get active developer directory, use `sudo xcode-select --switch"
"""What macOS says where Apple's developer tools are not installed, with code 2."""


def test_apples_stand_in_for_python_is_left_alone(bare: Make, archive: interpreters.Archive) -> None:
    """To run it opens a window at the Mac's screen."""
    host = bare()
    host.script("xcode-select", f"echo '{NO_TOOLS}' >&2; exit 2")
    host.script("python3", f"touch {host.home}/opened; exit 1")
    assert host.contact(managed(archive))["python"] == archive.version
    assert not (host.home / "opened").exists()


@pytest.mark.skipif(not SYSTEM, reason="no Python of the system here")
def test_the_python_of_apples_developer_tools_will_do(bare: Make, archive: interpreters.Archive) -> None:
    host = bare()
    host.script("xcode-select", "echo /Library/Developer/CommandLineTools")
    host.script("python3", f'exec {SYSTEM} "$@"')
    host.contact(managed(archive))
    assert not was_sent(host)


@pytest.mark.skipif(not SYSTEM, reason="no Python of the system here")
def test_a_python_of_the_host_that_will_do(bare: Make, archive: interpreters.Archive) -> None:
    host = bare()
    host.script("python3", f'exec {SYSTEM} "$@"')
    found = host.contact(managed(archive))["python"]
    assert not was_sent(host)
    assert host.left() == [f"program/{program.identity()}"]
    start = host.home / ".provision" / "program" / program.identity() / "start"
    assert f"exec '{SYSTEM}' -I -S" in start.read_text(), "not what PATH leads to, but the interpreter itself"
    (host.programs / "python3").unlink()
    assert host.contact(managed(archive))["python"] == found
    assert len(host.commands) == 1


@pytest.mark.parametrize(
    "tools",
    [tuple(tool for tool in USUAL if tool not in missing) for missing in (("tar",), ("gzip",), ("tar", "sha256sum"))]
    + [("uname", "rm")],
    ids=["no tar", "no gzip", "no tar and no checksums", "almost nothing"],
)
def test_tools_that_are_missing(tools: tuple[str, ...], bare: Make, archive: interpreters.Archive) -> None:
    host = bare(tools)
    assert host.contact(managed(archive))["python"] == archive.version
    assert host.left() == whole(archive)
    host.contact(managed(archive))
    assert len(host.commands) == 1


def test_files_are_laid_out_as_they_would_be_unpacked(
    bare: Make, archive: interpreters.Archive, tmp_path: Path
) -> None:
    host = bare(("uname", "rm"))
    host.contact(managed(archive))
    unpack(str(archive.path), str(tmp_path / "unpacked"))
    laid = host.home / ".provision" / "python" / f"{archive.version}-{PLATFORM}"
    assert tree(laid) == tree(tmp_path / "unpacked")


def tree(folder: Path) -> dict[str, tuple[int, str]]:
    """Return mode and content of everything in a folder but what running it wrote."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if "__pycache__" not in path.parts:
            content = str(path.readlink()) if path.is_symlink() else ""
            if path.is_file() and not path.is_symlink():
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            found[str(path.relative_to(folder))] = (path.lstat().st_mode, content)
    return found


def vanish(folder: Path) -> None:
    """Remove a folder in which a program that is just ending may still write its byte code."""

    def is_gone() -> bool:
        shutil.rmtree(folder, ignore_errors=True)
        return not folder.exists()

    assert soon(is_gone, 10)


def damage(program: Path) -> None:
    program.unlink()  # it may still run
    program.write_bytes(b"\x7fELF")
    program.chmod(0o755)


@pytest.mark.parametrize(
    "harm",
    [
        lambda home, name: vanish(home / "python" / name),
        lambda home, name: damage((home / "python" / name / "bin" / "python3").resolve()),
        lambda home, name: vanish(home / "program"),
        lambda home, name: (home / "program" / program.identity() / "start").unlink(),
        lambda home, name: (home / "program" / program.identity() / "start").write_text("exec /nonexistent/python\n"),
        lambda home, name: (home / "program" / program.identity() / "run.py").write_text("raise SystemExit(1)\n"),
        lambda home, name: vanish(home / "program" / program.identity() / "provisioner"),
        lambda home, name: vanish(home),
    ],
    ids=["interpreter gone", "interpreter damaged", "program gone", "no start", "another interpreter", "program broken",
         "program incomplete", "everything gone"],
)  # fmt: skip
def test_what_vanished_or_broke_is_put_in_order(
    harm: Callable[[Path, str], None], bare: Make, archive: interpreters.Archive
) -> None:
    host = bare()
    host.contact(managed(archive))
    harm(host.home / ".provision", f"{archive.version}-{PLATFORM}")
    assert host.contact(managed(archive))["python"] == archive.version
    assert host.left() == whole(archive)
    host.contact(managed(archive))
    assert len(host.commands) == 1


def test_what_was_sent_is_not_sent_again(bare: Make, archive: interpreters.Archive) -> None:
    host = bare()
    host.contact(managed(archive))
    shutil.rmtree(host.home / ".provision" / "python" / f"{archive.version}-{PLATFORM}")
    assert host.contact(managed(archive))["python"] == archive.version
    assert not was_sent(host)


@pytest.mark.parametrize("right", [True, False])
def test_a_part_is_gone_on_with(right: bool, bare: Make, archive: interpreters.Archive) -> None:
    host = bare()
    content = archive.path.read_bytes()
    part = host.home / ".provision" / "python" / f"{archive.sha256}.tar.gz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(content[:5_000_000] if right else b"?" * 5_000_000)
    assert host.contact(managed(archive))["python"] == archive.version
    sent = [int(text.split(", ")[1].split()[0]) for text in host.told if text.startswith("sending Python")]
    assert sent[0] == 5
    assert (0 in sent) is not right, "what is not the archive's is sent anew"
    assert host.left() == whole(archive)


def test_broken_off_while_sending(bare: Make, archive: interpreters.Archive) -> None:
    host = bare()

    def cut(text: str) -> None:
        if text.startswith("sending Python"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        host.open(managed(archive), cut)
    assert host.left() == [f"python/{archive.sha256}.tar.gz.part"]
    assert host.contact(managed(archive))["python"] == archive.version
    assert host.left() == whole(archive)


def test_a_link_that_is_cut_while_sending(
    bare: Make, archive: interpreters.Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing tells us that it is, and a socket takes what we write until its buffer is full."""
    host, cut = bare(), threading.Event()
    monkeypatch.setattr(patience.Patience.__init__, "__defaults__", (1.0,))
    write = sftp.OpenFile.write

    def stuck(self: sftp.OpenFile, offset: int, data: bytes) -> Any:
        if offset > 3_000_000:
            cut.wait(30)
        return write(self, offset, data)

    monkeypatch.setattr(sftp.OpenFile, "write", stuck)
    with pytest.raises(Unreachable, match="broke off"):
        host.contact(managed(archive))
    cut.set()


def test_a_half_unpacked_folder_is_never_used(bare: Make, archive: interpreters.Archive) -> None:
    host = bare()
    work = host.home / ".provision" / "python" / f"{archive.version}-{PLATFORM}.w1.work"
    (work / "python" / "bin").mkdir(parents=True)
    (work / "python" / "left over").touch()
    assert host.contact(managed(archive))["python"] == archive.version
    assert host.left() == whole(archive)
    assert not (work.parent / f"{archive.version}-{PLATFORM}" / "left over").exists()


def test_hosts_that_share_a_home_folder(bare: Make, archive: interpreters.Archive, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    hosts = [bare(home=tmp_path / "shared") for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda host: host.contact(managed(archive))["python"], hosts))
    assert found == [archive.version] * 3
    assert hosts[0].left() == whole(archive)
    for host in hosts:
        host.contact(managed(archive))
        assert len(host.commands) == 1


def test_programs_of_long_ago_are_removed(bare: Make, archive: interpreters.Archive) -> None:
    host = bare()
    programs = host.home / ".provision" / "program"
    for days in (1, 40, 50, 60, 70):
        folder = programs / f"{days:020x}"
        folder.mkdir(parents=True)
        (folder / "run.py").touch()
        (programs / f"{days:020x}.part").touch()
        for path in (folder, programs / f"{days:020x}.part"):
            os.utime(path, (time.time() - days * 86400 - 60,) * 2)
    host.contact(managed(archive))
    kept = {f"program/{days:020x}" for days in (1, 40)} | set(whole(archive))
    assert set(host.left()) == kept, "the newest ones stay, whatever their age"
