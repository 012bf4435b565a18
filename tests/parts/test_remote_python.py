"""The Python that is brought to a host: whole or not there, and the one of before until then."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from provisioner.remote.failure import Failure
from provisioner.remote.resource import Resource
from provisioner.remote.resources.python_search import remember
from tests.unit.python_stage import Pythons, archive, pythons
from tests.unit.remote_host import World, found, shown

__all__ = ["pythons"]


class Bringing:
    """A controller that has an interpreter, and the host that wants it: a program that says its version."""

    def __init__(self, folder: Path, version: str = "3.4.7") -> None:
        self.world = World(folder)
        self.version = version
        self.asked: list[dict[str, Any]] = []
        self.says = f"echo {version}"
        self.world.controller.answers["controller", "interpreter"] = self.answer
        self.spoil: Callable[[bytes], bytes] = lambda content: content
        self.folder = self.world.root / "python" / version

    def answer(self, args: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(args)
        program = f"#!/bin/sh\n{self.says}\n".encode()
        path = archive(
            self.world.outside.parent / "made.tar.gz",
            ("file", f"python/bin/python{self.version.rpartition('.')[0]}", program),
            ("file", "python/lib/os.py", b""),
        )
        content = path.read_bytes()
        sha256 = self.world.controller.offer(content)
        self.world.controller.files[sha256] = self.spoil(content)
        return {"filename": "cpython.tar.gz", "sha256": sha256, "size": len(content)}

    def python(self) -> Resource:
        python = found(self.version, "managed")
        python.params["mirror"] = "file:///srv/python"
        return python

    def left(self) -> list[str]:
        return sorted(path.name for path in (self.world.root / "python").glob("*"))


@pytest.fixture
def bringing(tmp_path: Path) -> Bringing:
    return Bringing(tmp_path)


def test_it_is_brought_once_and_works(bringing: Bringing) -> None:
    host = bringing.world.host()
    python = bringing.python()
    assert shown(python.observe(host)) == [("add", "Python 3.4.7", "", str(bringing.folder))]
    assert not bringing.world.root.exists(), "nothing is made before the word"
    assert host.environment("e1").endswith("/env/3.4.7-e1")
    assert python.ensure(host) == f"Python 3.4.7 at {bringing.folder}/bin/python3.4"
    (asked,) = bringing.asked
    assert (asked["version"], asked["mirror"], asked["facts"]["os"]) == ("3.4.7", "file:///srv/python", "linux")
    assert bringing.left() == ["3.4.7"]
    again = bringing.world.host()
    assert python.observe(again) == []
    assert again.interpreter() == f"{bringing.folder}/bin/python3.4"
    python.ensure(again)
    assert len(bringing.asked) == len(bringing.world.controller.sent) == 1
    assert python.traces(again) == [], "it stays for the next time; --purge removes it"
    again.platform.clean(str(bringing.world.root), purge=True)
    assert not bringing.world.root.exists()


@pytest.mark.parametrize(
    ("damage", "action"),
    [
        (lambda folder: (folder / "bin" / "python3.4").write_text("#!/bin/sh\n"), "change"),
        (lambda folder: (folder / "bin" / "python3.4").unlink(), "change"),
        (lambda folder: (folder / "provision.json").unlink(), "add"),
        (lambda folder: (folder / "provision.json").write_text("{"), "change"),
        (lambda folder: (folder / "provision.json").write_text("[]"), "change"),
    ],
    ids=["replaced", "removed", "unfinished", "cut", "other"],
)
def test_a_damaged_one_is_brought_again(damage: Callable[[Path], None], action: str, bringing: Bringing) -> None:
    bringing.python().ensure(observed(bringing))
    damage(bringing.folder)
    host = bringing.world.host()
    (difference,) = bringing.python().observe(host)
    assert difference["action"] == action
    bringing.python().ensure(host)
    assert bringing.python().observe(host) == []
    assert bringing.left() == ["3.4.7"]
    assert len(bringing.world.controller.sent) == 1, "what was sent is in the store"


@pytest.mark.parametrize(
    ("environment", "active", "stops"),
    [("3.4.7-e1", True, "Ray on w1"), ("3.4.7-e1", False, ""), ("3.4.71-e1", True, ""), ("", True, "")],
)
def test_mending_the_one_that_ray_runs_on_is_asked_for(
    environment: str, active: bool, stops: str, bringing: Bringing
) -> None:
    bringing.python().ensure(observed(bringing))
    (bringing.folder / "bin" / "python3.4").unlink()
    spec = {"argv": [], "env": {}, "python": "", "environment": str(bringing.world.root / "env" / environment)}
    if environment:
        path = bringing.world.root / "service" / "ray-lab.json"
        path.parent.mkdir()
        path.write_text(json.dumps(spec))
    bringing.world.service.active = active
    (difference,) = bringing.python().observe(bringing.world.host())
    assert (difference["before"], difference["stops"]) == ("damaged", stops)


@pytest.mark.parametrize("end", [OSError("no"), KeyboardInterrupt()], ids=["refused", "killed"])
def test_the_one_of_before_stays_until_the_new_one_is_in_its_place(
    end: BaseException, bringing: Bringing, monkeypatch: pytest.MonkeyPatch
) -> None:
    bringing.python().ensure(observed(bringing))
    (bringing.folder / "bin" / "python3.4").write_text("damaged")
    rename = os.rename

    def fail(source: str, target: str) -> None:
        if source.endswith(".work"):
            raise end
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", fail)
        with pytest.raises(type(end)):
            bringing.python().ensure(observed(bringing))
    is_killed = isinstance(end, KeyboardInterrupt)
    assert bringing.left() == ["3.4.7.old" if is_killed else "3.4.7"]
    bringing.says = "echo 3.4.8"
    bringing.world.controller.files.clear()
    with pytest.raises(Failure):
        bringing.python().ensure(observed(bringing))
    assert bringing.left() == ["3.4.7"]
    assert (bringing.folder / "bin" / "python3.4").read_text() == "damaged"
    bringing.says = "echo 3.4.7"
    bringing.python().ensure(observed(bringing))
    assert bringing.python().observe(bringing.world.host()) == []


def observed(bringing: Bringing) -> Any:
    host = bringing.world.host()
    bringing.python().observe(host)
    return host


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ("echo 3.4.8", "as it was brought, does not run here: 3.4.8"),
        ("echo ModuleNotFoundError: ssl; exit 1", "does not run here: ModuleNotFoundError: ssl"),
        ("exit 3", "does not run here: exit code 3"),
    ],
)
def test_one_that_does_not_run_is_not_used(says: str, message: str, bringing: Bringing) -> None:
    bringing.says = says
    with pytest.raises(Failure, match=message):
        bringing.python().ensure(observed(bringing))
    assert bringing.left() == []
    assert len(bringing.python().observe(bringing.world.host())) == 1


def test_a_damaged_archive_is_not_used(bringing: Bringing) -> None:
    bringing.spoil = lambda content: content[:-1] + b"?"
    with pytest.raises(Failure, match=r"cpython.tar.gz arrived damaged"):
        bringing.python().ensure(observed(bringing))
    assert bringing.left() == []


def test_too_little_room_is_told_before_anything_is_sent(bringing: Bringing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(Failure, match=r"root has 0 MiB free, Python 3.4.7 needs 0 MiB"):
        bringing.python().ensure(observed(bringing))
    assert bringing.world.controller.sent == []


@pytest.mark.parametrize("whole", [True, False])
def test_what_first_contact_brought_is_not_sent_again(
    whole: bool, bringing: Bringing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisioner.remote.brought.interpreters", lambda: str(tmp_path / "home"))
    told = bringing.answer({})
    brought = tmp_path / "home" / f"{told['sha256']}.tar.gz"
    brought.parent.mkdir()
    brought.write_bytes(bringing.world.controller.files[told["sha256"]][: None if whole else -1])
    bringing.python().ensure(observed(bringing))
    assert bringing.world.controller.sent == ([] if whole else [(told["sha256"], 0)])
    assert list(brought.parent.iterdir()) == []
    assert bringing.python().observe(bringing.world.host()) == []


def test_a_link_in_place_of_what_was_brought_is_not_followed(
    bringing: Bringing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisioner.remote.brought.interpreters", lambda: str(tmp_path / "home"))
    told = bringing.answer({})
    (tmp_path / "home").mkdir()
    other = tmp_path / "other"
    other.write_bytes(bringing.world.controller.files[told["sha256"]])
    (tmp_path / "home" / f"{told['sha256']}.tar.gz").symlink_to(other)
    bringing.python().ensure(observed(bringing))
    assert bringing.world.controller.sent == [(told["sha256"], 0)]
    assert other.exists()


def test_a_real_one_compiles_its_library(tmp_path: Path) -> None:
    """So that accounts which may not write there need not compile at every start."""
    interpreters = pytest.importorskip("tests.interpreters")
    try:
        made = interpreters.relocatable()
    except interpreters.Unavailable as reason:
        pytest.skip(str(reason))
    world = World(tmp_path)
    content = made.path.read_bytes()
    told = {"filename": made.filename, "sha256": world.controller.offer(content), "size": len(content)}
    world.controller.answers["controller", "interpreter"] = told
    host, python = world.host(), found(made.version, "managed")
    python.observe(host)
    python.ensure(host)
    folder = world.root / "python" / made.version
    code = "import json, ssl, sys; print(json.__cached__, sys.prefix)"
    said = subprocess.run(
        [host.shared["interpreter"], "-I", "-B", "-c", code], capture_output=True, text=True, check=True
    )
    cached, prefix = said.stdout.split()
    assert Path(cached).exists() and prefix == str(folder)
    assert json.loads((folder / "provision.json").read_text())["version"] == made.version


def test_where_nothing_may_be_run(bringing: Bringing, monkeypatch: pytest.MonkeyPatch) -> None:
    host = observed(bringing)

    def forbidden(argv: list[str], *_: Any) -> tuple[int, str]:
        raise Failure(f"{argv[0]} may not be run")

    monkeypatch.setattr(host.platform, "run", forbidden)
    with pytest.raises(Failure, match=r"does not run here: .*python3.4 may not be run") as caught:
        bringing.python().ensure(host)
    assert f"see that {bringing.world.root} may hold programs" in caught.value.remedy


def test_what_was_brought_is_not_remembered_as_the_hosts_own(bringing: Bringing, pythons: Pythons) -> None:
    host = observed(bringing)
    bringing.python().ensure(host)
    remember(host, host.python, host.shared["interpreter"])
    with pytest.raises(Failure, match=r"Python 3.4.7 is wanted, and this host has"):
        found("3.4.7").observe(bringing.world.host())
