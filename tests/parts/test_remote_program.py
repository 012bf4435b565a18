"""The remote program itself: its archive, the Pythons that it runs on, what it imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from provisioner.remote import boot as boot_module
from provisioner.transport import program

from .remote_talk import LIMIT, Talk, lay, talk, task, touch, unpacked

__all__ = ["talk", "unpacked"]


def boot(archive: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", str(archive)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def first_words(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """Return the first line, and what came as errors until the end."""
    assert process.stdout is not None
    return process.stdout.readline(), process.communicate(timeout=LIMIT)[1]


READY = (b'{"type":"ready"}\n', b"")


def test_the_archive_unpacks_itself_and_goes(tmp_path: Path) -> None:
    (tmp_path / "abc.x.zip").write_bytes(program.archive())
    assert first_words(boot(tmp_path / "abc.x.zip")) == READY
    assert [path.name for path in tmp_path.iterdir()] == ["abc"]
    assert (tmp_path / "abc" / "provisioner" / "remote" / "main.py").is_file()


def test_several_may_unpack_at_once(tmp_path: Path) -> None:
    """Hosts may share a home folder: each has an archive of its own, and one folder comes of it."""
    archives = [tmp_path / f"abc.{number}.zip" for number in range(6)]
    for archive in archives:
        archive.write_bytes(program.archive())
    starts = [boot(archive) for archive in archives]
    assert [first_words(start) for start in starts] == [READY] * 6
    assert [path.name for path in tmp_path.iterdir()] == ["abc"]


def test_a_damaged_archive_is_never_used(tmp_path: Path) -> None:
    archive = bytearray(program.archive())
    archive[len(archive) // 2] ^= 0xFF
    (tmp_path / "abc.zip").write_bytes(archive)
    process = boot(tmp_path / "abc.zip")
    process.communicate(timeout=LIMIT)
    assert process.returncode != 0
    assert not (tmp_path / "abc").exists()


def test_a_system_without_a_starter_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "abc.zip"
    archive.write_bytes(program.archive())
    monkeypatch.setattr(boot_module, "STARTERS", {})
    monkeypatch.setattr(sys, "argv", [str(archive)])
    with pytest.raises(SystemExit, match=f"^hosts need Linux, .*, and this one's Python says '{os.name}'$"):
        boot_module.main()
    assert [path.name for path in tmp_path.iterdir()] == ["abc.zip"], "nothing is unpacked"


OLD = Path("~/.pyenv/versions").expanduser()


def test_older_and_newer_pythons(unpacked: Path, tmp_path: Path) -> None:
    """From 3.8 on it works; what is older says so, and another is looked for."""
    for python in OLD.glob("3.*/bin/python"):
        version = python.parents[1].name
        talk = Talk(unpacked, tmp_path, str(python))
        if version.startswith(("3.6.", "3.7.")):
            code, messages, told = talk.end()
            assert (code, messages) == (1, [])
            assert told == f"it is Python {version[:3]}, and the program needs 3.8 or newer\n"
            continue
        talk.hello(touch(tmp_path / "made"), task("variable", name="X", value="1"), lay(tmp_path / "file"))
        assert talk.hear("facts")["facts"]["python"] == version
        assert len(talk.hear("observed")["tasks"]) == 3
        talk.send({"type": "end"})
        talk.hear("bye")
        assert talk.end()[2] == ""


def test_every_module_is_python_3_8(unpacked: Path) -> None:
    import ast

    for path in unpacked.rglob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 8))


def test_every_module_can_be_imported_without_anything_of_ours(unpacked: Path) -> None:
    python = OLD / "3.8.18" / "bin" / "python"
    names = [
        ".".join(path.relative_to(unpacked).with_suffix("").parts)
        for path in sorted((unpacked / "provisioner").rglob("*.py"))
        if path.name not in ("run.py", "boot.py")
    ]
    code = f"import sys; sys.path.insert(0, {str(unpacked)!r})\n" + "".join(f"import {name}\n" for name in names)
    command = [str(python if python.exists() else sys.executable), "-I", "-S", "-c", code]
    subprocess.run(command, check=True, timeout=LIMIT)


def test_few_modules_are_imported_to_start(unpacked: Path) -> None:
    """Starting is most of what a run without changes costs."""
    code = (
        f"import sys; sys.path.insert(0, {str(unpacked)!r}); from provisioner.remote.main import main;"
        "print(' '.join(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=LIMIT).stdout
    heavy = {"subprocess", "typing", "zipfile", "http", "ssl", "asyncio", "logging", "tempfile", "shutil", "inspect"}
    assert heavy.isdisjoint(out.split())
