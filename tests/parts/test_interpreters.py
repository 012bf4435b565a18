"""The relocatable interpreters that other tests give to hosts: they run anywhere, from nothing but their folder."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests import interpreters
from tests.interpreters import Archive, Interpreter

MODULES = "ssl, sqlite3, ctypes, lzma, bz2, zlib, hashlib, uuid, multiprocessing, asyncio, venv"
PROGRAM = f"""
import json, sys, sysconfig, {MODULES}
libraries = [line.split(None, 5)[-1].strip() for line in open("/proc/self/maps") if ".so" in line]
print(json.dumps({{"version": "%d.%d.%d" % sys.version_info[:3], "prefix": sys.prefix, "path": sys.path,
                  "libraries": sorted(set(libraries)), "stdlib": sysconfig.get_path("stdlib"),
                  "digest": hashlib.sha256(b"").hexdigest()[:8], "context": ssl.create_default_context() is not None}}))
"""
OF_THE_SYSTEM = ("ld-linux", "libc.so", "libm.so", "libdl.so", "libpthread.so", "librt.so", "libutil.so")

pytestmark = pytest.mark.skipif(not interpreters.at_hand(), reason="relocatable interpreters are made on Linux")


@pytest.mark.parametrize("interpreter", interpreters.at_hand()[:2], ids=lambda interpreter: str(interpreter.version))
def test_it_runs_wherever_it_lies_and_needs_only_the_c_library(interpreter: Interpreter, tmp_path: Path) -> None:
    archive = interpreters.relocatable(interpreter)
    assert archive.path.stat().st_size < 25_000_000
    program = interpreters.unpack(archive, tmp_path / "some where")
    argv = [str(program), "-I", "-X", "utf8", "-c", PROGRAM]
    done = subprocess.run(argv, env={}, cwd="/", capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    folder = str(tmp_path / "some where" / "python")
    assert told["version"] == archive.version == interpreter.version
    assert told["prefix"] == folder
    assert all(entry.startswith(folder) for entry in [*told["path"], told["stdlib"]])
    foreign = [path for path in told["libraries"] if not path.startswith(folder)]
    assert [path for path in foreign if not Path(path).name.startswith(OF_THE_SYSTEM)] == []


def test_an_archive_is_made_once() -> None:
    first, again = interpreters.relocatable(), interpreters.relocatable()
    assert first == again
    assert first.path.stat().st_ino == again.path.stat().st_ino


def test_a_mirror_folder_is_one_to_uv(tmp_path: Path) -> None:
    archives = [
        *(interpreters.relocatable(interpreter) for interpreter in interpreters.at_hand()[:2]),
        interpreters.pretended(tmp_path, "3.11.9", "windows"),
        interpreters.pretended(tmp_path, "3.12.10", "macos", "aarch64"),
        interpreters.pretended(tmp_path, "3.10.11", "linux", "aarch64"),
    ]
    interpreters.mirror(tmp_path / "mirror", archives)
    for archive in archives:
        assert installed_by_uv(tmp_path, archive), archive


def installed_by_uv(folder: Path, archive: Archive) -> list[Path]:
    import uv

    mirror = folder / "mirror"
    libc = "gnu" if archive.os == "linux" else "none"
    key = f"cpython-{archive.version}-{archive.os}-{archive.arch}-{libc}"
    argv = [uv.find_uv_bin(), "python", "install", key, "--no-config", "--no-bin", "--no-registry"]
    argv += ["--install-dir", str(folder / "installed"), "--mirror", mirror.as_uri()]
    argv += ["--python-downloads-json-url", (mirror / "download-metadata.json").as_uri()]
    done = subprocess.run(argv, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return list((folder / "installed").glob(key))
