"""``provision lock`` and ``provision bundle`` as users type them: the real uv, a package index on loopback."""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import socket
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from provisioner.artifacts.bundle import Bundle, File
from provisioner.artifacts.slice import Slice
from provisioner.cli import main
from provisioner.cli.fixed import prepare, read_locks
from provisioner.errors import InputError, ProvisionError
from provisioner.inventory.load import load_inventory
from provisioner.inventory.lockfile import write_lock_file
from provisioner.ray.start import environment_id
from tests.index import Index
from tests.interpreters import mirror, pretended

PASSWORD = "s3cret-pass"
INVENTORY = """\
cluster: lab
python: {{version: 3.11.9, mirror: {mirror}}}
ray: {{version: 2.60.0}}
artifacts:
  index: {{url: "{index}", username: kim, password: {{from_env: INDEX_PW}}}}
head:
  ctl: {{address: 127.0.0.1, ssh: {{port: {port}}}}}
workers:
  w1: {{address: 127.0.0.2, ssh: {{port: {port}}}}}
  pc: {{address: 127.0.0.3, os: windows, packages: [demo], ssh: {{port: {port}}}}}
"""
LINUX = {"os": "linux", "arch": "x86_64", "libc": "glibc", "libc_version": "2.36"}


@dataclass(frozen=True)
class Done:
    """What a command ended with."""

    code: int
    out: str
    err: str


Provision = Callable[..., Done]


@dataclass(frozen=True)
class Workplace:
    """A folder to work in, and the package index that its inventory names."""

    folder: Path
    index: Index


@contextmanager
def opened(folder: Path) -> Iterator[Workplace]:
    """Fill a folder: packages that are served, a mirror of interpreters, an inventory whose hosts can't be reached."""
    index = Index(folder / "packages", "kim", PASSWORD)
    index.add_uv()
    index.add("ray", "2.60.0", "cp311-cp311-manylinux2014_x86_64", needs=["click"])
    index.add("ray", "2.60.0", "cp311-cp311-win_amd64", needs=["click", "colour"])
    index.add("redis", "7.0")
    index.add("click", "8.1")
    index.add("colour", "1.0")
    index.add("demo", "1.0", needs=["click"])
    archives = [pretended(folder / "made", "3.11.9", os_name) for os_name in ("linux", "windows")]
    address = mirror(folder / "mirror", archives)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with index.serving():
        (folder / "inventory.yml").write_text(INVENTORY.format(mirror=address, index=index.url, port=port))
        yield Workplace(folder, index)


def settle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder, with no settings but its own."""
    for name in [name for name in os.environ if name.startswith(("UV_", "XDG_", "PROVISION_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.setenv("UV_CACHE_DIR", str(folder / "uv"))
    monkeypatch.setenv("PROVISION_CACHE", str(folder / "cache"))
    monkeypatch.setenv("INDEX_PW", PASSWORD)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.chdir(folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A workplace with a lock file and a bundle, made once."""
    with pytest.MonkeyPatch.context() as monkeypatch, opened(tmp_path_factory.mktemp("finished")) as place:
        settle(place.folder, monkeypatch)
        for words in (["lock"], ["bundle", "-o", "all.bundle"]):
            monkeypatch.setattr("sys.argv", ["provision", *words])
            main()
        yield place


