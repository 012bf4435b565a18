"""The machine that `provision` itself runs on: what is another way on Windows. Runs there as well."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from pathlib import Path

import pytest
from paramiko import Ed25519Key

from provisioner import portable
from provisioner.inventory.document import load_document
from provisioner.inventory.load import load_inventory
from provisioner.transport import connect, hostkeys

KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ"
OTHER = "AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X"
INVENTORY = """\
cluster: lab
python: 3.11.9
ray: {version: 2.60.0}
packages: [duckdb]   # 덕디비
head:
  ctl: {address: 10.0.0.10}
workers:
  w1: {address: 10.0.0.11, ssh: {port: 99999}}
"""


@pytest.mark.parametrize(
    ("windows", "words", "line"),
    [
        (False, ["provision", "check", "my lab.yml"], "provision check 'my lab.yml'"),
        (True, ["provision", "check", r"C:\labs\lab.yml"], r"provision check C:\labs\lab.yml"),
        (True, ["provision", "check", r"C:\my labs\lab.yml"], r'provision check "C:\my labs\lab.yml"'),
    ],
)
def test_commands_are_shown_as_the_shell_reads_them(
    windows: bool, words: list[str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portable, "WINDOWS", windows)
    assert portable.command_line(words) == line


@pytest.mark.parametrize(("windows", "held", "placed"), [(True, 3, True), (True, 10**9, False), (False, 1, False)])
def test_a_file_that_somebody_reads_is_waited_for(
    windows: bool, held: int, placed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portable, "WINDOWS", windows)
    monkeypatch.setattr(portable, "HELD_LIMIT", 20.0 if placed else 0.2)
    left, replace = [held], Path.replace

    def scanned(aside: Path, final: Path) -> Path:
        left[0] -= 1
        if left[0] >= 0:
            raise PermissionError(13, "Access is denied")
        return replace(aside, final)

    monkeypatch.setattr(Path, "replace", scanned)
    aside, final = tmp_path / "aside", tmp_path / "final"
    aside.write_bytes(b"new")
    final.write_bytes(b"old")
    if placed:
        portable.put_in_place(aside, final)
    else:
        with pytest.raises(PermissionError):
            portable.put_in_place(aside, final)
    assert final.read_bytes() == (b"new" if placed else b"old")


@pytest.mark.parametrize("encoding", ["cp949", "cp1252", "ascii", "utf-8"])
def test_no_letter_ends_the_program(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    portable.speak_any_language()
    print("홍길동 é ✓")
    sys.stdout.flush()
    assert raw.getvalue()


@pytest.mark.parametrize("content", [
    INVENTORY.encode(),
    INVENTORY.replace("\n", "\r\n").encode(),
    b"\xef\xbb\xbf" + INVENTORY.encode(),
    b"\xef\xbb\xbf" + INVENTORY.replace("\n", "\r\n").encode(),
], ids=["as on Linux", "CRLF", "BOM", "as Notepad writes it"])  # fmt: skip
def test_inventories_that_were_written_on_windows(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "inventory.yml"
    file.write_bytes(content.replace(b"99999", b"22"))
    inventory = load_inventory(file)
    assert [host.name for host in inventory.hosts] == ["ctl", "w1"]
    assert inventory.head.packages == ("duckdb",)
    file.write_bytes(content)
    place = load_document(file).place("workers", "w1", "ssh", "port")
    assert (place.line, place.column) == (8, 40)


def known(text: str, extra: Path) -> dict[str, str]:
    extra.write_bytes(text.encode())
    found = hostkeys.KnownHosts()._keys(extra).lookup("ctl.lab")
    return {kind: key.get_base64() for kind, key in (found or {}).items()}


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (f"ctl.lab ssh-ed25519 {KEY} 홍길동\n", {"ssh-ed25519": KEY}),
        (f"\ufeff# 서울\r\nctl.lab,10.0.0.10 ssh-ed25519 {KEY}\r\n", {"ssh-ed25519": KEY}),
        (f"other ssh-ed25519 {OTHER}\nctl.lab ssh-ed25519 {KEY}\nctl.lab ssh-ed25519 {OTHER}\n", {"ssh-ed25519": KEY}),
        (f"\n   \nctl.lab\nctl.lab nonsense {KEY}\n", {}),
    ],
)
def test_host_keys_are_read_whatever_the_code_page(
    text: str, keys: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setattr(hostkeys, "own_file", lambda: tmp_path / "none")
    assert known(text, tmp_path / "extra") == keys


def test_a_remembered_key_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostkeys, "own_file", lambda: tmp_path / "ours" / "known_hosts")
    key = Ed25519Key(data=base64.b64decode(KEY))
    hostkeys.remember("ctl.lab", key)
    found = hostkeys.KnownHosts()._keys(None).lookup("ctl.lab")
    assert found is not None
    assert found["ssh-ed25519"] == key


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_ssh_config_is_read_whatever_the_code_page(newline: str, mark: str, tmp_path: Path) -> None:
    file = tmp_path / "config"
    text = mark + newline.join(["# 서울 연구실", "Host ctl", "  HostName 10.0.0.10", "  User 홍길동", ""])
    file.write_bytes(text.encode())
    found = connect._ssh_config(file).lookup("ctl")
    assert (found["hostname"], found["user"]) == ("10.0.0.10", "홍길동")


def test_a_missing_ssh_config_is_no_empty_one(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="config"):
        connect._ssh_config(tmp_path / "config")


@pytest.mark.parametrize(
    ("windows", "path"),
    [(False, "/etc/ssh/ssh_config"), (True, str(Path(r"D:\Data", "ssh", "ssh_config")))],
)
def test_where_the_machines_own_settings_are(windows: bool, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portable, "WINDOWS", windows)
    monkeypatch.setenv("PROGRAMDATA", r"D:\Data")
    assert portable.system_file("ssh", "ssh_config") == Path(path)


@pytest.mark.skipif(portable.WINDOWS, reason="POSIX")
@pytest.mark.parametrize(("before", "wanted", "after"), [(64, 100, 100), (200, 100, 200), (64, 1 << 40, None)])
def test_many_hosts_need_many_connections(before: int, wanted: int, after: int | None) -> None:
    code = (
        "import resource, sys; from provisioner.portable import allow_open_files\n"
        "hard = min(300, resource.getrlimit(resource.RLIMIT_NOFILE)[1])\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({before}, hard)); allow_open_files({wanted})\n"
        f"assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == ({after} or hard)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
