"""The Python that is on a host already: found, remembered, or refused with every way out."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import pytest

from provisioner.remote import folders
from provisioner.remote.failure import Failure
from provisioner.remote.resources.python_search import remember

from .python_stage import Pythons, pythons, script
from .remote_host import World, found

__all__ = ["pythons"]


HERE = platform.python_version()


def test_the_running_python_is_found(tmp_path: Path) -> None:
    host = World(tmp_path).host()
    python = found(HERE)
    assert python.observe(host) == []
    assert os.path.realpath(host.shared["interpreter"]) == os.path.realpath(sys.executable)
    assert host.python == HERE
    assert python.ensure(host) == f"Python {HERE} at {host.shared['interpreter']}"


def test_an_interpreter_is_remembered_until_it_changes(tmp_path: Path) -> None:
    world = World(tmp_path)
    path = script(tmp_path / "python", "3.10.4")
    python = found("3.10.4", path)
    host = world.host()
    python.observe(host)
    remember(host, host.python, path)
    log = Path(path + ".log")
    assert log.read_text() == "once\n"
    python.observe(world.host())
    assert log.read_text() == "once\n", "not started again"
    script(tmp_path / "python", "3.10.14")
    with pytest.raises(Failure, match=r"3\.10\.4 is wanted, and this host has 3\.10\.14 at"):
        python.observe(world.host())
    assert log.read_text() == "once\nonce\n"
    python.remove(world.host())
    assert world.host().marker.entries == {}


@pytest.mark.parametrize(
    ("path", "what"),
    [("/bin/false", "a broken Python at /bin/false"), ("/nonexistent/python", "no Python at /nonexistent/python"),
     ("/etc/passwd", "nothing that may be run at /etc/passwd")],
)  # fmt: skip
def test_a_path_that_is_no_python(path: str, what: str, tmp_path: Path) -> None:
    with pytest.raises(Failure, match=f"Python 3.10.4 is wanted, and this host has {what}"):
        found("3.10.4", path).observe(World(tmp_path).host())


def test_interpreters_are_found_by_their_names(tmp_path: Path, pythons: Pythons) -> None:
    wanted = [pythons.lay(place, "3.4.1") for place in range(3)]
    other = pythons.lay(0, "3.4.9")
    machine = World(tmp_path).host().platform
    assert machine.find_interpreters("3.4.1") == wanted
    assert machine.find_interpreters("3.4.1", minor=True) == [*wanted[:2], other, wanted[2]]


@pytest.mark.parametrize(
    ("there", "wanted", "chosen"),
    [
        ([(2, "3.4.1")], "3.4.1", "3.4.1"),
        ([(2, "3.4.1")], "3.4.7", "3.4.1"),
        ([(0, "3.4.9"), (2, "3.4.7")], "3.4.7", "3.4.7"),
        ([(0, "3.4.2"), (0, "3.4.9")], "3.4.7", "3.4.9"),
        ([(2, "3.5.1")], "3.4.7", None),
        ([], "3.4.7", None),
    ],
    ids=["exact", "another patch", "the exact one is preferred", "any of several", "another minor", "none"],
)
def test_any_patch_version_will_do_with_match_minor(
    there: list[tuple[int, str]], wanted: str, chosen: str | None, tmp_path: Path, pythons: Pythons
) -> None:
    for place, version in there:
        pythons.lay(place, version)
    host = World(tmp_path).host()
    if chosen is None:
        with pytest.raises(Failure, match=f"Python {wanted} is wanted"):
            found(wanted, match="minor").observe(host)
        return
    assert found(wanted, match="minor").observe(host) == []
    assert host.python == chosen
    assert host.environment("e1") == str(tmp_path / "root" / "env" / f"{chosen}-e1")


@pytest.mark.parametrize(
    ("there", "source", "has", "remedies"),
    [
        ("", "system", f"{HERE} at {sys.executable}", ["source: managed", f"write `python: {HERE}` if all hosts"]),
        ("3.4.2", "system", "3.4.2 at ", ["source: managed", "such as 3.4.2 here, may stay so with `match: minor`"]),
        ("3.4.2", "PATH", "3.4.2 at ", ["source: managed", "`match: minor`"]),
        ("3.5.0", "PATH", "3.5.0 at ", ["source: managed"]),
    ],
)
def test_a_wrong_python_is_named_with_every_way_out(
    there: str, source: str, has: str, remedies: list[str], tmp_path: Path, pythons: Pythons
) -> None:
    path = pythons.lay(2, there) if there else ""
    with pytest.raises(Failure) as caught:
        found("3.4.7", path if source == "PATH" else source).observe(World(tmp_path).host())
    assert caught.value.message.startswith(f"Python 3.4.7 is wanted, and this host has {has}")
    assert caught.value.remedy.startswith("write `python: {version: 3.4.7, source: managed}` to have it brought")
    assert [remedy for remedy in remedies if remedy not in caught.value.remedy] == []


def test_what_was_brought_for_the_program_is_not_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = World(tmp_path).host().platform
    for name in ("PATH", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    assert machine.find_interpreters(HERE)
    monkeypatch.setattr(folders, "interpreters", lambda: sys.base_prefix)
    assert os.path.realpath(sys.executable) not in map(os.path.realpath, machine.find_interpreters(HERE))
