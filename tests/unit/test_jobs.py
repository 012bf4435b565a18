"""Jobs: how a command is written for the head's shell, what a command that waited ends with, what is sent along."""

from __future__ import annotations

import shlex
import subprocess
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.engine import workdir
from provisioner.errors import InputError
from provisioner.ray import jobs


@given(st.lists(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])), min_size=1))
def test_a_posix_shell_splits_it_into_the_same_words(argv: list[str]) -> None:
    assert shlex.split(jobs.entrypoint(argv, "linux")) == argv


def test_bash_runs_it_as_it_was_said() -> None:
    words = ["a b", "$HOME", "`id`", "'\"", "*", "x;y", "", "ä\n€"]
    line = jobs.entrypoint(["printf", "%s\\0", *words], "macos")
    said = subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout.decode()
    assert said.split("\0")[:-1] == words


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["python", "script.py"], "python script.py"),
        (["python", "a b.py"], 'python ^"a b.py^"'),
        (["python", "-c", "print(1)"], "python -c print^(1^)"),
        (["echo", "%PATH%", "a&b"], "echo ^%PATH^% a^&b"),
        (["x", 'say "hi"'], 'x ^"say \\^"hi\\^"^"'),
        (["x", ""], 'x ^"^"'),
    ],
)
def test_cmd_takes_every_word_for_what_it_is(argv: list[str], line: str) -> None:
    assert jobs.entrypoint(argv, "windows") == line


@pytest.mark.parametrize(("argv", "system"), [(["a\0b"], "linux"), (["a\nb"], "windows")])
def test_what_a_shell_can_not_be_told_is_refused(argv: list[str], system: str) -> None:
    with pytest.raises(ValueError, match="argument"):
        jobs.entrypoint(argv, system)


@pytest.mark.parametrize(
    ("status", "driver", "code"),
    [
        ("SUCCEEDED", 0, 0), ("SUCCEEDED", None, 0), ("FAILED", 7, 7), ("FAILED", None, 1), ("FAILED", 0, 1),
        ("FAILED", -9, 137), ("FAILED", 3221225786, 1), ("STOPPED", None, 1), ("STOPPED", -15, 143),
    ],
)  # fmt: skip
def test_a_command_ends_as_its_job(status: str, driver: int | None, code: int) -> None:
    assert jobs.exit_code(status, driver) == code


def tree(folder: Path) -> Path:
    for name in ("a.py", "sub/b.txt", ".git/config", "sub/__pycache__/x.pyc", ".venv/bin/python", "env/pyvenv.cfg"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def packed(folder: Path, archive: Path) -> tuple[str, set[str]]:
    digest = workdir.pack(folder, archive)
    with zipfile.ZipFile(archive) as package:
        return digest, set(package.namelist())


def test_a_folder_is_packed_without_what_no_job_needs(tmp_path: Path) -> None:
    digest, names = packed(tree(tmp_path / "one"), tmp_path / "one.zip")
    assert names == {"a.py", "sub/b.txt"}
    again, _ = packed(tree(tmp_path / "two"), tmp_path / "two.zip")
    assert again == digest
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    (tmp_path / "two" / "a.py").write_text("other")
    assert packed(tmp_path / "two", tmp_path / "three.zip")[0] != digest


def test_what_git_ignores_stays_here(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    subprocess.run(["git", "init", "-q", folder], check=True)
    for name in ("a.py", "data.bin", "ä b.txt"):
        (folder / name).write_text(name)
    (folder / ".gitignore").write_text("*.bin\n")
    assert packed(folder, tmp_path / "x.zip")[1] == {"a.py", "ä b.txt", ".gitignore"}


def test_a_folder_that_is_too_large_or_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        workdir.pack(tmp_path / "nothing", tmp_path / "x.zip")
    monkeypatch.setattr(workdir, "LARGEST", 5)
    with pytest.raises(InputError, match="holds more than"):
        workdir.pack(tree(tmp_path / "one"), tmp_path / "x.zip")
