"""Environments with the real uv, a real interpreter and two tiny wheels: complete, or not in use."""

from __future__ import annotations

import base64
import hashlib
import os
import platform
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from uv import find_uv_bin

from provisioner.remote import service
from provisioner.remote.failure import Failure
from provisioner.remote.host import Host
from provisioner.remote.resource import Resource
from provisioner.remote.resources.environment import read_stamp, try_out
from tests.unit.remote_host import World, found, make, shown

HERE = platform.python_version()


def wheel(folder: Path, name: str, code: str) -> Path:
    """Make a wheel of one module."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": code.encode(),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{file},sha256={_record(data)},{len(data)}" for file, data in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    with zipfile.ZipFile(path, "w") as bundle:
        for file, data in files.items():
            bundle.writestr(file, data)
    return path


def _record(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


@pytest.fixture(scope="session")
def uv_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real uv as the wheel it travels in and unpacked, in a folder with its hash for a name, as in a store."""
    folder = tmp_path_factory.mktemp("store")
    wheel = folder / "uv-0-py3-none-linux.whl"
    with zipfile.ZipFile(wheel, "w") as bundle:
        bundle.write(find_uv_bin(), "uv-0.data/scripts/uv")
    shutil.copy(find_uv_bin(), folder / "uv")
    return folder.rename(folder.parent / hashlib.sha256(wheel.read_bytes()).hexdigest())


class Site:
    """A controller with a lock and its files, and the host that builds from them."""

    def __init__(self, world: World, folder: Path, uv_store: Path) -> None:
        self.world = world
        self.wheels = [wheel(folder, "one", "import two\n"), wheel(folder, "two", "VALUE = 2\n")]
        self.uv_store = uv_store
        self.locked = 0
        self.change: Callable[[dict[str, Any]], None] = lambda lock: None
        world.controller.answers["controller", "lock"] = self.lock

    def lock(self, args: dict[str, Any]) -> dict[str, Any]:
        self.locked += 1
        assert args["facts"]["os"] == "linux"
        assert set(args) == {"facts", "python"} and args["python"] == HERE
        wheels = [self._file(path) for path in self.wheels]
        pins = "".join(f"{each['filename'].split('-')[0]}==1.0 --hash=sha256:{each['sha256']}\n" for each in wheels)
        lock = {"digest": "d", "requirements": pins, "wheels": wheels, "uv": self._uv()}
        self.change(lock)
        return lock

    def _file(self, path: Path) -> dict[str, Any]:
        data = path.read_bytes()
        return {"filename": path.name, "sha256": self.world.controller.offer(data), "size": len(data)}

    def _uv(self) -> dict[str, Any]:
        wheel = self.uv_store / "uv-0-py3-none-linux.whl"
        return {"filename": wheel.name, "sha256": self.uv_store.name, "size": wheel.stat().st_size}

    def stock(self) -> None:
        """Have uv in the host's store already: writing 50 MB takes its time."""
        there = self.world.root / "store" / self.uv_store.name
        shutil.copytree(self.uv_store, there, copy_function=os.link)

    def host(self) -> Host:
        host = self.world.host()
        found(HERE).observe(host)
        return host

    def environment(self, identity: str = "e1", check: tuple[str, ...] = ("one",), **params: Any) -> Resource:
        return make("environment", id=identity, requirements=["one", "two"], check=list(check), **params)

    def folder(self, identity: str = "e1") -> Path:
        return self.world.root / "env" / f"{HERE}-{identity}"


@pytest.fixture
def bare(tmp_path: Path, uv_store: Path) -> Site:
    return Site(World(tmp_path), tmp_path, uv_store)


@pytest.fixture
def site(bare: Site) -> Site:
    bare.stock()
    return bare


def test_it_is_built_once_and_works(bare: Site) -> None:
    site = bare
    uv = next(site.uv_store.glob("*.whl"))
    site.world.controller.files[site.uv_store.name] = uv.read_bytes()
    missing = ("add", f"environment {HERE}-e1", "", "one, two")
    assert shown(site.environment().observe(site.host())) == [missing]
    assert site.environment().ensure(site.host()) == "2 packages"
    assert site.environment().observe(site.host()) == []
    python = site.folder() / "bin" / "python"
    code = "import one, two, sys; print(two.VALUE, sys.prefix)"
    out = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, timeout=30, check=True).stdout
    assert out == f"2 {site.folder()}\n"
    assert [path.name for path in (site.world.root / "env").iterdir()] == [f"{HERE}-e1"], "no working folder is left"
    assert site.environment().traces(site.host()) == [], "it stays for the next time; --purge removes it"
    assert len(site.world.controller.sent) == 3
    site.environment("e2").ensure(site.host())
    assert len(site.world.controller.sent) == 3, "a second one receives nothing again"
    assert site.environment("e1").observe(site.host()) == site.environment("e2").observe(site.host()) == []


@pytest.mark.parametrize(("lock", "good"), [("d", True), ("another", False)])
def test_packages_that_were_settled_before_the_run_must_be_those_that_are_there(
    lock: str, good: bool, site: Site
) -> None:
    settled = make("environment", id="e1", requirements=["one", "two"], check=["one"], lock=lock)
    assert shown(settled.observe(site.host())) == [("add", f"environment {HERE}-e1", "", "one, two")]
    site.environment().ensure(site.host())
    if good:
        assert settled.observe(site.host()) == []
        return
    with pytest.raises(Failure, match=f"{HERE}-e1 holds other packages than were locked") as caught:
        settled.observe(site.host())
    assert "provision lock --upgrade" in caught.value.remedy


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "environment.json").unlink(),
        lambda folder: (folder / "environment.json").write_text("{"),
        lambda folder: (folder / "environment.json").write_text('{"id": "other"}'),
        lambda folder: (folder / "bin" / "python").unlink(),
    ],
    ids=["unfinished", "cut", "other", "no interpreter"],
)
def test_a_half_one_is_never_in_use(damage: Callable[[Path], None], bare: Site) -> None:
    site = bare
    folder = site.folder()
    (folder / "bin").mkdir(parents=True)
    (folder / "left over").touch()
    (folder / "environment.json").write_text('{"id": "e1"}')
    (folder / "bin" / "python").symlink_to("/bin/true")
    assert site.environment().observe(site.host()) == []
    damage(folder)
    assert len(site.environment().observe(site.host())) == 1


