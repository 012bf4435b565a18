"""``provision lock`` as users type it: the real uv, a package index on loopback."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from provisioner.artifacts.slice import Slice
from provisioner.cli.fixed import prepare, read_locks
from provisioner.errors import ProvisionError
from provisioner.inventory.load import load_inventory
from provisioner.ray.start import environment_id

from .locks_place import LINUX, PASSWORD, Provision, Workplace, edit, finished, folder, fresh, provision

__all__ = ["finished", "folder", "fresh", "provision"]


def test_a_lock_file_is_readable_complete_and_stable(fresh: Workplace, provision: Provision) -> None:
    folder = fresh.folder
    done = provision("lock")
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        "linux-x86_64-glibc2.28, Python 3.11.9 (ctl, w1): 3 packages, new",
        "windows-x86_64, Python 3.11.9 (pc): 6 packages, new",
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
        ("demo", "msvc-runtime", "ray[default]==2.60.0", "redis"),
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
        "windows-x86_64, Python 3.11.9 (pc): 6 packages, 1 added, 1 removed",
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
        "windows-x86_64, Python 3.11.9 (pc): 7 packages, 1 added, 1 changed",
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