@pytest.fixture
def folder(finished: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: a copy of the finished workplace, with its lock file but without its cache."""
    for name in ("inventory.yml", "inventory.lock.yml", "all.bundle"):
        shutil.copy(finished.folder / name, tmp_path / name)
    settle(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workplace]:
    """A workplace of the test's own, where nothing is locked."""
    with opened(tmp_path) as place:
        settle(tmp_path, monkeypatch)
        yield place


@pytest.fixture
def provision(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Provision:
    """Runs a command in this process."""

    def run(*words: str) -> Done:
        monkeypatch.setattr("sys.argv", ["provision", *words])
        with pytest.raises(SystemExit) as caught:
            main()
            raise SystemExit(0)
        out, err = capsys.readouterr()
        assert PASSWORD not in out + err
        return Done(int(caught.value.code or 0), out, err)

    return run


def edit(file: Path, *changes: tuple[str, str]) -> None:
    text = file.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    file.write_text(text)


def test_a_lock_file_is_readable_complete_and_stable(fresh: Workplace, provision: Provision) -> None:
    folder = fresh.folder
    done = provision("lock")
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        "linux-x86_64-glibc2.28, Python 3.11.9 (ctl, w1): 3 packages, new",
        "windows-x86_64, Python 3.11.9 (pc): 5 packages, new",
        "inventory.lock.yml written",
    ]
    text = (folder / "inventory.lock.yml").read_text()
    assert text.startswith("# The packages of the cluster lab, exactly as every run installs them.\n")
    assert PASSWORD not in text
    assert "kim" not in text
    locks = read_locks(load_inventory(Path("inventory.yml")))
    assert locks
    linux, windows = locks.environments
    assert [wheel.filename for wheel in linux.lock.wheels] == [
        "click-8.1-py3-none-any.whl",
        "ray-2.60.0-cp311-cp311-manylinux2014_x86_64.whl",
        "redis-7.0-py3-none-any.whl",
    ]
    assert all(wheel.size for wheel in linux.lock.wheels)
    assert (linux.requirements, windows.requirements) == (
        ("ray[default]==2.60.0", "redis"),
        ("demo", "ray[default]==2.60.0", "redis"),
    )
    assert linux.interpreter
    assert windows.interpreter
    assert "windows" in windows.interpreter.filename
    before = (folder / "inventory.lock.yml").stat().st_mtime_ns
    assert provision("lock").out.splitlines()[-1] == "inventory.lock.yml is as it was"
    assert (folder / "inventory.lock.yml").stat().st_mtime_ns == before


def test_versions_stay_until_an_upgrade_and_what_is_new_is_shown(fresh: Workplace, provision: Provision) -> None:
    index = fresh.index
    folder = fresh.folder
    provision("lock")
    index.add("click", "8.2", needs=["fresh"])
    index.add("fresh", "0.1")
    edit(folder / "inventory.yml", ("packages: [demo]", "packages: [other]"))
    index.add("other", "3.0")
    kept = provision("lock")
    assert kept.out.splitlines() == [
        "linux-x86_64-glibc2.28, Python 3.11.9 (ctl, w1): 3 packages, as before",
        "windows-x86_64, Python 3.11.9 (pc): 5 packages, 1 added, 1 removed",
        "  + other 3.0",
        "  - demo 1.0",
        "inventory.lock.yml written",
    ]
    before = (folder / "inventory.lock.yml").read_text()
    upgraded = json.loads(provision("lock", "--upgrade", "--json").out)
    assert (upgraded["lock_file"], upgraded["written"]) == ("inventory.lock.yml", True)
    assert upgraded["environments"][0] == {
        "platform": "linux-x86_64-glibc2.28", "python": "3.11.9", "hosts": ["ctl", "w1"], "packages": 4, "new": False,
        "added": {"fresh": "0.1"}, "changed": {"click": ["8.1", "8.2"]}, "removed": {},
    }  # fmt: skip
    (folder / "inventory.lock.yml").write_text(before)
    assert provision("lock", "--upgrade").out.splitlines() == [
        "linux-x86_64-glibc2.28, Python 3.11.9 (ctl, w1): 4 packages, 1 added, 1 changed",
        "  + fresh 0.1",
        "  ~ click 8.1 -> 8.2",
        "windows-x86_64, Python 3.11.9 (pc): 6 packages, 1 added, 1 changed",
        "  + fresh 0.1",
        "  ~ click 8.1 -> 8.2",
        "inventory.lock.yml written",
    ]


def test_a_lock_keeps_what_a_run_found_on_this_machine(fresh: Workplace, provision: Provision) -> None:
    index = fresh.index
    inventory = load_inventory(Path("inventory.yml"))
    _, artifacts = prepare(inventory, None)
    found = artifacts.lock(LINUX, "3.11.9", ("ray[default]==2.60.0", "redis"))
    index.add("click", "8.2")
    provision("lock")
    locks = read_locks(inventory)
    assert locks
    assert locks.environments[0].lock.digest == found.digest
    assert locks.environments[0].environment == environment_id(inventory.head, inventory), "it restarts nothing"
    assert locks.environments[1].environment != environment_id(inventory.host("pc"), inventory)
    provision("lock")
    assert read_locks(inventory) == locks
    provision("lock", "--upgrade")
    upgraded = read_locks(inventory)
    assert upgraded
    assert upgraded.environments[0].environment != locks.environments[0].environment


def test_a_run_takes_exactly_what_is_locked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisioner.artifacts.program.uv_program", lambda: pytest.fail("uv was started"))
    plain = load_inventory(Path("inventory.yml"))
    fixed, artifacts = prepare(plain, None)
    lock = artifacts.lock(LINUX, "3.11.9", ("redis", "ray[default]==2.60.0"))
    assert {wheel.name: wheel.version for wheel in lock.wheels}["click"] == "8.1"
    settled = [host.fixed for host in fixed.hosts]
    assert settled[0] is not None
    assert settled[0].digest == lock.digest
    assert settled[0] == settled[1] != settled[2]
    assert [environment_id(host, fixed) for host in fixed.hosts] == [each.environment for each in settled if each]
    assert artifacts.path(lock.wheels[0].sha256).is_file()
    archive = artifacts.interpreter({"os": "windows", "arch": "AMD64"}, "3.11.9", plain.head.interpreter.mirror)
    assert artifacts.path(archive.sha256).stat().st_size == archive.size


def test_what_is_gone_from_the_index_is_taken_from_a_folder(
    fresh: Workplace, provision: Provision, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = fresh.index
    folder = fresh.folder
    provision("lock")
    kept = folder / "kept"
    kept.mkdir()
    for file in list(index.folder.iterdir()):
        file.rename(kept / file.name)
    monkeypatch.setenv("PROVISION_CACHE", str(folder / "another cache"))
    requirements = ("redis", "ray[default]==2.60.0")
    _, artifacts = prepare(load_inventory(Path("inventory.yml")), None)
    with pytest.raises(Exception, match="could not be fetched"):
        artifacts.lock(LINUX, "3.11.9", requirements)
    (kept / "redis-7.0-py3-none-any.whl").write_bytes(b"another file of that name")
    edit(folder / "inventory.yml", ("artifacts:\n", "artifacts:\n  find_links: [kept]\n"))
    _, artifacts = prepare(load_inventory(Path("inventory.yml")), None)
    with pytest.raises(Exception, match=r"redis-7\.0.* could not be fetched"):
        artifacts.lock(LINUX, "3.11.9", requirements)
    index.add("redis", "7.0").rename(kept / "redis-7.0-py3-none-any.whl")
    assert len(artifacts.lock(LINUX, "3.11.9", requirements).wheels) == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("2.60.0", "2.59.0"), "without ray[default]==2.59.0 and with ray[default]==2.60.0 (wanted for ctl, w1)"),
        (("[demo]", "[demo, click]"), "windows-x86_64, Python 3.11.9 were locked without click (wanted for pc)"),
        (("3.11.9", "3.11.8"), "nothing for Python 3.11.8 on linux-x86_64-glibc2.28, only for 3.11.9"),
        (
            ("os: windows", "os: macos, arch: aarch64"),
            "nothing for macos-aarch64, only for linux-x86_64-glibc2.28, windows-x86_64",
        ),
        (("cluster: lab\n", 'cluster: lab\nglibc: "2.17"\n'), "it holds nothing for linux-x86_64-glibc2.17"),
        (("artifacts:\n", "artifacts:\n  constraints: [limits.txt]\n"), "the constraints have changed since"),
    ],
)
def test_a_lock_that_does_not_fit_is_refused_before_contact(
    change: tuple[str, str], words: str, folder: Path, provision: Provision
) -> None:
    (folder / "limits.txt").write_text("click<9\n")
    edit(folder / "inventory.yml", change)
    for verb in ("check", "apply"):
        done = provision(verb)
        assert done.code == 1
        assert "inventory.lock.yml does not fit inventory.yml: " in done.err
        assert words in done.err
        assert "-> run `provision lock inventory.yml`" in done.err


