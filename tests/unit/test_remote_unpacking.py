"""Archives become folders, or are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provisioner.remote.unpacking import BadArchive, unpack

from .python_stage import Entry, archive


def test_an_archive_becomes_a_folder(tmp_path: Path) -> None:
    made = archive(
        tmp_path / "a", ("dir", "python", None), ("file", "python/bin/python3.11", b"program"),
        ("sym", "python/bin/python3", "python3.11"), ("link", "python/bin/idle", "python/bin/python3.11"),
        ("dir", "python/lib", None), ("sym", "python/lib64", "lib"), ("file", "python/lib/os.py", b"x" * 300_000),
    )  # fmt: skip
    unpack(str(made), str(tmp_path / "out"))
    files = {str(path.relative_to(tmp_path / "out")): path for path in (tmp_path / "out").rglob("*")}
    assert sorted(files) == ["bin", "bin/idle", "bin/python3", "bin/python3.11", "lib", "lib/os.py", "lib64"]
    assert files["bin/python3"].readlink() == Path("python3.11")
    assert files["bin/idle"].read_bytes() == b"program"
    assert files["bin/python3.11"].stat().st_mode & 0o7777 == 0o755, "no set-uid bit, nobody else may write"
    assert files["lib/os.py"].stat().st_mtime == 1_000_000_000


@pytest.mark.parametrize(
    "entries",
    [
        [("file", "python/../evil", b"")],
        [("file", "/python/evil", b"")],
        [("file", "evil", b"")],
        [("file", "pythonx/evil", b"")],
        [("file", "python/a\\..\\evil", b"")],
        [("file", "python/c:evil", b"")],
        [("sym", "python/out", "../../evil")],
        [("sym", "python/out", "/etc")],
        [("link", "python/out", "../etc/passwd")],
        [("sym", "python/in", "lib"), ("file", "python/in/x", b"")],
        [("fifo", "python/fifo", None)],
    ],
    ids=["up", "absolute", "beside", "almost", "backslash", "drive", "link up", "link to /", "hard link",
         "behind a link", "fifo"],
)  # fmt: skip
def test_an_archive_that_leaves_its_folder_is_refused(entries: list[Entry], tmp_path: Path) -> None:
    made = archive(tmp_path / "a", ("file", "python/first", b""), *entries)
    with pytest.raises(BadArchive, match=r"leads out of its folder|lies behind a link|is no file"):
        unpack(str(made), str(tmp_path / "deep" / "out"))
    assert {path.name for path in tmp_path.rglob("*")} <= {"a", "deep", "out", "first", "in"}


@pytest.mark.parametrize("keep", [0, 5, 200, -20])
def test_an_archive_that_is_cut_off_is_refused(keep: int, tmp_path: Path) -> None:
    made = archive(tmp_path / "a", ("file", "python/x", os.urandom(100_000)), ("file", "python/y", os.urandom(10_000)))
    made.write_bytes(made.read_bytes()[:keep])
    with pytest.raises(BadArchive, match=r"cut off or damaged"):
        unpack(str(made), str(tmp_path / "out"))
