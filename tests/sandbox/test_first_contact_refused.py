"""First contact with hosts to which nothing can be brought: why not, in the user's words."""

from __future__ import annotations

import hashlib
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from paramiko import SFTPClient

from provisioner.engine.options import RunOptions
from provisioner.engine.run import Run
from provisioner.errors import HostFailed, ProvisionError
from provisioner.inventory.model import Host, Inventory, RayOptions
from provisioner.playbook.load import load_playbook
from provisioner.transport import delivery
from provisioner.transport.choice import Choice, Parcel
from tests import interpreters

from .bare import Make, failure, managed, was_sent

SYSTEM = shutil.which("python3", path="/usr/bin:/usr/local/bin") or ""


def test_an_archive_that_does_not_arrive_as_it_was(bare: Make, archive: interpreters.Archive, tmp_path: Path) -> None:
    other = tmp_path / "other.tar.gz"
    other.write_bytes(b"no archive" * 1000)
    host = bare()
    assert failure(host, managed(archive, other)).message == "what is sent to the host arrives damaged"
    assert host.left() == []


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 3", "does not run on the host: exit code 3"),
        ("exit 126", "the host lets nothing be run from the home folder (exit code 126"),
        ("echo 'Exec format error' >&2; exit 126", "the interpreter is for another processor"),
        ("echo \"version GLIBC_2.38 not found\" >&2; exit 1", "the host's C library is too old"),
        ("echo 'sh: 1: python3: not found' >&2; exit 127", "C library is none that the interpreter knows"),
    ],
)  # fmt: skip
def test_an_interpreter_that_does_not_run(
    script: str, message: str, bare: Make, archive: interpreters.Archive, tmp_path: Path
) -> None:
    (tmp_path / "made" / "python" / "bin").mkdir(parents=True)
    (tmp_path / "made" / "python" / "bin" / "python3").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "made" / "python" / "bin" / "python3").chmod(0o755)
    path = Path(shutil.make_archive(str(tmp_path / "made"), "gztar", tmp_path / "made"))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    host = bare()
    assert message in failure(host, Choice("3.11.9", bring=lambda facts: Parcel(path, sha256))).message
    assert host.left() == [f"python/{sha256}.tar.gz"]


def test_too_little_room_is_told_before_anything_is_sent(bare: Make, archive: interpreters.Archive) -> None:
    host = bare()
    host.script("df", "echo Filesystem 1024-blocks Used Available Capacity Mounted on; echo /dev/x 9 9 20480 99% /h m")
    told = failure(host, managed(archive))
    needed = 6 * archive.path.stat().st_size >> 20
    assert f"has 20 MiB free, Python {archive.version} needs {needed} MiB" in told.message
    assert not was_sent(host)
    assert host.left() == []


def test_a_home_that_can_not_be_written_to(bare: Make, archive: interpreters.Archive) -> None:
    host = bare()
    (host.home / ".provision").touch()
    told = failure(host, managed(archive))
    assert "can't be written to the home folder of" in told.message
    assert "KiB are free there" in told.message


def test_a_disk_that_gets_full_meanwhile_keeps_nothing_of_it(
    bare: Make, archive: interpreters.Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = delivery.write

    def half(sftp: SFTPClient, path: str, content: bytes) -> None:
        write(sftp, path, content[: len(content) // 2])
        raise OSError("it was cut short")

    monkeypatch.setattr(delivery, "write", half)
    host = bare()
    assert "it was cut short" in failure(host, managed(archive)).message
    assert not (host.home / ".provision").exists()


@pytest.mark.parametrize(
    ("uname", "libc", "facts"),
    [
        ("echo Linux aarch64", "echo glibc 2.17", ["linux", "aarch64", "glibc", "2.17"]),
        ("echo Welcome; echo Linux amd64", "exit 1", ["linux", "x86_64", "glibc", "2.17"]),
        ("echo Linux armv7l", "echo glibc 2.31", ["linux", "armv7l", "glibc", "2.31"]),
        ("echo Darwin arm64", "exit 1", ["macos", "aarch64"]),
        ("echo FreeBSD amd64", "exit 1", ["freebsd", "x86_64"]),
    ],
)
def test_what_a_host_says_it_is(uname: str, libc: str, facts: list[str], bare: Make) -> None:
    host = bare()
    host.script("uname", uname)
    host.script("getconf", libc)
    asked: list[Any] = []

    def bring(facts: dict[str, Any]) -> Parcel:
        asked.append(facts)
        raise ProvisionError("there is no such Python", remedy="take another")

    told = failure(host, Choice("3.11.9", bring=bring))
    assert asked == [dict(zip(("os", "arch", "libc", "libc_version"), facts, strict=False))]
    assert told.message.startswith("there is no such Python; and the host has no Python that the program can run on")
    assert told.remedy == "take another"


def test_a_host_that_does_not_say_what_it_is(bare: Make, archive: interpreters.Archive) -> None:
    told = failure(bare(("rm",)), managed(archive))
    assert "the host does not say what it is" in told.message


@pytest.mark.parametrize(
    ("path", "tried"),
    [
        (None, ["python3: ", "python3.11: ", "/usr/local/bin/python3: ", "/opt/homebrew/bin/python3: "]),
        ("/nonexistent/python", ["/nonexistent/python: ", "python3: "]),
        ("/a b/python", ["python3: "]),
    ],
)
def test_nothing_is_brought_to_a_host_that_has_its_own(path: str | None, tried: list[str], bare: Make) -> None:
    host = bare(("rm",))
    for name in ("/usr/local/bin/python3", "/opt/homebrew/bin/python3"):
        if Path(name).exists():
            pytest.skip("this machine has a Python where hosts' own are looked for")
    told = failure(host, Choice("3.11.9", path=path))
    assert told.message.startswith(f"there is no Python on the host that the program can run on ({tried[0]}")
    assert [each for each in tried if each not in told.message] == []
    assert "/a b" not in " ".join(host.commands), "what needs quotes is not tried"
    assert "source: managed" in told.remedy
    assert host.left() == []


@pytest.mark.skipif(not SYSTEM, reason="no Python of the system here")
def test_an_interpreter_that_the_inventory_names(bare: Make) -> None:
    host = bare(("rm",))
    assert host.contact(Choice("3.11.9", path=SYSTEM))["os"] == "linux"
    assert host.commands[1].startswith(f"{SYSTEM} -I -S .provision/program/")


def test_nothing_is_brought_to_a_host_that_is_not_what_was_declared(bare: Make, tmp_path: Path) -> None:
    host = Host("w1", "head", "127.0.0.1", "3.11.9", (), RayOptions({"node_ip": "127.0.0.1"}), os="windows")
    (tmp_path / "playbook.yml").write_text(
        "- {play: Nothing, hosts: all, tasks: [{name: One, variable: {name: X, value: y}}]}\n"
    )
    inventory = Inventory("lab", "2.60.0", (host,), tmp_path / "inventory.yml")
    nowhere: Any = None
    run = Run(inventory, load_playbook(tmp_path / "playbook.yml"), RunOptions("apply"), nowhere, time.monotonic())
    made = bare()
    with pytest.raises(HostFailed, match="the inventory says `os: windows`"):
        made.open(run.choice(host, lambda text: None))
    assert [path for path in made.home.rglob("*") if path.is_file()] == []