def test_an_interpreter_that_was_not_locked_is_missed(folder: Path, provision: Provision) -> None:
    edit(folder / "inventory.yml", ("version: 3.11.9,", "version: 3.11.9, source: system,"))
    provision("lock")
    assert "interpreter" not in (folder / "inventory.lock.yml").read_text()
    edit(folder / "inventory.yml", (", source: system,", ","))
    assert "it holds no interpreter for linux-x86_64-glibc2.28" in provision("check").err


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        ('version: "8.1"', 'version: "8.0"', "5:3", "changed by hand or are not all there"),
        ("format: 1", "format: 7", "3:9", "has format 7"),
        ("format: 1", "form: 1", "3:1", "did you mean 'format'?"),
        ("python: 3.11.9", "python: 3.11", "6:11", "wants an exact version"),
        ("url: http://", "url: http://me:pw@", "", "wants a URL without credentials"),
        ("sha256: ", "sha256: g", "", "wants a sha256"),
        ("- platform", "  platform", "", "this is not YAML"),
    ],
)
def test_a_lock_file_that_was_edited_is_named_with_its_place(
    old: str, new: str, place: str, words: str, folder: Path, provision: Provision
) -> None:
    file = folder / "inventory.lock.yml"
    text = file.read_text()
    assert old in text, text
    file.write_text(text.replace(old, new, 1))
    for words_of_command in (["check"], ["lock"], ["bundle"]):
        done = provision(*words_of_command)
        assert done.code == 1
        assert f"inventory.lock.yml:{place}" in done.err
        assert words in done.err
        assert "take back the file as it was, or run `provision lock inventory.yml --upgrade`" in done.err


