"""``provision bundle`` and ``--bundle`` as users type them: the real uv, a package index on loopback."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from provisioner.artifacts.bundle import Bundle, File
from provisioner.cli.fixed import prepare, read_locks
from provisioner.errors import InputError
from provisioner.inventory.load import load_inventory
from provisioner.inventory.lockfile import write_lock_file

from .locks_place import LINUX, PASSWORD, Provision, Workplace, edit, finished, folder, fresh, provision

__all__ = ["finished", "folder", "fresh", "provision"]


def test_a_bundle_needs_neither_index_nor_uv_nor_cache(
    folder: Path, finished: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = finished.index
    index.asked.clear()
    monkeypatch.setattr("provisioner.artifacts.program.uv_program", lambda: pytest.fail("uv was started"))
    inventory = load_inventory(Path("inventory.yml"))
    fixed, artifacts = prepare(inventory, "all.bundle")
    assert artifacts.fixed
    lock = artifacts.lock(LINUX, "3.11.9", ("redis", "ray[default]==2.60.0"))
    archive = artifacts.interpreter({"os": "linux", "arch": "x86_64"}, "3.11.9", inventory.head.interpreter.mirror)
    files: list[File] = [*lock.wheels, lock.uv, archive]
    for file in files:
        content = artifacts.open(file.sha256)
        assert not isinstance(content, Path)
        with content.open() as opened:
            assert len(opened.read()) == content.size == file.size
    assert artifacts.path(archive.sha256).stat().st_size == archive.size
    assert index.asked == []
    assert all(host.fixed for host in fixed.hosts)


def test_the_same_locks_give_the_same_bundle(folder: Path, provision: Provision) -> None:
    done = provision("bundle", "-o", "again.bundle")
    assert done.code == 0, done.err
    assert "again.bundle written" in done.out
    assert "provision apply inventory.yml --bundle again.bundle" in done.out
    assert (folder / "again.bundle").read_bytes() == (folder / "all.bundle").read_bytes()
    locks = read_locks(load_inventory(Path("inventory.yml")))
    assert Bundle(folder / "all.bundle").locks == locks
    assert PASSWORD.encode() not in (folder / "all.bundle").read_bytes()
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def cut(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])


def spoil(file: Path, what: bytes) -> None:
    content = bytearray(file.read_bytes())
    at = content.index(what)
    content[at] ^= 1
    file.write_bytes(bytes(content))


def rewrite(file: Path, change: Callable[[dict[str, object]], None]) -> None:
    """Change the manifest and leave the rest."""
    with zipfile.ZipFile(file) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(content["manifest.json"])
    change(manifest)
    content["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def drop_member(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        content = {name: archive.read(name) for name in archive.namelist() if "click" not in name}
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def add_member(file: Path) -> None:
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("stray", b"of another")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda file: cut(file, 0.99), "all.bundle is cut off: there are "),
        (lambda file: cut(file, 0.5), "copy it again from where it was made"),
        (lambda file: cut(file, 0.0), "all.bundle is no bundle"),
        (lambda file: file.write_bytes(b"something else entirely" * 100), "all.bundle is no bundle"),
        (lambda file: spoil(file, b"VERSION = '8.1'"), "all.bundle is damaged: click-8.1-py3-none-any.whl in it"),
        (lambda file: spoil(file, b'"digest": "'), "damaged"),
        (lambda file: rewrite(file, lambda manifest: manifest.update(format=9)), "has format 9"),
        (lambda file: rewrite(file, lambda manifest: manifest.update(fingerprint="x")), "its manifest is not what was"),
        (add_member, "all.bundle is damaged: stray in it is not what was put there"),
        (drop_member, "click-8.1-py3-none-any.whl is not in it"),
        (lambda file: file.unlink(), "there is no file all.bundle"),
    ],
)
def test_a_bundle_that_is_not_whole_is_refused_before_contact(
    damage: Callable[[Path], None], words: str, folder: Path, provision: Provision
) -> None:
    (folder / "inventory.lock.yml").unlink()
    damage(folder / "all.bundle")
    done = provision("apply", "--bundle", "all.bundle")
    assert done.code == 1
    assert words in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("words", [["rollback"], ["teardown", "--yes"]])
def test_whoever_may_have_to_bring_an_interpreter_takes_a_bundle(
    words: list[str], folder: Path, provision: Provision
) -> None:
    damaged = folder / "damaged.bundle"
    damaged.write_bytes((folder / "all.bundle").read_bytes()[:-5000])
    done = provision(*words, "--bundle", "damaged.bundle")
    assert done.code == 1
    assert "damaged.bundle is cut off" in done.err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("os: windows", "os: macos, arch: aarch64"), "nothing for macos-aarch64"),
        (("2.60.0", "2.59.0"), "without ray[default]==2.59.0"),
    ],
)
def test_a_bundle_for_others_is_refused_before_contact(
    change: tuple[str, str], words: str, folder: Path, provision: Provision
) -> None:
    (folder / "inventory.lock.yml").unlink()
    edit(folder / "inventory.yml", change)
    done = provision("check", "--bundle", "all.bundle")
    assert done.code == 1
    assert "all.bundle does not fit inventory.yml" in done.err
    assert words in done.err
    assert "provision bundle inventory.yml -o all.bundle" in done.err


def test_a_bundle_and_a_lock_file_must_agree(fresh: Workplace, provision: Provision) -> None:
    index = fresh.index
    provision("bundle", "-o", "all.bundle")
    index.add("click", "8.2")
    provision("lock", "--upgrade")
    with pytest.raises(InputError, match=r"all\.bundle holds other packages than inventory\.lock\.yml"):
        prepare(load_inventory(Path("inventory.yml")), "all.bundle")
    provision("bundle", "-o", "all.bundle")
    prepare(load_inventory(Path("inventory.yml")), "all.bundle")


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """Let no file of this process grow beyond so many bytes."""
    resource = pytest.importorskip("resource", reason="files have no limit on Windows")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_spoils_neither_bundle_nor_lock_file(
    folder: Path, finished: Workplace, provision: Provision, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVISION_CACHE", str(finished.folder / "cache"))
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with full_disk(2000):
        done = provision("bundle", "-o", "all.bundle")
        assert done.code == 1
        assert "cannot write all.bundle" in done.err
        with pytest.raises(InputError, match=r"cannot write .*inventory\.lock\.yml"):
            write_lock_file(folder / "inventory.lock.yml", {"text": "long" * 1000}, "comment")
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("missing/all.bundle", "cannot write missing/all.bundle: there is no folder "),
        ("mirror", "mirror is a folder"),
    ],
)
def test_where_no_bundle_can_be_written_nothing_is_fetched_for_it(
    output: str, words: str, fresh: Workplace, provision: Provision
) -> None:
    fresh.index.asked.clear()
    done = provision("bundle", "-o", output)
    assert done.code == 1
    assert words in done.err
    assert "-> " in done.err
    assert fresh.index.asked == []