def test_a_half_one_is_built_anew(site: Site) -> None:
    (site.folder() / "bin").mkdir(parents=True)
    (site.folder() / "left over").touch()
    (site.world.root / "env" / f"{HERE}-e1.work").mkdir()
    site.environment().ensure(site.host())
    assert site.environment().observe(site.host()) == []
    assert not (site.folder() / "left over").exists()


def test_one_that_another_run_has_made_meanwhile_is_left_alone(site: Site) -> None:
    late = site.environment()
    assert late.observe(site.host()) != []
    site.environment().ensure(site.host())
    (site.folder() / "in use").touch()
    assert late.ensure(site.host()) == "made by another run meanwhile"
    assert (site.folder() / "in use").exists()
    assert site.locked == 1


def test_one_that_cannot_be_imported_is_not_used(site: Site) -> None:
    with pytest.raises(Failure) as caught:
        site.environment(check=("one", "three")).ensure(site.host())
    assert caught.value.message == (
        "the installed packages can't be imported: ModuleNotFoundError: No module named 'three'"
    )
    assert len(site.environment().observe(site.host())) == 1


def test_versions_are_compared(site: Site, tmp_path: Path) -> None:
    site.wheels[0] = wheel(tmp_path, "one", "import two\n__version__ = '1.0'\n")
    host = site.host()
    site.environment(versions={"one": "1.0", "python": HERE}).ensure(host)
    folder = host.environment("e1")
    for versions, wrong in (
        ({"one": "1.1", "python": HERE}, "one 1.0 in place of 1.1"),
        ({"one": "1.0", "python": "3.8.1"}, f"python {HERE} in place of 3.8.1"),
    ):
        with pytest.raises(Failure) as caught:
            try_out(host, folder, versions, ["one"])
        assert caught.value.message == f"{folder} has {wrong}"
    with pytest.raises(Failure, match=r"e2 has one 1.0 in place of 2.0"):
        site.environment("e2", versions={"one": "2.0"}).ensure(host)
    assert read_stamp(host.environment("e2")) is None


@pytest.mark.parametrize("ahead", ["", "a node runs", "another account"])
def test_byte_code_is_written_ahead_where_time_counts(ahead: str, site: Site) -> None:
    host = site.host()
    if ahead == "a node runs":
        host.write(service.spec_path(host, "ray-lab"), b'{"argv": [], "env": {}, "python": ""}')
    if ahead == "another account":
        host.account = "ray"
    site.environment(check=("two",)).ensure(host)
    compiled = {path.name.partition(".")[0] for path in site.folder().rglob("*.pyc")}
    assert ("one" in compiled) is bool(ahead)


def test_the_stamp_is_written_when_all_is_on_the_disk(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[bool] = []
    monkeypatch.setattr("os.sync", lambda: flushed.append((site.folder() / "environment.json").exists()))
    site.environment().ensure(site.host())
    assert flushed == [False]
    made_of = (read_stamp(str(site.folder())) or {})["files"]
    assert set(made_of) == {path.name for path in (site.world.root / "store").iterdir()}


def test_a_wheel_that_is_not_the_locked_one_is_refused(site: Site) -> None:
    def forge(lock: dict[str, Any]) -> None:
        lock["requirements"] = lock["requirements"].replace("sha256:", "sha256:0000")

    site.change = forge
    with pytest.raises(Failure, match="uv pip failed"):
        site.environment().ensure(site.host())
    assert len(site.environment().observe(site.host())) == 1
    assert not (site.world.root / "env" / f"{HERE}-e1.work").exists()


def test_too_little_room_is_told_before_anything_is_sent(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: str) -> SimpleNamespace:
        return SimpleNamespace(free=1000)

    monkeypatch.setattr(shutil, "disk_usage", full)
    old = site.folder("old")
    (old / "lib").mkdir(parents=True)
    (old / "lib" / "big").write_bytes(b"x" * (3 << 20))
    (old / "environment.json").write_text('{"id": "old"}')
    with pytest.raises(Failure, match="has 0 MiB free, the environment needs 0 MiB") as caught:
        site.environment().ensure(site.host())
    assert site.world.controller.sent == []
    assert caught.value.remedy == (
        "free some space there, or choose another `root:`; "
        f"what no longer runs may be removed there: {old} (3 MiB)"
    )  # fmt: skip


def test_a_playbook_that_never_looks_for_python(bare: Site) -> None:
    with pytest.raises(Failure) as caught:
        bare.environment().ensure(bare.world.host())
    assert (caught.value.message, caught.value.remedy) == (
        "no task has looked for Python", "put a task with `python: {}` before this one"
    )  # fmt: skip
    assert bare.locked == 0


def test_a_full_disk_is_named(bare: Site) -> None:
    from provisioner.remote.resources.environment import _run

    argv = ["/bin/sh", "-c", "echo 'No space left on device (os error 28)'; exit 2"]
    with pytest.raises(Failure, match="the disk is full"):
        _run(bare.host(), argv)