def test_an_upgrade_replaces_a_spoilt_lock_file(folder: Path, provision: Provision) -> None:
    file = folder / "inventory.lock.yml"
    text = file.read_text()
    file.write_text("spoilt")
    assert provision("lock", "--upgrade").code == 0
    assert file.read_text() == text


@pytest.mark.parametrize("lines", [4, 12, 30, -3])
def test_a_lock_file_that_was_cut_off_is_refused(lines: int, folder: Path, provision: Provision) -> None:
    file = folder / "inventory.lock.yml"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:lines]))
    done = provision("check")
    assert done.code == 1
    assert "inventory.lock.yml" in done.err


def test_a_lock_is_no_inventory(folder: Path, provision: Provision) -> None:
    (folder / "inventory").mkdir()
    (folder / "inventory.yml").rename(folder / "inventory" / "lab.yml")
    (folder / "inventory.lock.yml").rename(folder / "inventory" / "lab.lock.yml")
    assert provision("lock").out.splitlines()[-1] == "inventory/lab.lock.yml written"  # it names the inventory
    assert provision("lock").out.splitlines()[-1] == "inventory/lab.lock.yml is as it was"


def test_what_cannot_be_locked_is_said_with_its_place(fresh: Workplace, provision: Provision) -> None:
    index = fresh.index
    folder = fresh.folder
    index.add("ray", "2.58.0", "cp311-cp311-manylinux2014_x86_64")
    edit(folder / "inventory.yml", ("2.60.0", "2.59.0"))
    done = provision("lock")
    assert done.code == 1
    assert "inventory.yml:3:16: ray[default]==2.59.0 does not exist in the package index" in done.err
    assert "the nearest: 2.58.0 and 2.60.0" in done.err
    assert not (folder / "inventory.lock.yml").exists()


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


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        ("packages: [demo]", "packages: [demo, no-such-thing]", "10:58", "the package index has no package no-such-t"),
        ("version: 3.11.9,", "version: 3.11.7,", "2:9", "there is no archive of Python 3.11.7 for linux x86_64 in "),
    ],
)
def test_mistakes_that_only_show_while_locking_are_told_where_they_stand(
    old: str, new: str, place: str, words: str, fresh: Workplace, provision: Provision
) -> None:
    edit(fresh.folder / "inventory.yml", (old, new))
    done = provision("lock")
    assert done.code == 1
    assert f"inventory.yml:{place}: {words}" in done.err


def test_a_line_of_constraints_that_says_nothing_is_named_with_its_file(fresh: Workplace, provision: Provision) -> None:
    edit(fresh.folder / "inventory.yml", ("artifacts:\n", "artifacts:\n  constraints: [limits.txt]\n"))
    (fresh.folder / "limits.txt").write_text("click<9\nnonsense here!\n")
    done = provision("lock")
    assert done.code == 1
    assert "limits.txt is no requirement: Expected one of" in done.err


