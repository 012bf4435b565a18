"""Copying files to and from a sandbox host, through paramiko and through OpenSSH's client."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from provisioner.sandbox import Sandbox, SandboxHost

from .conftest import LIMIT, options


@pytest.fixture
def sftp(client: paramiko.SSHClient) -> Iterator[paramiko.SFTPClient]:
    with client.open_sftp() as opened:
        yield opened


def test_put_and_get(sftp: paramiko.SFTPClient, host: SandboxHost, tmp_path: Path) -> None:
    content = os.urandom(5_000_000)
    (tmp_path / "source").write_bytes(content)
    sftp.put(str(tmp_path / "source"), "copy")
    assert (host.home / "copy").read_bytes() == content
    sftp.get(str(host.home / "copy"), str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == content


def test_paths_start_at_home(sftp: paramiko.SFTPClient, host: SandboxHost) -> None:
    assert sftp.normalize(".") == str(host.home)
    assert sftp.normalize("/tmp/../etc") == os.path.realpath("/etc")


def test_folders(sftp: paramiko.SFTPClient, host: SandboxHost) -> None:
    sftp.mkdir("folder", 0o700)
    assert stat.S_IMODE((host.home / "folder").stat().st_mode) == 0o700
    for name in ("b", "a"):
        sftp.open(f"folder/{name}", "w").close()
    assert sorted(sftp.listdir("folder")) == ["a", "b"]
    with pytest.raises(OSError, match="Failure"):
        sftp.mkdir("folder")
    for name in ("b", "a"):
        sftp.remove(f"folder/{name}")
    sftp.rmdir("folder")
    assert not (host.home / "folder").exists()


def test_rename_spares_what_is_there_and_posix_rename_replaces_it(sftp: paramiko.SFTPClient, host: SandboxHost) -> None:
    for name in ("old", "new"):
        (host.home / name).write_text(name)
    with pytest.raises(OSError, match="Failure"):
        sftp.rename("old", "new")
    sftp.posix_rename("old", "new")
    assert (host.home / "new").read_text() == "old" and not (host.home / "old").exists()


def test_attributes(sftp: paramiko.SFTPClient, host: SandboxHost) -> None:
    path = host.home / "attributes"
    with sftp.open("attributes", "w") as file:
        file.write(b"0123456789")
        file.truncate(8)
        file.chmod(0o640)
        assert file.stat().st_size == 8
    sftp.truncate("attributes", 4)
    sftp.chmod("attributes", 0o600)
    sftp.utime("attributes", (1_000_000, 2_000_000))
    seen = sftp.stat("attributes")
    assert (seen.st_size, stat.S_IMODE(seen.st_mode or 0), seen.st_mtime) == (4, 0o600, 2_000_000)
    assert path.read_bytes() == b"0123"


def test_appending(sftp: paramiko.SFTPClient, host: SandboxHost) -> None:
    for part in (b"one ", b"two"):
        with sftp.open("grown", "a") as file:
            file.write(part)
    assert (host.home / "grown").read_bytes() == b"one two"


def test_links(sftp: paramiko.SFTPClient, host: SandboxHost) -> None:
    sftp.symlink("target", "link")
    assert str((host.home / "link").readlink()) == sftp.readlink("link") == "target"
    assert stat.S_ISLNK(sftp.lstat("link").st_mode or 0)
    with pytest.raises(FileNotFoundError):
        sftp.stat("link")


def test_errors(sftp: paramiko.SFTPClient) -> None:
    with pytest.raises(FileNotFoundError):
        sftp.stat("missing")
    with pytest.raises(FileNotFoundError):
        sftp.open("missing/file", "w")
    with pytest.raises(FileNotFoundError):
        sftp.remove("missing")
    with pytest.raises(OSError, match="Failure"):
        sftp.open(".", "w")


def test_openssh_client(sandbox: Sandbox, host: SandboxHost, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "up").write_bytes(content)
    commands = ["mkdir box", "cd box", f"put {tmp_path}/up first", "chmod 600 first", "rename first second"]
    commands += ["ln -s second link", "ls -l", f"get second {tmp_path}/down", ""]
    batch = "\n".join(commands)
    words = ["sftp", "-b", "-", *options(sandbox), "-P", str(host.port), "127.0.0.1"]
    done = subprocess.run(words, input=batch, text=True, capture_output=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "down").read_bytes() == content
    assert stat.S_IMODE((host.home / "box/second").stat().st_mode) == 0o600
    assert str((host.home / "box/link").readlink()) == "second"
    assert "second" in done.stdout