def test_an_index_password_is_only_wanted_where_the_index_is_asked(
    folder: Path, provision: Provision, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INDEX_PW")
    wanted = "inventory.yml:5:10: the environment variable INDEX_PW, which should hold this secret, is not set"
    for verb in ("apply", "lock"):
        done = provision(verb)
        assert (done.code, wanted in done.err) == (1, True), done
    unreachable = 4
    assert provision("apply", "--bundle", "all.bundle").code == unreachable
    assert provision("teardown", "--yes").code == unreachable
    assert provision("versions").code == 0


def test_a_host_of_another_platform_is_refused_with_what_to_write(folder: Path, provision: Provision) -> None:
    from provisioner.artifacts.platform import Platform
    from provisioner.errors import HostFailed

    inventory = load_inventory(Path("inventory.yml"))
    _, artifacts = prepare(inventory, None)
    declared = Platform.of_host(inventory.head)
    cases = {
        ("arm64", "2.36"): "`arch: aarch64`",
        ("x86_64", "2.17"): '`glibc: "2.17"`',
    }
    for (arch, libc), remedy in cases.items():
        with pytest.raises(HostFailed, match=r"inventory\.lock\.yml was made for linux-x86_64-glibc2\.28") as caught:
            facts = {**LINUX, "arch": arch, "libc_version": libc}
            artifacts.lock(facts, "3.11.9", ("ray[default]==2.60.0", "redis"), declared=declared)
        assert remedy in caught.value.remedy
        assert "provision lock inventory.yml" in caught.value.remedy
    with pytest.raises(HostFailed, match=r"nothing for Python 3\.11\.2") as caught:
        artifacts.lock(LINUX, "3.11.2", ("ray[default]==2.60.0", "redis"), declared=declared)
    assert caught.value.remedy == (
        "write `python: {version: 3.11.2}` for this host in the inventory, then run `provision lock inventory.yml`"
    )


def test_what_is_to_be_written_for_a_host_with_another_patch_version_can_be_locked(
    folder: Path, provision: Provision
) -> None:
    edit(folder / "inventory.yml", ("version: 3.11.9,", "version: 3.11.9, source: system, match: minor,"))
    edit(folder / "inventory.yml", ("w1: {", "w1: {python: {version: 3.11.2}, "))
    host = load_inventory(Path("inventory.yml")).host("w1")
    assert (host.python, host.interpreter.source, host.interpreter.match) == ("3.11.2", "system", "minor")


def test_what_a_killed_run_left_goes_in_time(folder: Path, provision: Provision) -> None:
    for name, age in (("old", 3600.0), ("new", 0.0)):
        half = folder / f".all.bundle.part-{name}"
        half.write_bytes(b"half")
        os.utime(half, (time.time() - age, time.time() - age))
    assert provision("bundle", "-o", "all.bundle").code == 0
    assert [path.name for path in folder.glob(".all.bundle*")] == [".all.bundle.part-new"]


def test_a_package_that_was_built_here_is_locked_and_bundled(
    fresh: Workplace, provision: Provision, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh.index.add_sdist("old", "0.6")
    edit(fresh.folder / "inventory.yml", ("artifacts:\n", "packages: [old]\nartifacts:\n  sdists: [old]\n"))
    edit(fresh.folder / "inventory.yml", ("packages: [demo], ", ""))
    assert provision("lock").code == 0
    text = (fresh.folder / "inventory.lock.yml").read_text()
    assert "file: old-0.6.tar.gz" in text
    assert str(fresh.folder / "cache") not in text
    assert provision("bundle", "-o", "all.bundle").code == 0
    wanted = ("old", "ray[default]==2.60.0", "redis")
    inventory = load_inventory(Path("inventory.yml"))
    monkeypatch.setenv("PROVISION_CACHE", str(fresh.folder / "another cache"))
    _, elsewhere = prepare(inventory, None)
    built = {wheel.name: wheel for wheel in elsewhere.lock(LINUX, "3.11.9", wanted).wheels}["old"]
    assert elsewhere.path(built.sha256).name == "old-0.6-py3-none-any.whl", "the same sources give the same wheel"
    _, bundled = prepare(inventory, "all.bundle")
    assert isinstance(bundled.open(built.sha256), Slice)


def test_sources_that_build_to_another_file_are_refused(
    fresh: Workplace, provision: Provision, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh.index.add_sdist("old", "0.6", salt="__import__('os').urandom(8).hex()")
    edit(fresh.folder / "inventory.yml", ("artifacts:\n", "packages: [old]\nartifacts:\n  sdists: [old]\n"))
    edit(fresh.folder / "inventory.yml", ("packages: [demo], ", ""))
    assert provision("lock").code == 0
    inventory, wanted = load_inventory(Path("inventory.yml")), ("old", "ray[default]==2.60.0", "redis")
    _, here = prepare(inventory, None)
    built = {wheel.name: wheel for wheel in here.lock(LINUX, "3.11.9", wanted).wheels}["old"]
    kept = folder_with(fresh.folder / "kept", here.path(built.sha256))
    monkeypatch.setenv("PROVISION_CACHE", str(fresh.folder / "another cache"))
    _, elsewhere = prepare(inventory, None)
    with pytest.raises(ProvisionError, match="building it here gives another file") as caught:
        elsewhere.lock(LINUX, "3.11.9", wanted)
    assert "find_links" in caught.value.remedy
    edit(fresh.folder / "inventory.yml", ("artifacts:\n", f"artifacts:\n  find_links: [{kept}]\n"))
    _, elsewhere = prepare(load_inventory(Path("inventory.yml")), None)
    assert built in elsewhere.lock(LINUX, "3.11.9", wanted).wheels


def folder_with(folder: Path, file: Path) -> Path:
    folder.mkdir()
    shutil.copy(file, folder / file.name)
    return folder
